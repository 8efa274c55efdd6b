"""Codes laid out in the plane, to be looked at."""

from dataclasses import dataclass

import numpy as np
from openTSNE import TSNEEmbedding, affinity, initialization


@dataclass(frozen=True)
class Phase:
    """Passes of the descent that are alike.

    Attributes:
        passes: How many.
        exaggeration: By how much neighbours attract more than they should.
        step_share: Step size by number of points.
        theta: Coarseness of the Barnes-Hut tree, 0 is exact.
        sort: Whether points that lie near each other are first brought near each other in memory:
            they walk the same branches of the tree, and then find them cached.
    """

    passes: int
    exaggeration: float
    step_share: float
    theta: float
    sort: bool = False


# The usual is 250 passes at 12 and 750 at 1, all in steps of 0.08 N at a theta of 0.5. Taken back
# by and by, the exaggeration keeps more of a cloud that has no clusters; longer steps need fewer
# passes; and only the last ones, which say where a point ends among its neighbours, have to be
# exact. Chosen on codes of training and test images; benchmarks/tsne.py measures it.
PHASES = (
    Phase(25, 12.0, 0.08, 1.0, sort=True),
    Phase(25, 6.0, 0.16, 1.0),
    Phase(25, 3.0, 0.32, 1.0),
    Phase(25, 1.5, 0.5, 1.0),
    Phase(25, 1.2, 0.6, 1.0),
    Phase(500, 1.0, 0.6, 1.0),
    Phase(300, 1.0, 0.6, 0.5, sort=True),
    Phase(100, 1.0, 0.2, 0.5),
)
LEAST_STEP = 50.0
MOMENTUM = 0.8
ORDER_BITS = 8  # of each coordinate, by which points are put in order


def standardise(codes: np.ndarray) -> np.ndarray:
    """Codes (N, D) with mean 0 and deviation 1 in each dimension; one that does not vary is 0."""
    deviation = codes.std(axis=0)
    return (codes - codes.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def tsne(codes: np.ndarray, perplexity: float, seed: int, threads: int = 1) -> np.ndarray:
    """Two-dimensional t-SNE of standardised codes (van der Maaten & Hinton, JMLR 2008).

    Args:
        codes: float (N, D), N >= 6.
        perplexity: About how many neighbours a point has; at most (N - 1) / 3 is used.
        seed: Of the embedding, in [0, 2**32).
        threads: CPU threads.

    Returns:
        float32 (N, 2), in arbitrary units; the same for the same arguments.
    """
    codes = standardise(codes)
    points = initialization.pca(codes, random_state=seed)
    affinities = affinity.PerplexityBasedNN(
        codes,
        perplexity=min(perplexity, (len(codes) - 1) / 3),
        method="exact",
        n_jobs=threads,
        random_state=seed,
    ).P
    order = np.arange(len(codes))
    for phase in PHASES:
        if phase.sort:
            rows = _near_to_near(points)
            order, affinities = order[rows], affinities[rows][:, rows]
            embedding = TSNEEmbedding(
                points[rows],
                affinity.PrecomputedAffinities(affinities, normalize=False),
                negative_gradient_method="bh",  # interpolation is slower below 10,000 points
                random_state=seed,
                n_jobs=threads,
            )
        embedding.optimize(
            phase.passes,
            exaggeration=phase.exaggeration,
            learning_rate=max(phase.step_share * len(codes), LEAST_STEP),
            momentum=MOMENTUM,
            theta=phase.theta,
            inplace=True,
        )
        points = np.asarray(embedding)
    given = np.empty((len(codes), 2), dtype=np.float32)
    given[order] = points
    return given


def _near_to_near(points: np.ndarray) -> np.ndarray:
    """An order, int64 (N,), in which points (N, 2) that are near each other are near (Z-order)."""
    ranks = points.argsort(axis=0).argsort(axis=0) * 2**ORDER_BITS // len(points)
    key = np.zeros(len(points), dtype=np.int64)
    for bit in range(ORDER_BITS):
        for axis in (0, 1):
            key |= (ranks[:, axis] >> bit & 1) << (2 * bit + axis)
    return key.argsort(kind="stable")
