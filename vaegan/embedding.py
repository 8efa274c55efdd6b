"""Codes laid out in the plane, to be looked at."""

import numpy as np
from openTSNE import TSNE

# Fewer passes than the usual 250 + 750 in steps that are longer: as good a picture as
# scikit-learn's default in less time (benchmarks/tsne.py). Longer steps still suit codes in
# clusters, shorter ones a single cloud.
EXAGGERATED_PASSES, PASSES = 150, 520
STEP_SHARE, LEAST_STEP = 0.08, 50.0  # step size by number of points


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
    embedding = TSNE(
        perplexity=min(perplexity, (len(codes) - 1) / 3),
        negative_gradient_method="bh",  # Barnes-Hut; interpolation is slower below 10,000 points
        neighbors="exact",
        early_exaggeration_iter=EXAGGERATED_PASSES,
        n_iter=PASSES,
        learning_rate=max(STEP_SHARE * len(codes), LEAST_STEP),
        random_state=seed,
        n_jobs=threads,
    )
    return np.asarray(embedding.fit(standardise(codes)), dtype=np.float32)
