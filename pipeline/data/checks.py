"""Checks of all images together: sizes, classes, duplicates and splits."""

from collections import Counter, defaultdict
from itertools import combinations

import numpy as np

from pipeline.data.config import LARGEST, SMALLEST, PrepareConfig
from pipeline.data.decoding import Seen
from pipeline.data.listing import Item, natural_key, shown, some
from pipeline.data.splitting import bundles, hold_out
from vaegan.rng import numpy_rng

PROPOSED = 64  # pixels of a side, for larger images
TEST, VALIDATION = (0, "test"), (0, "validation")  # seeds and purposes of what is held out


def lines_of(faults: dict[str, str]) -> list[str]:
    """A line per fault."""
    return [f"{shown(name)} {reason}" for name, reason in faults.items()]


def size_fault(sizes: Counter[tuple[int, int]]) -> str:
    """Why images cannot be taken as they are, and a proposal; "" if they can.

    Args:
        sizes: Number of images by (height, width).
    """
    usable = all(SMALLEST <= side <= LARGEST for size in sizes for side in size)
    if len(sizes) == 1 and usable:
        return ""
    common = ", ".join(f"{w} x {h} ({n:,})" for (h, w), n in sizes.most_common(5))
    more = f" and {len(sizes) - 5:,} more" if len(sizes) > 5 else ""
    what = "are of different sizes" if len(sizes) > 1 else "are too small or too large"
    return (
        f"prepare.image_size: got auto, but images {what}, width x height: {common}{more}; "
        f"expected a size from {SMALLEST} to {LARGEST}, such as {proposed_size(sizes)}"
    )


def proposed_size(sizes: Counter[tuple[int, int]]) -> int:
    """A side for images of several sizes: the most common longer side, within what is learned."""
    longer = Counter[int]()
    for size, count in sizes.items():
        longer[max(size)] += count
    side = longer.most_common(1)[0][0]
    return min(max(side, SMALLEST), PROPOSED)


def choose_classes(
    items: list[Item], used: np.ndarray, least: int
) -> tuple[np.ndarray, list[str], list[str]]:
    """Chooses the classes with enough images; those of given splits are counted in training.

    Returns:
        Positions of their images, their names in natural order, and notes.
    """
    found = [items[p] for p in used.tolist()]
    counts = Counter(item.label for item in found if item.split in (None, "train"))
    rare = {label: count for label, count in counts.items() if count < least}
    classes = sorted(counts.keys() - rare.keys(), key=natural_key)
    kept = np.array([item.label not in rare for item in found], bool)
    notes = []
    if rare:
        listed = some(f"{label} ({rare[label]})" for label in sorted(rare, key=natural_key))
        notes.append(
            f"{len(rare):,} classes with fewer than {least} images (prepare.min_images) are left "
            f"out: {listed}"
        )
    return used[kept], classes, notes


def check_duplicates(
    items: list[Item], seen: list[Seen], used: np.ndarray, treatment: str
) -> tuple[np.ndarray, dict[int, bytes], list[str], list[str]]:
    """Finds images with equal pixels.

    Returns:
        Positions of the images that are kept, digests by position of those that have copies, and
        faults and notes.
    """
    equal = defaultdict(list)
    for position in used.tolist():
        equal[seen[position].digest].append(position)
    copies = {digest: found for digest, found in equal.items() if len(found) > 1}
    faults, notes = [], []
    mixed = [found for found in copies.values() if len({items[p].label for p in found}) > 1]
    if mixed and treatment != "allow":
        faults = [
            "equal images in several classes: " + some(items[p].name for p in found)
            for found in mixed
        ]
        faults.append(f"{len(mixed):,} images lie in several classes: prepare.duplicates: allow "
                      "accepts them")  # fmt: skip
    elif mixed:
        notes.append(f"{len(mixed):,} images lie in several classes (prepare.duplicates: allow)")
    if copies:
        count = sum(map(len, copies.values()))
        what = "the first of each is kept" if treatment == "drop" else "they stay in one split"
        notes.append(f"{count:,} images are {len(copies):,} groups of equal ones: {what}")
    if treatment == "drop":
        kept = {found[0] for found in equal.values()}
        return np.array([p for p in used.tolist() if p in kept], np.int64), {}, faults, notes
    of = {position: digest for digest, found in copies.items() for position in found}
    return used, of, faults, notes


