"""Controls: codes whose leakage is known, given to the same probes as the model's codes.

A probe that finds no class is evidence only if it finds one that was planted.
"""

import numpy as np

PLANTED_DIM = 16
VARIANCE_STEP, VARIANCE_NOISE = 0.15, 0.02  # of log-variances: between classes, within one


def permuted(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permutes labels (N,): a probe must be at chance, whatever the codes are."""
    return rng.permutation(labels)


def label_code(labels: np.ndarray, class_count: int) -> np.ndarray:
    """Encodes labels one-hot, float32 (N, K): a probe must predict all of them."""
    return np.eye(class_count, dtype=np.float32)[labels]


def constant_code(labels: np.ndarray) -> np.ndarray:
    """Gives all images one code, float32 (N, D): a probe can reach the majority rate at most."""
    return np.ones((len(labels), PLANTED_DIM), np.float32)


def class_variances(class_count: int, rng: np.random.Generator) -> np.ndarray:
    """Log-variances that tell each of any number of classes apart, float32 (K, D)."""
    shape = class_count, PLANTED_DIM
    return (VARIANCE_STEP * rng.standard_normal(shape)).astype(np.float32)


def class_in_the_variance(
    labels: np.ndarray, variances: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Plants the class in log-variances only; returns means and log-variances, float32 (N, D).

    A probe of the means must be at chance; one of [mean, log-variance] must predict the class.

    Args:
        labels: int64 (N,) in [0, K).
        variances: Those of :func:`class_variances`, (K, D).
        rng: Source of the means, and of noise in the log-variances.
    """
    mean, noise = rng.standard_normal((2, len(labels), PLANTED_DIM)).astype(np.float32)
    return mean, variances[labels] + VARIANCE_NOISE * noise


def class_in_a_shift(
    labels: np.ndarray, class_count: int, shift: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Plants the class in the mean: each shifts the code in a direction of its own.

    Args:
        labels: int64 (N,) in [0, K).
        class_count: K.
        shift: Length of each shift, in standard deviations of a class.
        rng: Source of directions and codes.

    Returns:
        Codes, float32 (N, D), and log p(z | y) of every class up to a constant, float64 (N, K):
        the best possible probe adds the log-prior.
    """
    means = rng.standard_normal((class_count, PLANTED_DIM))
    means *= shift / np.linalg.norm(means, axis=1, keepdims=True)
    codes = means[labels] + rng.standard_normal((len(labels), PLANTED_DIM))
    return codes.astype(np.float32), codes @ means.T - (means**2).sum(axis=1) / 2


def class_in_a_product(
    labels: np.ndarray, class_count: int, strongest: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Plants the class in the correlation of two dimensions; each dimension alone holds nothing.

    Args:
        labels, class_count, rng: As for :func:`class_in_a_shift`.
        strongest: Correlation of the last class; the first has its negative, the others lie
            between.

    Returns:
        Codes and log p(z | y), as :func:`class_in_a_shift`.
    """
    correlations = np.linspace(-strongest, strongest, class_count)
    rest = np.sqrt(1 - correlations**2)
    codes = rng.standard_normal((len(labels), PLANTED_DIM))
    codes[:, 1] = correlations[labels] * codes[:, 0] + rest[labels] * codes[:, 1]
    errors = (codes[:, 1:2] - correlations * codes[:, :1]) / rest
    return codes.astype(np.float32), -(errors**2) / 2 - np.log(rest)


def behind_a_flow(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Maps codes (N, D) by a random invertible function, which hides a class but keeps its bits.

    Four affine couplings (Dinh et al., 2017, arXiv 1605.08803), each after a random permutation.
    """
    half = codes.shape[1] // 2
    for _ in range(4):
        codes = codes[:, rng.permutation(codes.shape[1])]
        first, second = codes[:, :half], codes[:, half:]
        shape = half, codes.shape[1] - half
        scale, shift = (np.tanh(first @ rng.standard_normal(shape) / 2) for _ in range(2))
        codes = np.hstack([first, second * np.exp(scale / 2) + shift]).astype(np.float32)
    return codes
