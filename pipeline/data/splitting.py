"""Divides images into splits, so that equal images and groups stay on one side."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

PAIR = 2  # images that a class keeps in training if it can


def bundles(keys: Sequence[Sequence[Hashable]]) -> list[np.ndarray]:
    """Bundles rows that have to stay together: those that share a key, directly or through others.

    Args:
        keys: Of each row, any number.

    Returns:
        Positions of the rows of each bundle, in the order of their first rows.
    """
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[Hashable, int] = {}
    for row, found in enumerate(keys):
        for key in found:
            a, b = sorted((root(first.setdefault(key, row)), root(row)))
            parent[b] = a
    members = defaultdict(list)
    for row in range(len(keys)):
        members[root(row)].append(row)
    return [np.array(rows) for rows in members.values()]


def hold_out(
    labels: np.ndarray, together: list[np.ndarray], fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Chooses images to hold out, stratified by class, each bundle whole or not at all.

    A class of three or more images gives at least one if its bundles allow it, and every class
    keeps two for training. Bundles of several images are taken in random order if they bring the
    classes' counts nearer to what is wanted, then single images.

    Args:
        labels: int64 (N,).
        together: Positions of the images of each bundle.
        fraction: Share to hold out, in (0, 1).
        rng: Source of randomness.

    Returns:
        bool (N,), true for what is held out.
    """
    counts = np.bincount(labels)
    left = counts.copy()
    remainders, shares = np.modf(fraction * counts)
    wanted = shares.astype(int)
    more = round(fraction * len(labels)) - wanted.sum()
    wanted[np.argsort(-remainders, kind="stable")[:more]] += 1
    wanted = np.clip(np.minimum(np.clip(wanted, 1, None), counts - PAIR), 0, None)
    held = np.zeros(len(labels), bool)
    several = [rows for rows in together if len(rows) > 1]
    for position in rng.permutation(len(several)):
        rows = several[position]
        of = Counter(labels[rows].tolist())
        if any(left[label] - count < PAIR for label, count in of.items()):
            continue
        nearer = sum(abs(wanted[label]) - abs(wanted[label] - count) for label, count in of.items())
        if nearer > 0:
            held[rows] = True
            for label, count in of.items():
                wanted[label] -= count
                left[label] -= count
    single = np.array([rows[0] for rows in together if len(rows) == 1], np.int64)
    for label in np.flatnonzero(wanted > 0):
        candidates = single[labels[single] == label]
        count = min(wanted[label], len(candidates), left[label] - PAIR)
        held[rng.choice(candidates, max(0, count), replace=False)] = True
    return held