def divide(
    items: list[Item],
    copies: dict[int, bytes],
    used: np.ndarray,
    labels: np.ndarray,
    config: PrepareConfig,
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Divides images into splits: as given, and what is missing by chance.

    Returns:
        Positions of the images of each split, increasing; faults; notes.
    """
    given = np.array([items[p].split or "train" for p in used.tolist()])
    splits = {name: used[given == name] for name in ("train", "validation", "test")}
    faults, notes = _check_given(items, copies, splits)
    label = dict(zip(used.tolist(), labels.tolist(), strict=True))
    if "validation" in given and config.validation_size:
        faults.append(
            f"prepare.validation_size: got {config.validation_size}, expected 0, as the images "
            "come with a validation split"
        )
    for name, (seed, purpose) in (("test", TEST), ("validation", VALIDATION)):
        train = splits["train"]
        fraction = config.test_fraction
        if name == "validation":
            fraction = min(1.0, config.validation_size / max(1, len(train)))
        if not fraction or faults or len(splits[name]):
            continue
        keys = [_keys(items[p], copies.get(p)) for p in train.tolist()]
        classes = np.array([label[p] for p in train.tolist()])
        together = bundles(keys)
        held = hold_out(classes, together, fraction, numpy_rng(seed, purpose))
        splits[name], splits["train"] = train[held], train[~held]
        largest = max(map(len, together))
        if held.sum() < fraction * len(train) / 2:
            words = (
                f"the split {name} got {held.sum():,} of {len(train):,} images, less than half of "
                f"what was asked for: classes keep two images for training, and {largest:,} "
                "images have to stay together, as equal images and groups do"
            )
            (notes if held.any() else faults).append(words)
    return {name: found for name, found in splits.items() if len(found)}, faults, notes


def _keys(item: Item, copy: bytes | None) -> list[tuple[str, str | bytes]]:
    """What an image shares with those that it has to stay together with."""
    keys: list[tuple[str, str | bytes]] = []
    if item.group:
        keys.append(("group", item.group))
    if copy is not None:
        keys.append(("pixels", copy))
    return keys


def _check_given(
    items: list[Item], copies: dict[int, bytes], splits: dict[str, np.ndarray]
) -> tuple[list[str], list[str]]:
    """Faults and notes of splits as they were given."""
    train = splits["train"].tolist()
    if not train:
        return ["the images come with a split for validation or test, and none for training"], []
    known = {items[p].label for p in train}
    faults, notes = [], []
    for name in ("validation", "test"):
        others = splits[name].tolist()
        labels = {items[p].label for p in others}
        if new := sorted(labels - known, key=natural_key):
            faults.append(f"the split {name} has classes that training has not: {some(new)}")
        if others and (absent := sorted(known - labels, key=natural_key)):
            notes.append(
                f"the split {name} has no image of {len(absent):,} classes: {some(absent)}"
            )
    for first, second in combinations(splits, 2):
        one, other = splits[first].tolist(), splits[second].tolist()
        place = "training" if first == "train" else first
        shared = {copies[p] for p in one if p in copies}
        if overlap := sum(copies.get(p) in shared for p in other):
            notes.append(f"WARNING: {overlap:,} images of the split {second} are in {place} too")
        groups = {items[p].group for p in one} - {""}
        if overlap := sum(items[p].group in groups for p in other):
            notes.append(f"WARNING: {overlap:,} images of {second} are of a group in {place}")
    return faults, notes
