"""Probes: classifiers fitted on frozen codes, to see what can be read from them."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def linear_probe_accuracy(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
) -> float:
    """Accuracy on test codes of a logistic regression on standardised training codes.

    Args:
        train_codes: float (N, D).
        train_labels: int64 (N,).
        test_codes: float (M, D).
        test_labels: int64 (M,).

    Returns:
        In [0, 1].
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    return _accuracy(probe, train_codes, train_labels, test_codes, test_labels)


def mlp_probe_accuracy(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    seed: int,
) -> float:
    """Accuracy on test codes of a 256-256 perceptron on standardised training codes.

    A linear probe finds only what lies in a plane: it misses a class that is written in a
    product of two dimensions.

    Args:
        train_codes: float (N, D).
        train_labels: int64 (N,).
        test_codes: float (M, D).
        test_labels: int64 (M,).
        seed: Of the probe's weights and batches, in [0, 2**32).

    Returns:
        In [0, 1].
    """
    network = MLPClassifier((256, 256), batch_size=256, max_iter=15, random_state=seed)
    probe = make_pipeline(StandardScaler(), network)
    return _accuracy(probe, train_codes, train_labels, test_codes, test_labels)


def majority_rate(labels: np.ndarray) -> float:
    """Share of the most frequent class of labels (N,): what a probe scores that reads nothing."""
    return float(np.bincount(labels).max() / len(labels))


def _accuracy(
    probe: object,
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
) -> float:
    if train_codes.shape[1:] != test_codes.shape[1:]:
        raise ValueError(
            f"codes differ in size: training {train_codes.shape}, test {test_codes.shape}"
        )
    with warnings.catch_warnings():  # the number of passes is fixed on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train_codes, train_labels)  # type: ignore[attr-defined]
    return float(probe.score(test_codes, test_labels))  # type: ignore[attr-defined]
