"""Controls: codes whose leakage is known, given to the same probes as the model's codes.

A probe that finds no class is evidence only if it finds one that was planted.
"""

import numpy as np

PLANTED_DIM = 16
VARIANCE_STEP = 0.15  # of the log-variance, from class to class


def permuted(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permutes labels (N,): a probe must be at chance, whatever the codes are."""
    return rng.permutation(labels)


def label_code(labels: np.ndarray, class_count: int) -> np.ndarray:
    """Encodes labels one-hot, float32 (N, K): a probe must predict all of them."""
    return np.eye(class_count, dtype=np.float32)[labels]


def constant_code(labels: np.ndarray) -> np.ndarray:
    """Gives all images one code, float32 (N, D): a probe can reach the majority rate at most."""
    return np.ones((len(labels), PLANTED_DIM), np.float32)


def class_in_the_variance(
    labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Plants the class in log-variances only; returns means and log-variances, float32 (N, D).

    A probe of the means must be at chance; one of [mean, log-variance] must predict the class.
    """
    shape = len(labels), PLANTED_DIM
    mean = rng.standard_normal(shape).astype(np.float32)
    logvar = (0.02 * rng.standard_normal(shape)).astype(np.float32)
    logvar[:, 0] += (VARIANCE_STEP * labels).astype(np.float32)
    return mean, logvar
