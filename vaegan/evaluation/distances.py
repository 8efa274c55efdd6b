"""Distances between sets of images, in the features of the evaluation's own classifier.

They cannot be compared with the Inception distances (FID, KID) of other reports, which use another
network's features. Compare them with the distance between two halves of the real images, the score
of a perfect generator.
"""

import numpy as np

KERNEL_BLOCK = 1000  # images per block of the kernel distance


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of the features of two sets.

    The Frechet distance between normal distributions of their means and covariances, as
    Heusel et al. (2017, arXiv 1706.08500) use it with another network's features.

    Args:
        a: float (N, F), N > 1.
        b: float (M, F).

    Returns:
        >= 0 up to rounding; biased upwards unless N and M are much larger than F.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    c, d = np.cov(a.T), np.cov(b.T)
    # tr (C D)^(1/2) = sum of the square roots of the eigenvalues of C^(1/2) D C^(1/2), symmetric.
    values, vectors = np.linalg.eigh(np.atleast_2d(c))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ np.atleast_2d(d) @ root)
    return float(mean + np.trace(np.atleast_2d(c + d)) - 2 * np.sqrt(np.maximum(cross, 0)).sum())


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of features with the kernel (x.y / F + 1)^3, averaged over blocks.

    The estimator of Binkowski et al. (2018, arXiv 1801.01401), with another network's features.

    Args:
        a: float (N, F).
        b: float (M, F).

    Returns:
        About 0 if both sets come from one distribution, negative in half of these cases.
    """
    size = min(KERNEL_BLOCK, len(a), len(b))
    blocks = min(len(a), len(b)) // size
    distances = []
    for start in range(0, blocks * size, size):
        x = a[start : start + size].astype(np.float64)
        y = b[start : start + size].astype(np.float64)
        xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
        pairs = size * (size - 1)
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / pairs
        distances.append(within - 2 * xy.mean())
    return float(np.mean(distances))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def diversity(
    generated: np.ndarray,
    generated_labels: np.ndarray,
    real: np.ndarray,
    real_labels: np.ndarray,
    class_count: int,
) -> np.ndarray:
    """Variance of the features of generated images over that of real ones, within each class.

    Args:
        generated: float (N, F).
        generated_labels: int64 (N,), the identities asked for.
        real: float (M, F).
        real_labels: int64 (M,).
        class_count: K, also if some class does not occur.

    Returns:
        float64 (K,): 1 if generated images vary as much as real ones, 0 if all are the same, NaN
        for a class with fewer than two images in either set.
    """
    ratios = np.full(class_count, np.nan)
    for label in range(class_count):
        x, y = generated[generated_labels == label], real[real_labels == label]
        if len(x) > 1 and len(y) > 1:
            ratios[label] = x.var(axis=0).sum() / max(y.var(axis=0).sum(), 1e-12)
    return ratios
