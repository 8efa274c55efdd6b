"""Choice of the images that a figure shows, by rules that do not look at what it should prove."""

from collections.abc import Sequence

import numpy as np

EXTREME = 0.9  # quantile of the distance from the mean, beyond which an image is left out


def choose_different(
    looks: np.ndarray, groups: np.ndarray, order: Sequence[int], taken: Sequence[int] = ()
) -> np.ndarray:
    """Chooses images that look as different as possible, one of each group in ``order``.

    Farthest-first traversal (Gonzalez, 1985): each one is, among the images of its group, the one
    whose nearest image chosen before is farthest away. A tenth of the images, those that are
    farthest from the mean, are left out as long as their group has others.

    Args:
        looks: float (N, D), in which distances are measured.
        groups: int (N,).
        order: A group for each image to choose; one that has no images left is passed over.
        taken: Positions that were chosen before, avoided as long as their group has others.

    Returns:
        Positions, int64 (M,), each at most once.
    """
    centre = np.linalg.norm(looks - looks.mean(axis=0), axis=1)
    usual = centre <= np.quantile(centre, EXTREME)
    nearest = np.full(len(looks), np.inf)
    for place in taken:
        nearest = np.minimum(nearest, np.linalg.norm(looks - looks[place], axis=1))
    free, new = np.ones(len(looks), bool), np.ones(len(looks), bool)
    new[list(taken)] = False
    chosen: list[int] = []
    for group in order:
        among = np.flatnonzero(free & (groups == group))
        among = among[new[among]] if new[among].any() else among
        among = among[usual[among]] if usual[among].any() else among
        if not len(among):
            continue
        distance = nearest if np.isfinite(nearest).all() else centre
        place = int(among[distance[among].argmax()])
        chosen.append(place)
        free[place] = False
        nearest = np.minimum(nearest, np.linalg.norm(looks - looks[place], axis=1))
    return np.array(chosen, dtype=np.int64)


def choose_typical(looks: np.ndarray, groups: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Chooses the images nearest to the mean, one of each group in ``order``; positions, (M,)."""
    centre = np.linalg.norm(looks - looks.mean(axis=0), axis=1)
    waiting = {g: list(_nearest(centre, groups == g)) for g in set(order)}
    chosen = [waiting[group].pop(0) for group in order if waiting[group]]
    return np.array(chosen, dtype=np.int64)


def _nearest(distance: np.ndarray, among: np.ndarray) -> np.ndarray:
    places = np.flatnonzero(among)
    return places[np.argsort(distance[places], kind="stable")]


def spread_classes(present: np.ndarray, count: int) -> list[int]:
    """Chooses ``count`` classes out of those present, evenly spaced; all, repeated, if fewer.

    Args:
        present: Sorted numbers of classes, one or more.
        count: How many, >= 1.
    """
    if len(present) < count:
        return [int(present[i % len(present)]) for i in range(count)]
    places = np.linspace(0, len(present) - 1, count).round().astype(int)
    return [int(present[place]) for place in places]
