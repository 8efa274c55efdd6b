"""What the commands that use a registered version on image files have in common."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.artifacts.files import atomic_file
from pipeline.data.conversion import BOXES, Conversion, open_image
from pipeline.data.listing import some

LATEST = "latest"
SHOWN_VERSIONS = 20  # the newest, in a message
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SMALLEST_TILE, GAP, GAP_SHADE = 112, 4, 128  # pixels, pixels, grey that neither ground hides


@dataclass(frozen=True)
class Version:
    """A registered version, loaded.

    Attributes:
        name: Its number and data set, for a message.
        tags: As the store has them.
        model: What MLflow loaded.
        classes: Names by number; empty if the version knows none.
        conversion: How any image becomes one that the model takes.
        compares: Whether it knows how well test images are reconstructed.
    """

    name: str
    tags: dict[str, str]
    model: Any
    classes: list[str]
    conversion: Conversion
    compares: bool = False

    def unlike(self, images: np.ndarray) -> np.ndarray:
        """Whether images (n, C, H, W) are unlike the trained ones, bool (n,), if it can tell."""
        if not self.compares:
            return np.zeros(len(images), bool)
        return np.asarray(self.predict(images, "compare")["unlike"])

    def predict(self, images: np.ndarray, task: str, **params: Any) -> Any:
        """Performs a task of ``pipeline/tracking/served_model.py`` on images of the model's shape.

        Raises:
            ValueError: the version refuses, for instance because it does not know a class.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self.model.predict(images, params={"task": task} | params)
        except MlflowException as error:
            raise ValueError(f"{self.name}: {error.message}") from error


def add_arguments(parser: argparse.ArgumentParser, output: str, endings: Sequence[str]) -> None:
    """Adds the arguments that all these commands have.

    Args:
        parser: Of the command.
        output: Name of the file that is written if none is given.
        endings: Of the names that it may have, which say its format.
    """
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        default=Path(output),
        help=f"the file to write, its format by its ending ({', '.join(endings)}); "
        f"default: {output}",
    )
    parser.add_argument(
        "--version",
        metavar="N",
        default=LATEST,
        help="number or alias of a registered version, such as 3 or champion; default: the newest",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def attempt(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Runs a command; returns 0, or 1 after a line for each fault."""
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what no encoding has
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        command(options)
    except (ValueError, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        print("\n".join(f"error: {line}" for line in lines), file=sys.stderr)
        return 1
    return 0


def check_output(path: Path, endings: Sequence[str], force: bool) -> None:
    """Checks the file to write before any work is done.

    Raises:
        ValueError: its ending is unknown, it is a folder, or it exists and ``force`` is not set.
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"-o: got {path}, expected a name that ends in {', '.join(endings)}")
    if path.is_dir():
        raise ValueError(f"-o: {path} is a folder, expected a file")
    if path.exists() and not force:
        raise ValueError(f"-o: {path} exists; --force replaces it")


def open_version(reference: str) -> Version:
    """Loads a registered version.

    Args:
        reference: Its number, an alias such as "champion", or "latest".

    Raises:
        ValueError: there is no such version, or it cannot be loaded, or the store cannot be used.
    """
    # Imported here, so that faults of files and arguments are reported in no time.
    from pipeline.artifacts.dataset import as_they_are
    from pipeline.tracking import registry
    from pipeline.tracking.store import connect, one_line, reason

    connect()
    with one_line():
        versions = registry.list_versions()
    if not versions:
        raise ValueError("there is no registered version yet; dvc repro makes one")
    numbers = {str(version.version): version for version in versions}
    aliases = {alias: version for version in versions for alias in version.aliases}
    aliases[LATEST] = versions[0]
    if reference not in numbers | aliases:
        known = ", ".join([*list(numbers)[:SHOWN_VERSIONS], *sorted(aliases)])
        raise ValueError(f"--version: got {reference}, expected one of {known}")
    found = (numbers | aliases)[reference]
    try:
        model = registry.load(f"models:/{registry.NAME}/{found.version}")
        served = model.unwrap_python_model()
        shape = served.model.config.image_shape
        how = as_they_are(shape)
        if hasattr(served, "conversion"):  # not in versions registered earlier
            how = served.conversion.to_dict()
    except Exception as error:
        raise ValueError(
            f"version {found.version} cannot be loaded ({reason(error)}): python -m pipeline track "
            "restores it if a copy of its model is on disk"
        ) from error
    dataset = found.tags.get(registry.DATASET_TAG, "unknown data set")
    box = {"box": BOXES[dataset]} if dataset in BOXES else {}
    return Version(
        f"version {found.version} ({dataset})",
        found.tags,
        model,
        getattr(served, "names", []),
        Conversion.from_dict(box | how),
        getattr(served, "percentiles", None) is not None,
    )


def load(options: argparse.Namespace) -> tuple[Version, np.ndarray]:
    """Checks the arguments of a command that writes a picture, and loads version and images.

    Returns:
        The version, and the images of ``options.files`` as it takes them; it is printed which of
        them are unlike its training images.

    Raises:
        ValueError: the output, a file or the version cannot be used; a line for each file.
    """
    check_output(options.output, PICTURES, options.force)
    # Decoded twice: faults are told in no time, and large photographs are not kept.
    _for_each(options.files, lambda file: open_image(file).mode)
    version = open_version(options.version)
    images = _for_each(options.files, lambda file: version.conversion.convert(open_image(file)))
    given = as_input(np.stack(images))
    warn_of_unlike(map(str, compress(options.files, version.unlike(given))))
    return version, given


def warn_of_unlike(names: Iterable[str]) -> None:
    """Prints which images are unlike those that a version was trained on, if any are."""
    if named := some(names):
        print(
            f"note: unlike the images that the model was trained on: {named}; a reconstruction "
            "worse than that of 99 % of the test images, so expect little of these codes",
            file=sys.stderr,
        )


def _for_each(files: Sequence[Path], function: Callable[[Path], Any]) -> list[Any]:
    """Applies a function to each file; names all files that it refuses."""
    results, faults = [], []
    for file in files:
        try:
            results.append(function(file))
        except ValueError as error:
            faults.append(f"{file} {error}")
    if faults:
        raise ValueError("\n".join(faults))
    return results


def as_input(images: np.ndarray) -> np.ndarray:
    """Images uint8 (n, C, H, W) as float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def write_picture(path: Path, rows: Iterable[Iterable[np.ndarray]]) -> None:
    """Writes images (C, H, W) in [0, 1], rows below each other, enlarged if they are small."""
    grid = [list(row) for row in rows]
    channels, height, width = grid[0][0].shape
    scale = max(1, -(-SMALLEST_TILE // max(height, width)))
    step_y, step_x = height * scale + GAP, width * scale + GAP
    size = len(grid) * step_y - GAP, max(map(len, grid)) * step_x - GAP
    pixels = np.full((*size, channels), GAP_SHADE, np.uint8)
    for row, images in enumerate(grid):
        for column, image in enumerate(images):
            tile = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            tile = tile.repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = row * step_y, column * step_x
            pixels[top : top + height * scale, left : left + width * scale] = tile
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    with atomic_file(path) as part:
        try:
            picture.save(part, Image.registered_extensions()[path.suffix.lower()])
        except (ValueError, OSError) as error:  # most formats have a largest size
            pixels_of = f"{picture.width} x {picture.height} pixels"
            raise ValueError(f"-o: {path} cannot be written, {pixels_of}: {error}") from error
