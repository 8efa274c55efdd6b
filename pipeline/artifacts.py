"""What passes between stages: file names and formats, known here and nowhere else.

Paths are relative to the folder that a stage runs in. Every file appears under its
name only when it is whole; arrays are checked against their digests when they are read.
"""

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.files import (
    ArtifactError,
    RowWriter,
    array_writer,
    described_array,
    read_array,
    read_json,
    whole_file,
    write_json,
)
from vaegan.data import LabelledImages

if TYPE_CHECKING:  # every stage imports this module, few need these two: a second to start
    import pandas as pd
    from matplotlib.figure import Figure

PREPARED = Path("data/prepared")
MODEL = Path("models")
CODES = Path("codes")
CURVES = Path("reports/curves.csv")
JUDGE = Path("judge")
METRICS = Path("reports/metrics.json")
SWAPS = Path("reports/swaps.csv")
FIGURES = Path("reports/figures")
# The metrics that matter first: in metrics.json, and so in tables of experiments, in this order.
FIRST_METRICS: tuple[str, ...] = (
    "leakage/mean",
    "leakage/posterior",
    "leakage/sampled",
    "specified/probe_accuracy",
    "swap/identity_accuracy",
    "swap/prior_identity_accuracy",
    "swap/style_kept_slant",
    "swap/style_kept_thickness",
    "swap/style_kept_width",
    "reconstruction/mse",
    "specified/style_r2",
    "latent/active_units",
    "latent/kl",
)
SPLITS = ("train", "validation", "test")  # the second one only if it was asked for


