"""Write the codes of all images in a folder as a table, a row per file.

Columns: "file", its path below the folder, then mean and standard deviation of each dimension of
both codes: specified_mean_0, specified_mean_1, ..., specified_std_0, ..., unspecified_mean_0, ...,
unspecified_std_0, ...
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import atomic_file
from pipeline.data.conversion import open_image
from pipeline.tools.own_images import (
    Version,
    add_arguments,
    as_input,
    attempt,
    check_output,
    open_version,
)

TABLES = (".parquet", ".csv")
BATCH = 256
NO_IMAGES = {"Thumbs.db", "desktop.ini"}  # and hidden ones: files that systems leave


def list_files(folder: Path, output: Path) -> list[Path]:
    """The files below a folder, sorted, without hidden ones and without the table itself.

    Raises:
        ValueError: it is no folder, or has no files.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"{folder} {what}, expected a folder of images")
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        kept = (name for name in names if not name.startswith(".") and name not in NO_IMAGES)
        found += [Path(place, name) for name in kept]
    files = sorted(path for path in found if path.resolve() != output.resolve())
    if not files:
        raise ValueError(f"{folder} has no files, expected images")
    return files


def encode(options: argparse.Namespace) -> None:
    """Writes the table, and prints how many rows it has.

    Raises:
        ValueError: a file, the version or the output cannot be used.
    """
    folder, output, skip = options.folder, options.output, options.unreadable == "skip"
    check_output(output, TABLES, options.force)
    files = list_files(folder, output)
    version = open_version(options.version)
    faults: dict[Path, str] = {}
    codes = list(_codes(files, version, faults, stop=not skip))
    lines = [f"{path} {fault}" for path, fault in faults.items()]
    if lines and not skip:
        raise ValueError("\n".join([*lines, "--unreadable skip leaves such files out"]))
    if not codes:
        raise ValueError("\n".join([*lines, f"{folder} has no image that can be used"]))
    names = [path.relative_to(folder).as_posix() for path in files if path not in faults]
    _write(output, names, {n: np.concatenate([c[n] for c in codes]) for n in codes[0]}, version)
    print("\n".join(f"skipped: {line}" for line in lines), end="\n" if lines else "")
    print(f"{output}, by {version.name}: codes of {len(names)} images")


def _codes(
    files: list[Path], version: Version, faults: dict[Path, str], stop: bool
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the codes of a batch of images at a time; fills ``faults``.

    Args:
        files: The images.
        version: The model.
        faults: Filled with the reason for each file that cannot be used.
        stop: Whether to encode nothing more, and only look for faults, after the first one.
    """
    from tqdm import tqdm

    batch = []
    for path in tqdm(files, unit="image", disable=not sys.stderr.isatty()):
        try:
            str(path).encode()
            batch.append(version.conversion.convert(open_image(path)))
        except UnicodeEncodeError:
            faults[path] = "has a name that is not UTF-8"
        except ValueError as error:
            faults[path] = str(error)
        if stop and faults:
            batch = []
        if len(batch) == BATCH:
            yield version.predict(as_input(np.stack(batch)), "encode")
            batch = []
    if batch:
        yield version.predict(as_input(np.stack(batch)), "encode")


def _write(path: Path, names: list[str], codes: dict[str, np.ndarray], version: Version) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    columns = {
        f"{name}_{dimension}": values
        for name, code in codes.items()
        for dimension, values in enumerate(code.T)
    }
    about = {
        name: version.tags[name] for name in ("dataset", "model.sha256") if name in version.tags
    }
    table = pa.table({"file": names} | columns, metadata=about | {"version": version.name})
    with atomic_file(path) as part:
        if path.suffix.lower() == ".csv":
            csv.write_csv(table, part)
        else:
            parquet.write_table(table, part)


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 1 after a line for each fault."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline encode",
        description=f"{__doc__}\nWithout arguments, the stage encode runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder of image files")
    parser.add_argument(
        "--unreadable",
        choices=("error", "skip"),
        default="error",
        help="whether a file that is no image stops the command, or is left out; default error",
    )
    add_arguments(parser, "codes.parquet", TABLES)
    return attempt(encode, parser.parse_intermixed_args(argv))
