"""The second pass over own images: splits that stream from the spool, and their description."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.dataset import Split
from pipeline.data.listing import natural_key, some
from pipeline.data.own import OwnImages
from pipeline.data.spool import spooled

# Of a style factor, on average and at most: a time or an age is no factor, and each value is
# a class of a classifier that has to learn it from its images.
IMAGES_PER_VALUE, MOST_VALUES = 10, 1000


def open_splits(images: OwnImages, spool: Path) -> tuple[dict[str, Split], dict[str, list[str]]]:
    """Opens the splits of images without faults.

    Returns:
        The splits, which are read from the spool, and the values of the known style factors.
    """
    used = np.sort(np.concatenate(list(images.splits.values())))
    names = factor_values(images, used)
    columns = [images.listing.factor_names.index(name) for name in names]
    number = [{value: n for n, value in enumerate(values)} for values in names.values()]

    def factors(positions: np.ndarray) -> np.ndarray | None:
        if not names:
            return None
        rows = [images.listing.items[p].factors for p in positions.tolist()]
        values = [[of[row[c]] for of, c in zip(number, columns, strict=True)] for row in rows]
        return np.array(values, np.int64)

    def open_split(positions: np.ndarray) -> Split:
        def blocks() -> Iterator[np.ndarray]:
            return spooled(spool, images.conversion, len(images.seen), positions)

        return Split(images.labels(positions), blocks, factors(positions))

    return {name: open_split(positions) for name, positions in images.splits.items()}, names


def factor_values(images: OwnImages, used: np.ndarray) -> dict[str, list[str]]:
    """The values of each style factor, in natural order; notes name the factors left out."""
    names = {}
    for column, name in enumerate(images.listing.factor_names):
        values = {images.listing.items[p].factors[column] for p in used.tolist()}
        if 2 <= len(values) <= min(MOST_VALUES, len(used) // IMAGES_PER_VALUE):
            names[name] = sorted(values, key=natural_key)
        else:
            images.notes.append(
                f"the column {name} is left out as a style factor: it has {len(values):,} values "
                f"for {len(used):,} images, expected 2 to {MOST_VALUES:,}, with "
                f"{IMAGES_PER_VALUE} images or more for each on average"
            )
    return names


def describe(images: OwnImages, names: dict[str, list[str]]) -> dict[str, Any]:
    """The entries of ``dataset.json`` that own images have."""
    found = zip(images.listing.items, images.seen, strict=True)
    lines = (f"{item.name}\0{item.label}\0{seen.digest.hex()}\n" for item, seen in found)
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape"))
    return {
        "kind": images.kind,
        "class_names": images.class_names,
        "unseen_classes": images.unseen_classes,
        "source": f"own images, {images.listing.layout}",
        "url": "",
        "licence": "not stated",
        "archives": {},
        "digest": digest.hexdigest(),
        "factors": names,
        "conversion": images.conversion.to_dict(),
        "notes": told(images),
    }


def class_order(images: OwnImages) -> list[str]:
    """Lines that name the first classes."""
    lines = [f"{len(images.class_names):,} classes in this order: {some(images.class_names)}"]
    if images.unseen_classes:
        count, names = len(images.unseen_classes), some(images.unseen_classes)
        lines.append(f"{count:,} unseen classes, held out of the training: {names}")
    return lines


def told(images: OwnImages) -> list[str]:
    """Lines about images, without their classes."""
    others = sum(images.listing.others.values())
    kinds = some(f"{n} .{kind}" if kind else f"{n} without extension" for kind, n in
                 images.listing.others.most_common())  # fmt: skip
    lines = []
    if others:
        lines.append(f"{others:,} files that are no images are left aside: {kinds}")
    if images.tree.system:
        lines.append(f"{images.tree.system:,} hidden or system files and folders are left aside")
    if images.tree.linked:
        lines.append(
            f"{len(images.tree.linked):,} folders are symbolic links: DVC does not see changes "
            "behind them"
        )
    return lines + images.notes
