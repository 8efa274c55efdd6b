"""A list of the user's own images: the class of each, and what else is known before reading it."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.data.tree import ARCHIVE_FAULTS, Tree, extension, pictures

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "unseen": "unseen",
}
NUMBER = re.compile(r"(\d+)")
SHOWN = 5  # names in a message that cannot name all


class Item(NamedTuple):
    """An image that is listed and not yet read.

    Attributes:
        name: Its path as written, or its place in an array.
        label: Name of its class, in Unicode's normal form C.
        split: "train", "validation", "test", or "unseen" if its class is held out of the
            training; None if the images come without splits.
        group: Images of a group stay in one split; "" for an image that is in none.
        factors: Values of the known style factors, in the order of the listing's.
    """

    name: str
    label: str
    split: str | None = None
    group: str = ""
    factors: tuple[str, ...] = ()


@dataclass
class Listing:
    """All images before any is read.

    Attributes:
        layout: Words for how the images are laid out.
        items: In their natural order.
        factor_names: Names of the known style factors.
        faults: What cannot be used: the reason by path, or by what it concerns.
        others: Number of files that are no pictures, by extension.
    """

    layout: str
    items: list[Item] = field(default_factory=list)
    factor_names: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)


def natural_key(text: str) -> tuple[list[Any], str]:
    """A key that sorts 1, 2, 10 in this order: text and numbers in turn, beginning with text."""
    parts: list[Any] = NUMBER.split(text)
    parts[1::2] = map(int, parts[1::2])
    return parts, text


def normal_form(text: str) -> str:
    """The text in Unicode's normal form C, without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown, names[:SHOWN])) + more


def shown(name: str) -> str:
    """A name as a message shows it: on one line, and in characters that a terminal takes."""
    return name if name.isprintable() else ascii(name)


def list_pictures(tree: Tree, listing: Listing) -> list[str]:
    """Files of a tree that are meant as pictures, in natural order; the others are counted."""

    def head(name: str) -> bytes:
        try:
            with tree.open(name) as file:
                return file.read(16)
        except (ValueError, *ARCHIVE_FAULTS):  # closed or damaged: it is no picture
            return b""

    found = list(pictures(tree.files, head))
    if len(found) < len(tree.files):
        among = set(found)
        listing.others.update(extension(name) for name in tree.files if name not in among)
    return sorted(found, key=natural_key)


def from_folders(tree: Tree) -> Listing:
    """Lists a folder per class; folders below one belong to it.

    Folders named train, test and so on at the top are splits, if all of them are.
    """
    listing = Listing("a folder per class", faults=dict(tree.faults))
    names = list_pictures(tree, listing)
    splits = split_folders(tree, listing)
    depth = 1 if splits else 0
    if splits:
        listing.layout = f"the splits {', '.join(splits)} with a folder per class"
    label: dict[str, str] = {}  # by folder
    used: set[str] = set()
    for name in names:
        parts = name.split("/")
        if len(parts) < depth + 2:
            place = "the split's" if depth and len(parts) > 1 else "the top"
            listing.faults[name] = f"lies in {place} folder, in no class folder"
            continue
        folder = parts[depth]
        used.add("/".join(parts[: depth + 1]))
        if folder not in label:
            label[folder] = normal_form(folder)
        split = splits[parts[0]] if splits else None
        listing.items.append(Item(name, label[folder], split))
    for folder in tree.folders:
        parts = folder.split("/")
        if len(parts) == depth + 1:
            label.setdefault(parts[depth], normal_form(parts[depth]))
            if folder not in used and folder not in listing.faults:
                listing.faults[folder] = "is a class folder without a picture"
    _check_names(label, listing)
    return listing


def split_folders(tree: Tree, listing: Listing) -> dict[str, str]:
    """The split of each top folder; empty if they are not all named as splits."""
    tops = [folder for folder in tree.folders if "/" not in folder]
    splits = {top: SPLIT_NAMES.get(top.casefold(), "") for top in tops}
    if not tops or not all(splits.values()):
        return {}
    for split in {name for name, count in Counter(splits.values()).items() if count > 1}:
        both = [top for top in tops if splits[top] == split]
        listing.faults[both[1]] = f"names the same split as {both[0]}"
    return splits


def _check_names(labels: dict[str, str], listing: Listing) -> None:
    """Adds a fault per class name that collides with another one or cannot be shown."""
    written = defaultdict(list)
    for folder, label in labels.items():
        written[label].append(folder)
        check_label(folder, label, listing)
    for label, folders in written.items():
        if len(folders) > 1:
            listing.faults[shown(label)] = (
                "is the name of several class folders, written in different characters: "
                + ", ".join(map(ascii, folders))
            )


def check_label(place: str, label: str, listing: Listing) -> None:
    """Adds a fault if a class name is empty or has characters that no figure can show."""
    if not label:
        listing.faults[place] = "has no class name"
    elif not label.isprintable():
        listing.faults[place] = f"has the class name {ascii(label)}, which cannot be printed"
