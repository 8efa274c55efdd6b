"""Controls: codes whose leakage is known, read by probes as the model's are.

A probe that finds nothing tells only as much as its finding of what was planted.
"""

import numpy as np

PLANTED_DIM = 16
VARIANCE_STEP = 0.15  # of the log-variance, from class to class


def permuted(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels (N,) in random order: whatever the codes are, a probe must be at chance."""
    return rng.permutation(labels)


def label_code(labels: np.ndarray, class_count: int) -> np.ndarray:
    """A code that is the label, one-hot float32 (N, K): a probe must read all of it."""
    return np.eye(class_count, dtype=np.float32)[labels]


def constant_code(labels: np.ndarray) -> np.ndarray:
    """A code that is the same for all, float32 (N, D): a probe can do no more than the majority."""
    return np.ones((len(labels), PLANTED_DIM), np.float32)


def class_in_the_variance(
    labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Means without a class and log-variances with it: float32 (N, D) each.

    A probe of the means must be at chance, and one of [mean, log-variance] must read it.
    """
    shape = len(labels), PLANTED_DIM
    mean = rng.standard_normal(shape).astype(np.float32)
    logvar = (0.02 * rng.standard_normal(shape)).astype(np.float32)
    logvar[:, 0] += (VARIANCE_STEP * labels).astype(np.float32)
    return mean, logvar


def class_in_a_product(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A code (N, D) in which the sign of a product of two dimensions tells odd labels from even.

    Neither dimension tells anything alone; a linear probe is at chance.
    """
    code = rng.standard_normal((len(labels), PLANTED_DIM)).astype(np.float32)
    sign = np.where(labels % 2 == 0, 1.0, -1.0)
    code[:, 1] = np.abs(code[:, 1]) * sign * np.sign(code[:, 0])
    return code
