"""Calibration of probes: probabilities that can be believed, so that bits are bits."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize_scalar

SHARPEST = 10.0  # inverse temperature, at most


def calibrator(
    log_probabilities: np.ndarray, labels: np.ndarray, prior: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits how far a probe can be believed, by its predictions of held-out codes.

    The calibrated probabilities are q(y|z) ~ prior(y) (p(y|z) / prior(y))^t, with the inverse
    temperature t >= 0 under which the labels are most likely (temperature scaling, Guo et al.,
    2017, arXiv 1706.04599, towards the prior instead of the uniform distribution). A probe that
    has learned nothing gets t = 0 and predicts the prior, which contains 0 bits.

    Args:
        log_probabilities: float64 (N, K), of held-out codes.
        labels: int64 (N,).
        prior: Class frequencies, (K,), each above 0.

    Returns:
        A function of log-probabilities (M, K) to calibrated ones, float64 (M, K).
    """

    def cross_entropy(t: float) -> float:
        """Cross-entropy of the held-out labels at a temperature, nats."""
        calibrated = _tilt(t, np.log(prior), log_probabilities)
        return float(-calibrated[np.arange(len(labels)), labels].mean())

    fitted = minimize_scalar(cross_entropy, bounds=(0.0, SHARPEST), method="bounded")
    return partial(_tilt, float(fitted.x), np.log(prior))


def _tilt(t: float, log_prior: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    tilted = torch.from_numpy(log_prior + t * (log_probabilities - log_prior))
    return tilted.log_softmax(dim=1).numpy()


def class_prior(labels: np.ndarray, class_count: int) -> np.ndarray:
    """Frequency of each class among labels (N,), float64 (K,), as if each occurred half once more.

    So that a class that does not occur is unlikely, not impossible.
    """
    counts = np.bincount(labels, minlength=class_count) + 0.5
    return np.asarray(counts / counts.sum())
