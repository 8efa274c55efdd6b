"""Codes laid out in the plane, to be looked at."""

import numpy as np
from sklearn.manifold import TSNE


def tsne(codes: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Two-dimensional t-SNE of standardised codes (van der Maaten & Hinton, JMLR 2008).

    Args:
        codes: float (N, D), N >= 6; dimensions that do not vary are left as they are.
        perplexity: About how many neighbours a point has; at most (N - 1) / 3 is used.
        seed: Of the embedding, in [0, 2**32).

    Returns:
        float32 (N, 2), in arbitrary units.
    """
    deviation = codes.std(axis=0)
    standardised = (codes - codes.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    perplexity = min(perplexity, (len(codes) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(standardised)
