"""Images in arrays: ``.npz`` files with MedMNIST's keys, and IDX files under MNIST's names."""

import math
import re
import tokenize
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, cast

import numpy as np

from pipeline.data.idx import BLOCK, idx_blocks
from pipeline.data.listing import SPLIT_NAMES, Item, Listing, shown, some
from pipeline.data.tree import ARCHIVE_FAULTS, Tree, reason_of

IDX = re.compile(r"(.*?)(train|t10k|test|val)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
NPY = re.compile(r"(train|val|test)_(images|labels)\.npy")
ENDINGS = (".npy", "-ubyte", "-ubyte.gz")
RANKS = {"images": 3, "labels": 1}

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Part:
    """A split of images in arrays.

    Attributes:
        name: Name of the images, for messages.
        split: "train", "validation" or "test".
        images: Returns an iterator over blocks of images, uint8 (B, H, W) or (B, H, W, 1 or 3).
        labels: Returns an iterator over blocks of labels, integers (B,) or (B, 1).
    """

    name: str
    split: str
    images: Blocks
    labels: Blocks


def find_parts(tree: Tree) -> list[Part]:
    """The arrays of a tree, if it holds arrays under the known names.

    Raises:
        ValueError: images without labels, labels without images, or several sets in one folder.
    """
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in (name for name in tree.files if name.endswith(ENDINGS)):
        match = IDX.fullmatch(PurePosixPath(name).name) or NPY.fullmatch(name)
        if match:
            before, split, what = match.groups()[:3] if match.re is IDX else ("", *match.groups())
            folder = str(PurePosixPath(name).parent)
            key = f"{folder}/{before}", "test" if split == "t10k" else SPLIT_NAMES[split]
            if what in found[key]:
                raise ValueError(f"{name} and {found[key][what]} are the same array")
            found[key][what] = name
    if len(sets := sorted({before for before, _ in found})) > 1:
        raise ValueError(
            f"{tree.path} holds several sets of arrays, named {some(sets)}...: expected one, "
            "in a folder of its own"
        )
    parts = []
    for (_, split), names in found.items():
        if len(names) < 2:
            (has, name), (other,) = *names.items(), set(RANKS) - set(names)
            raise ValueError(f"{tree.path} holds {name} without the {other} of these {has}")
        parts.append(_part(tree, split, names["images"], names["labels"]))
    return sorted(parts, key=lambda part: ["train", "validation", "test"].index(part.split))


def _part(tree: Tree, split: str, images: str, labels: str) -> Part:
    def blocks(name: str, what: str) -> Blocks:
        def rows() -> Iterator[np.ndarray]:
            try:
                file, packed = tree.open(name), name.endswith(".npy")
                yield from npy_blocks(file, name) if packed else idx_blocks(file, name, RANKS[what])
            except (*ARCHIVE_FAULTS, MemoryError, OverflowError) as error:  # by a false header
                raise ValueError(f"{shown(name)} cannot be read: {reason_of(error)}") from error

        return rows

    name = PurePosixPath(images).name.removesuffix(".npy")
    return Part(name, split, blocks(images, "images"), blocks(labels, "labels"))


def inner_archive(tree: Tree) -> Tree | None:
    """The arrays of the only ``.npz`` file in a tree, as a tree; None if there is none."""
    packed = [name for name in tree.files if name.casefold().endswith(".npz")]
    if not packed:
        return None
    if len(packed) > 1:
        raise ValueError(f"{tree.path} holds several .npz files, {some(packed)}: expected one")
    try:
        archive = zipfile.ZipFile(tree.open(packed[0]))
    except (ValueError, *ARCHIVE_FAULTS) as error:
        name = shown(packed[0])
        raise ValueError(f"{name} is not a whole .npz file: {reason_of(error)}") from error
    inner = Tree(tree.path / packed[0], files=archive.namelist())
    inner.__dict__["archive"] = archive  # the property that would open it by its path
    return inner


def npy_blocks(file: BinaryIO, name: str) -> Iterator[np.ndarray]:
    """Yields the rows of a ``.npy`` file of integers, a few megabytes at a time; never a pickle.

    An array in Fortran order, whose rows are scattered, is read as a whole.

    Raises:
        ValueError: the file holds something else, or fewer bytes than its header states.
    """
    with file:
        try:
            version = np.lib.format.read_magic(file)
            headers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in headers:
                raise ValueError(f"is in version {version} of the format")
            shape, fortran_order, dtype = headers[version](file)
        except (ValueError, tokenize.TokenError) as error:
            raise ValueError(f"{name} is no array: {error}") from error
        if dtype.kind not in "ui" or min(shape, default=-1) < 0:
            raise ValueError(f"{name}: got {dtype} {shape}, expected rows of integers")
        left, row = shape[0], dtype.itemsize * math.prod(shape[1:])
        most = left if fortran_order else BLOCK // max(1, row)
        while left:
            rows = min(left, max(1, most))
            content = file.read(rows * row)
            if len(content) < rows * row:
                raise ValueError(f"{name} has fewer bytes than its header states")
            order: Literal["F", "C"] = "F" if fortran_order else "C"
            yield np.frombuffer(content, dtype).reshape((rows, *shape[1:]), order=order)
            left -= rows


def from_arrays(parts: list[Part]) -> Listing:
    """Lists the images of arrays; the name of a class is its number.

    Raises:
        ValueError: an array is damaged, of another shape, or has more or fewer labels than images.
    """
    listing = Listing(f"arrays: {', '.join(part.name for part in parts)}")
    for part in parts:
        labels = np.concatenate([np.zeros(0, np.int64), *map(_flat(part.name), part.labels())])
        count = 0
        for block in part.images():
            if block.dtype != np.uint8 or not _is_image(block.shape[1:]):
                raise ValueError(
                    f"{part.name}: got {block.dtype} {block.shape[1:]} for an image, expected "
                    "uint8 (height, width), or (height, width, 1 or 3)"
                )
            count += len(block)
        if len(labels) != count:
            raise ValueError(f"{part.name} has {count:,} images and {len(labels):,} labels")
        split = part.split if len(parts) > 1 else None  # the only split is divided
        names = (f"{part.name}[{row}]" for row in range(count))
        for name, label in zip(names, labels.tolist(), strict=True):
            listing.items.append(Item(name, str(label), split))
    return listing


def _flat(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def flat(labels: np.ndarray) -> np.ndarray:
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise ValueError(
                f"{name}: got labels of shape {labels.shape[1:]} for an image, expected a class"
            )
        return labels.astype(np.int64)

    return flat


def _is_image(shape: tuple[int, ...]) -> bool:
    return min(shape, default=0) > 0 and (
        len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    )


def all_images(parts: list[Part]) -> Iterator[np.ndarray]:
    """Yields every image of every part, (H, W) or (H, W, 3), in the order of the listing."""
    for part in parts:
        for block in part.images():
            one_channel = block.ndim == 4 and block.shape[3] == 1
            yield from cast(Iterator[np.ndarray], block[..., 0] if one_channel else block)
