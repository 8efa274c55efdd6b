"""Standardisation of codes before a probe or a regression is fitted on them."""

from collections.abc import Callable

import numpy as np

Standardise = Callable[[np.ndarray], np.ndarray]


def nonconstant(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Marks the dimensions in which codes differ by more than rounding, bool (D,)."""
    return std > 1e-6 * np.maximum(1e-6, np.abs(mean))


def standardiser(codes: np.ndarray) -> Standardise:
    """Fits a map to zero mean and unit standard deviation in each dimension.

    Args:
        codes: float (N, D), whose mean and deviation are used.

    Returns:
        A function of codes (M, D) to float32 (M, D); constant dimensions become 0.
    """
    mean, std = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    varies = nonconstant(mean, std)
    scale = np.where(varies, 1 / np.where(varies, std, 1.0), 0.0)
    return lambda given: ((given - mean) * scale).astype(np.float32)
