"""Write the codes of all images in a folder, or in a zip archive, as a table, a row per file.

Columns: "file", its path below the folder, then mean and standard deviation of each dimension of
both codes: specified_mean_0, specified_mean_1, ..., specified_std_0, ..., unspecified_mean_0, ...,
unspecified_std_0, ...
"""

import argparse
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import atomic_file
from pipeline.data.checks import lines_of
from pipeline.data.conversion import open_image
from pipeline.data.listing import Listing, list_pictures
from pipeline.data.tree import Tree, list_tree
from pipeline.tools.own_images import (
    Version,
    add_arguments,
    as_input,
    attempt,
    check_output,
    open_version,
    warn_of_unlike,
)

TABLES = (".parquet", ".csv")
BATCH = 256


def encode(options: argparse.Namespace) -> None:
    """Writes the table, and prints how many rows it has.

    Raises:
        ValueError: a file, the version or the output cannot be used.
    """
    folder, output, skip = options.folder, options.output, options.unreadable == "skip"
    check_output(output, TABLES, options.force)
    tree, listing = list_tree(folder), Listing("")
    names = list_pictures(tree, listing)
    others = f"files that are no images, left aside: {sum(listing.others.values()):,}"
    if not names and not tree.faults:
        raise ValueError(f"{folder} has no images; {others}")
    version = open_version(options.version)
    faults = dict(tree.faults)
    usable = [name for name in names if name not in faults]
    codes = list(_codes(tree, usable, version, faults, stop=not skip))
    if faults and not skip:
        raise ValueError("\n".join([*lines_of(faults), "--unreadable skip leaves such files out"]))
    if not codes:
        raise ValueError("\n".join([*lines_of(faults), f"{folder} has no image that can be used"]))
    names = [name for name in usable if name not in faults]
    unlike = np.concatenate([found.pop("unlike") for found in codes])
    _write(output, names, {n: np.concatenate([c[n] for c in codes]) for n in codes[0]}, version)
    for line in lines_of(faults):
        print(f"skipped: {line}")
    warn_of_unlike(compress(names, unlike))
    print(f"{output}, by {version.name}: codes of {len(names):,} images; {others}")


def _codes(
    tree: Tree, names: list[str], version: Version, faults: dict[str, str], stop: bool
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the codes of a batch of images at a time, and which of these are "unlike" others.

    Args:
        tree: The files.
        names: Those of images.
        version: The model.
        faults: Gets the reason for each file that cannot be used.
        stop: Whether to encode nothing more, and only look for faults, after the first one.
    """
    from tqdm import tqdm

    batch = []
    for name in tqdm(names, unit="image", disable=None):
        try:
            name.encode()
            batch.append(version.conversion.convert(open_image(tree.read(name))))
        except UnicodeEncodeError:
            faults[name] = "has a name that is not UTF-8, which no table holds"
        except ValueError as error:
            faults[name] = str(error)
        if stop and faults:
            batch = []
        if len(batch) == BATCH:
            yield _encoded(batch, version)
            batch = []
    if batch:
        yield _encoded(batch, version)


def _encoded(batch: list[np.ndarray], version: Version) -> dict[str, np.ndarray]:
    images = as_input(np.stack(batch))
    return version.predict(images, "encode") | {"unlike": version.unlike(images)}


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
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder or .zip of images")
    parser.add_argument(
        "--unreadable",
        choices=("error", "skip"),
        default="error",
        help="whether an image that cannot be read stops the command or is left out; default error",
    )
    add_arguments(parser, "codes.parquet", TABLES)
    return attempt(encode, parser.parse_intermixed_args(argv))
