"""Rate: the information in the unspecified code, in nats and in active dimensions."""

import numpy as np

ACTIVE_NATS = 0.05  # per image; a dimension with less is inactive


def nats_per_dimension(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """KL(q(z_d|x) || N(0, 1)) of each dimension, averaged over images, in nats.

    Args:
        mean: float (N, D).
        std: float (N, D); all 0 if the code is not variational.

    Returns:
        float64 (D,), >= 0; NaN where std is 0, because such a code has no density.
    """
    mean, std = mean.astype(np.float64), std.astype(np.float64)
    with np.errstate(divide="ignore"):
        terms = 0.5 * (mean**2 + std**2 - 1) - np.log(std)
    return np.where((std > 0).all(axis=0), np.where(std > 0, terms, 0).mean(axis=0), np.nan)


def active_units(mean: np.ndarray, std: np.ndarray) -> int:
    """Counts the dimensions of more than 0.05 nats or, without a density, those that vary."""
    nats = nats_per_dimension(mean, std)
    varies = mean.std(axis=0) > 0.01
    return int(np.where(np.isnan(nats), varies, np.nan_to_num(nats) > ACTIVE_NATS).sum())