def repository() -> Path:
    """The user's own repository, also where a stage runs in one of DVC's temporary copies.

    DVC names it in ``DVC_ROOT``; a stage started by hand runs in it.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


@dataclass(frozen=True)
class Dataset:
    """The prepared data set.

    Attributes:
        splits: By name, memory-mapped; "train" and "test", and "validation" if some training
            images were held out.
        description: Content of ``dataset.json``; ``name`` is of the data set really used.
    """

    splits: dict[str, LabelledImages]
    description: dict[str, Any]

    @property
    def train(self) -> LabelledImages:
        """Images to learn from."""
        return self.splits["train"]

    @property
    def test(self) -> LabelledImages:
        """Images to judge by, in the end."""
        return self.splits["test"]

    @property
    def name(self) -> str:
        """Name of the data set that was really used."""
        return self.description["name"]


@dataclass(frozen=True)
class Split:
    """Labelled images that are read as they are written: no more than a few are in memory.

    Attributes:
        labels: int64 (N,).
        image_shape: (C, H, W).
        class_count: Number of classes.
        blocks: Gives the images anew with each call, uint8 (B, C, H, W), N in all.
    """

    labels: np.ndarray
    image_shape: tuple[int, int, int]
    class_count: int
    blocks: Callable[[], Iterator[np.ndarray]]

    @classmethod
    def of(cls, data: LabelledImages) -> "Split":
        """Images that are in memory."""
        return cls(data.labels, data.image_shape, data.class_count, lambda: iter([data.images]))

    def only(self, kept: np.ndarray) -> "Split":
        """The images, in their order, where ``kept``, bool (N,), is true."""

        def blocks() -> Iterator[np.ndarray]:
            start = 0
            for block in self.blocks():
                yield block[kept[start : start + len(block)]]
                start += len(block)

        return Split(self.labels[kept], self.image_shape, self.class_count, blocks)


def write_dataset(splits: dict[str, Split], about: dict[str, Any], folder: Path = PREPARED) -> None:
    """Writes the arrays of each split and ``dataset.json``, in that order.

    The arrays take their names when all of them are whole; an old ``dataset.json`` goes before
    that, so that it never describes a mixture of two data sets, and a split that is not among
    the new ones after it.

    Args:
        splits: By name, "train" and "test", perhaps "validation".
        about: What else ``dataset.json`` holds: name, source, licence, class names.
        folder: Where to.

    Raises:
        ValueError: a split gives other than as many images as it has labels.
    """
    described = {}
    with _removed_if_empty(folder, *(folder / split for split in splits)), ExitStack() as stack:
        for split, data in splits.items():
            LabelledImages(  # its checks
                np.empty((len(data.labels), 0, 0, 0), np.uint8), data.labels, data.class_count
            )
            shapes = {
                "images": ((len(data.labels), *data.image_shape), np.dtype(np.uint8)),
                "labels": (data.labels.shape, data.labels.dtype),
            }
            writers = {
                name: stack.enter_context(array_writer(folder / split / f"{name}.npy", *of))
                for name, of in shapes.items()
            }
            for block in data.blocks():
                writers["images"].append(block)
            writers["labels"].append(data.labels)
            counts = np.bincount(data.labels, minlength=data.class_count)
            described[split] = {
                "images": len(data.labels),
                "class_counts": counts.tolist(),
                "arrays": {
                    name: described_array(*shapes[name], writer.digest.hexdigest())
                    for name, writer in writers.items()
                },
            }
        (folder / "dataset.json").unlink(missing_ok=True)
    for split in set(SPLITS) - set(splits):
        shutil.rmtree(folder / split, ignore_errors=True)
    write_json(folder / "dataset.json", about | {"splits": described})


@contextmanager
def _removed_if_empty(*folders: Path) -> Iterator[None]:
    """Where the body fails, leaves no folder behind that it made and did not fill."""
    try:
        yield
    except BaseException:
        for folder in reversed(folders):
            with suppress(OSError):
                folder.rmdir()
        raise


def read_dataset(folder: Path = PREPARED) -> Dataset:
    """Opens the prepared data set.

    Raises:
        ArtifactError: a file is missing or damaged, or the arrays do not fit together.
    """
    description = read_json(folder / "dataset.json")
    splits = {}
    for split in described_splits(folder, description):
        try:
            arrays = description["splits"][split]["arrays"]
            images, labels = (
                read_array(folder / split / f"{name}.npy", arrays[name]["sha256"])
                for name in ("images", "labels")
            )
            splits[split] = LabelledImages(images, labels, len(description["class_names"]))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / 'dataset.json'} lacks {error} of {split}") from error
        except ArtifactError:
            raise
        except ValueError as error:
            raise ArtifactError(f"{folder / split}: {error}") from error
    return Dataset(splits, description)


def described_splits(folder: Path, description: dict[str, Any]) -> list[str]:
    """The names of the splits that ``dataset.json`` describes.

    Raises:
        ArtifactError: "train" or "test" is not among them, or there is an unknown one.
    """
    names = list(description.get("splits", ()))
    if not {"train", "test"} <= set(names) <= set(SPLITS):
        raise ArtifactError(
            f"{folder / 'dataset.json'} describes the splits {names}, "
            "expected train, test and perhaps validation"
        )
    return names


SWAP_COLUMNS = ("style", "asked", "seen", "count")
CODE_ARRAYS = ("specified_mean", "specified_std", "unspecified_mean", "unspecified_std", "labels")


def write_codes(
    split: str,
    batches: Iterable[dict[str, np.ndarray]],
    count: int,
    model: str,
    folder: Path = CODES,
) -> None:
    """Writes the codes of a split as they come, and then ``codes.json``, which describes them.

    Args:
        split: Its name.
        batches: Of some images each: float32 (B, D) means and deviations, int64 (B,) labels,
            named as in ``CODE_ARRAYS``.
        count: Images in all, >= 1.
        model: Digest of the weights of the model whose codes they are.
        folder: Where to.

    Raises:
        ValueError: a batch has other arrays, or there are other than ``count`` images in all.
    """
    writers: dict[str, RowWriter] = {}
    with ExitStack() as stack:
        for batch in batches:
            if set(batch) != set(CODE_ARRAYS):
                raise ValueError(f"expected the arrays {CODE_ARRAYS}, got {tuple(batch)}")
            for name, rows in batch.items():
                if name not in writers:
                    file = array_writer(
                        folder / split / f"{name}.npy", (count, *rows.shape[1:]), rows.dtype
                    )
                    writers[name] = stack.enter_context(file)
                writers[name].append(rows)
        if not writers:
            raise ValueError(f"{folder / split} got no codes, expected those of {count} images")
    arrays = {
        name: described_array(writer.shape, writer.dtype, writer.digest.hexdigest())
        for name, writer in writers.items()
    }
    write_json(folder / split / "codes.json", {"model_sha256": model, "arrays": arrays})


def read_codes(split: str, model: str, folder: Path = CODES) -> dict[str, np.ndarray]:
    """Memory-maps the codes of a split.

    Args:
        split: Its name.
        model: Digest of the weights of the model whose codes are wanted.
        folder: Where from.

    Raises:
        ArtifactError: a file is missing or damaged, or the codes are of another model.
    """
    about = read_json(folder / split / "codes.json")
    if about.get("model_sha256") != model:
        raise ArtifactError(
            f"{folder / split} holds codes of the model {about.get('model_sha256')}, expected "
            f"those of {model} in {MODEL}: run the stage encode"
        )
    try:
        digests = {name: about["arrays"][name]["sha256"] for name in CODE_ARRAYS}
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / split / 'codes.json'}: {error!r} is missing") from error
    return {name: read_array(folder / split / f"{name}.npy", digests[name]) for name in CODE_ARRAYS}


def write_swaps(matrices: dict[str, np.ndarray], class_names: list[str]) -> None:
    """Writes how often swaps that should show one class showed another.

    Args:
        matrices: By kind of style, int64 (K, K); rows: the class asked for.
        class_names: K.
    """
    with whole_file(SWAPS) as part, part.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SWAP_COLUMNS)
        for kind, matrix in matrices.items():
            for asked, seen in np.ndindex(*matrix.shape):
                count = int(matrix[asked, seen])
                table.writerow([kind, class_names[asked], class_names[seen], count])


def read_swaps(class_names: list[str]) -> dict[str, np.ndarray]:
    """Reads what :func:`write_swaps` wrote.

    Raises:
        ArtifactError: the file is missing or is no such table.
    """
    places = {name: place for place, name in enumerate(class_names)}
    matrices: dict[str, np.ndarray] = {}
    try:
        with SWAPS.open(newline="") as file:
            for row in csv.DictReader(file):
                kind, asked, seen, count = (row[name] for name in SWAP_COLUMNS)
                matrix = matrices.setdefault(kind, np.zeros([len(places)] * 2, np.int64))
                matrix[places[asked], places[seen]] = int(count)
    except FileNotFoundError as error:
        raise ArtifactError(f"{SWAPS} is missing: run the stage evaluate") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{SWAPS} is not a table of swaps: {error!r}") from error
    return matrices


def write_curves(curves: "pd.DataFrame", path: Path = CURVES) -> None:
    """Writes the loss curves: a column ``step`` and one per metric, a row per report."""
    with whole_file(path) as part:
        curves.to_csv(part, index=False)


def read_curves(path: Path = CURVES) -> "pd.DataFrame":
    """Reads what :func:`write_curves` wrote.

    Raises:
        ArtifactError: the file is missing or not a table.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage train") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ArtifactError(f"{path} is not a table: {error}") from error


def write_figure(name: str, figure: "Figure", folder: Path = FIGURES) -> Path:
    """Writes a figure as PNG, the same bytes for the same figure; returns its path."""
    path = folder / f"{name}.png"
    with whole_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path
