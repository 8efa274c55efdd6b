"""The user's own images: found, checked, divided into splits, and opened as splits.

Everything is decoded and checked before anything is written, so that all faults are told at once.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pipeline.artifacts.dataset import UNSEEN
from pipeline.data.arrays import Part, all_images, find_parts, from_arrays, inner_archive
from pipeline.data.checks import (
    check_duplicates,
    choose_classes,
    divide,
    lines_of,
    size_fault,
    unseen_faults,
)
from pipeline.data.config import FOLDERS, PrepareConfig
from pipeline.data.conversion import Conversion, open_image
from pipeline.data.decoding import Decoding, Seen, check_arrays, decode_files
from pipeline.data.listing import Listing, from_folders
from pipeline.data.survey import SAMPLE, Survey, survey
from pipeline.data.table import from_table, is_table
from pipeline.data.tree import Tree, extension, list_tree

Kind = Literal["strokes", "pictures"]


@dataclass
class OwnImages:
    """Own images after the first pass.

    Attributes:
        tree: The files.
        listing: The images, and what the list alone tells.
        seen: Facts about each image of the listing.
        conversion: How every image is converted.
        kind: "strokes" or "pictures".
        class_names: In natural order, without unseen classes.
        unseen_classes: Names of the classes that are held out of the training, in natural order.
        splits: Positions in the listing of the images of each split, int64, increasing.
        faults: Reasons why no data set can be made of them, a line each.
        notes: What the user should know, a line each.
    """

    tree: Tree
    listing: Listing
    seen: list[Seen]
    conversion: Conversion
    kind: Kind
    class_names: list[str] = field(default_factory=list)
    unseen_classes: list[str] = field(default_factory=list)
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def labels(self, positions: np.ndarray) -> np.ndarray:
        """Class of images of the listing, int64 (N,); -1 for one that no training image has.

        The class of an image of the split "unseen" is its position in ``unseen_classes``.
        """
        known, unseen = (
            {name: label for label, name in enumerate(names)}
            for names in (self.class_names, self.unseen_classes)
        )
        items = (self.listing.items[p] for p in positions.tolist())
        labels = ((unseen if i.split == UNSEEN else known).get(i.label, -1) for i in items)
        return np.fromiter(labels, np.int64, len(positions))


def examine(path: Path, config: PrepareConfig, spool: Path | None) -> OwnImages:
    """Lists, decodes and checks images, and divides them; arguments as of :func:`look`."""
    images = look(path, config, spool)
    judge(images, config)
    return images


def look(path: Path, config: PrepareConfig, spool: Path | None) -> OwnImages:
    """Lists and decodes images.

    Args:
        path: A folder, or a ``.zip`` or ``.npz`` file.
        config: The section ``prepare``.
        spool: Empty folder to keep converted images in for the second pass; None to check only.

    Raises:
        ValueError: there is nothing to check: no such path, no table, no images.
    """
    tree, listing, parts = list_images(path, config.labels)
    if not listing.items and not listing.faults:
        raise ValueError(f"{path} holds no images{_hint(tree, listing)}")
    found = survey(_sample(tree, listing, parts), config.channels == "gray")
    how = _decoding(config, found, spool)
    seen = _decoded(tree, listing, parts, how)
    gray = all(s.gray for s in seen) if how.open_channels else config.channels == "gray"
    if not gray and config.invert == "auto" and how.conversion.invert:
        # Colour that the sample missed: these are no strokes, so all are kept as they are.
        how = replace(how, conversion=replace(how.conversion, invert=False))
        seen = _decoded(tree, listing, parts, how)
    conversion = replace(how.conversion, channels="gray" if gray else "color")
    strokes = found.strokes and gray and found.light_ground == conversion.invert
    kind: Kind = "strokes" if strokes else "pictures"
    if config.kind != "auto":
        kind = config.kind
    return OwnImages(tree, listing, seen, conversion, kind)


def _decoded(tree: Tree, listing: Listing, parts: list[Part], how: Decoding) -> list[Seen]:
    """The first pass."""
    if parts:
        return check_arrays(all_images(parts), how)
    return decode_files(tree, [item.name for item in listing.items], how)


def list_images(path: Path, labels: str) -> tuple[Tree, Listing, list[Part]]:
    """Finds out the layout and lists the images; the parts are those of arrays, if it is these.

    Raises:
        ValueError: there is no such path or table, or an array is damaged.
    """
    tree = list_tree(path)
    if labels != FOLDERS:
        return tree, from_table(tree, labels), []
    if parts := find_parts(tree):
        return tree, from_arrays(parts), parts
    if (inner := inner_archive(tree)) and (parts := find_parts(inner)):
        return inner, from_arrays(parts), parts
    return tree, from_folders(tree), []


def tables(tree: Tree) -> list[str]:
    """CSV files at the top that could be ``prepare.labels``."""
    found = (name for name in tree.files if "/" not in name and extension(name) == "csv")
    return [name for name in found if is_table(tree, name)]


def _hint(tree: Tree, listing: Listing) -> str:
    files = ", ".join(f"{count} .{kind}" for kind, count in listing.others.items())
    said = f" (files that are none: {files})" if files else ""
    if found := tables(tree):
        said += f"; {found[0]} is a table of images: set prepare.labels: {found[0]}"
    return f"{said}; docs/own_images.md describes the layouts"


def _sample(tree: Tree, listing: Listing, parts: list[Part]) -> Iterator[Image.Image]:
    """Images spread evenly over all; those that cannot be read are left to the first pass."""
    count = len(listing.items)
    chosen = set(np.linspace(0, count - 1, min(count, SAMPLE)).astype(int).tolist())
    if parts:
        rows = enumerate(all_images(parts))
        yield from (Image.fromarray(pixels) for row, pixels in rows if row in chosen)
        return
    for position in sorted(chosen):
        try:
            yield open_image(tree.read(listing.items[position].name))
        except ValueError:
            continue


def _decoding(config: PrepareConfig, found: Survey, spool: Path | None) -> Decoding:
    sides = config.image_size
    any_size = sides != "auto"
    if isinstance(sides, int):
        sides = sides, sides
    elif isinstance(sides, str):
        sides = found.size or (1, 1)
        if size_fault(Counter([sides])):
            spool = None  # they cannot be kept as they are
    strokes = found.strokes if config.kind == "auto" else config.kind == "strokes"
    invert = strokes and found.light_ground and config.channels != "color"
    if config.invert != "auto":
        invert = config.invert
    channels = "color" if config.channels == "auto" else config.channels
    conversion = Conversion(sides, config.fit, channels, config.background, invert)
    return Decoding(conversion, config.channels == "auto", spool, any_size)


def judge(images: OwnImages, config: PrepareConfig) -> None:
    """Adds faults and notes, and chooses classes and splits."""
    items, seen = images.listing.items, images.seen
    broken = {items[p].name: s.fault for p, s in enumerate(seen) if s.fault}
    images.faults += lines_of(images.listing.faults)
    if config.unreadable == "error":
        images.faults += lines_of(broken)
    elif broken:
        images.notes.append(f"{len(broken):,} unreadable images are left out:")
        images.notes += lines_of(broken)
    used = np.array([p for p, s in enumerate(seen) if not s.fault], np.int64)
    if config.image_size == "auto" and len(used):
        fault = size_fault(Counter(seen[p].size for p in used.tolist()))
        images.faults += [fault] if fault else []
    used, copies, faults, notes = check_duplicates(items, seen, used, config.duplicates)
    images.faults += faults
    images.notes += notes
    whole = used
    used, classes, unseen, notes = choose_classes(items, used, config.min_images)
    images.notes += notes
    images.class_names, images.unseen_classes = classes, unseen
    images.faults += unseen_faults(items, whole, unseen)
    if len(classes) < 2:
        names = f", {classes[0]}" if classes else ""
        images.faults.append(
            f"{images.tree.path} has {len(classes)} class{'' if classes else 'es'} with "
            f"{config.min_images} training images or more{names}; expected two or more"
        )
    if not images.faults:
        images.splits, faults, notes = divide(items, copies, used, images.labels(used), config)
        images.faults += faults
        images.notes += notes
