"""Checks of all images together: sizes, classes, duplicates and splits."""

from collections import Counter, defaultdict
from itertools import combinations

import numpy as np

from pipeline.artifacts.dataset import SPLITS, UNSEEN
from pipeline.data.config import LARGEST, SMALLEST, PrepareConfig
from pipeline.data.decoding import Seen
from pipeline.data.listing import Item, natural_key, shown, some
from pipeline.data.splitting import PAIR, bundles, hold_out
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
) -> tuple[np.ndarray, list[str], list[str], list[str]]:
    """Chooses the classes with enough images in training, or else in the split "unseen".

    Returns:
        Positions of their images, names in natural order of those of the training and of the
        unseen ones, and notes.
    """
    found = [items[p] for p in used.tolist()]
    trained, unseen = (
        Counter(item.label for item in found if item.split in splits)
        for splits in ((None, "train"), (UNSEEN,))
    )
    rare = {label: count for label, count in (trained | unseen).items() if count < least}
    classes, held_out = (
        sorted(counts.keys() - rare.keys(), key=natural_key) for counts in (trained, unseen)
    )
    kept = np.array([item.label not in rare for item in found], bool)
    notes = []
    if rare:
        listed = some(f"{label} ({rare[label]})" for label in sorted(rare, key=natural_key))
        notes.append(
            f"{len(rare):,} classes with fewer than {least} images (prepare.min_images) are left "
            f"out: {listed}"
        )
    return used[kept], classes, held_out, notes


def unseen_faults(items: list[Item], used: np.ndarray, names: list[str]) -> list[str]:
    """Why classes cannot be held out of the training; none if none are.

    Args:
        items: All images.
        used: Positions of the images that are used, of classes with few images too.
        names: Names of the unseen classes with enough images.
    """
    found = [items[p] for p in used.tolist()]
    counts = Counter(item.label for item in found if item.split == UNSEEN)
    others = {item.label for item in found if item.split != UNSEEN}
    faults = []
    if both := sorted(counts.keys() & others, key=natural_key):
        faults.append(f"classes of the split unseen have images in other splits: {some(both)}")
    if few := sorted((name for name, n in counts.items() if n < PAIR), key=natural_key):
        faults.append(
            f"unseen classes with one image: {some(few)}; expected two or more, as half of them "
            "train the classifier that evaluates the others"
        )
    # A swap: one image shows a class, and another class has a second image for the style.
    elif names and (len(names) < 2 or max(counts[name] for name in names) <= PAIR):
        faults.append(
            f"the split unseen has {len(names)} class{'' if len(names) == 1 else 'es'} with enough "
            f"images, {some(names)}; expected two or more, one of them with three images or more"
        )
    return faults


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
    splits = {name: used[given == name] for name in SPLITS}
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
    """Keys that an image shares with the images that have to stay in one split with it."""
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
    known = {items[p].label for p in train}
    faults, notes = [], []
    for name in SPLITS[1:]:
        others = splits[name].tolist()
        # Unseen classes are no fault of their split, and it lacks no class.
        labels = known if name == UNSEEN else {items[p].label for p in others}
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
