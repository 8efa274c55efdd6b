"""Leakage: how well the strongest of several fresh probes predicts the class from a code."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vaegan.data import stratified_subset
from vaegan.evaluation.probes import PANEL, Fit, accuracy
from vaegan.rng import numpy_rng
from vaegan.turns import in_turns

FOLDS = 5


@dataclass(frozen=True)
class Leakage:
    """Leakage of a code, measured by a panel of probes.

    Attributes:
        probe: Name of the strongest probe, the one with the highest accuracy on held-out training
            codes.
        accuracy: Its accuracy on the test codes, in [0, 1].
        bits: Information about the class, in bits: H(y) minus the lowest cross-entropy of any
            probe on the test codes, at least 0. Its expectation is the V-information of Xu et al.
            (2020, arXiv 2002.10689).
        accuracies: Accuracy of every probe on the test codes, by name.
        correct: bool (M,), whether the strongest probe was right, for an interval.
    """

    probe: str
    accuracy: float
    bits: float
    accuracies: dict[str, float]
    correct: np.ndarray


def entropy_bits(labels: np.ndarray) -> float:
    """Entropy H(y) of labels (N,), in bits."""
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def leakage(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    seed: int,
    panel: Mapping[str, Fit] = PANEL,
    held_out: int = 5000,
) -> Leakage:
    """Fits each probe of a panel, selects one on held-out training codes and tests it.

    Args:
        train_codes: float32 (N, D).
        train_labels: int64 (N,).
        test_codes: float32 (M, D).
        test_labels: int64 (M,).
        seed: Seed of the split and the probes.
        panel: Probes by name.
        held_out: Training codes to select by; a fifth of them at most.

    Raises:
        ValueError: the codes differ in size.
    """
    if train_codes.shape[1:] != test_codes.shape[1:]:
        raise ValueError(
            f"codes differ in size: training {train_codes.shape}, test {test_codes.shape}"
        )
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    held_out = min(held_out, len(train_labels) // 5)
    selecting = np.zeros(len(train_labels), bool)
    selecting[stratified_subset(train_labels, held_out, numpy_rng(seed, "choose-probe"))] = True
    held_out_accuracy, predicted = {}, {}
    for name, fit in in_turns(panel.items()):
        predict = fit(train_codes[~selecting], train_labels[~selecting], classes, seed)
        held_out_accuracy[name] = accuracy(predict(train_codes[selecting]), train_labels[selecting])
        predicted[name] = predict(test_codes)
    best = max(held_out_accuracy, key=lambda name: held_out_accuracy[name])
    rows = np.arange(len(test_labels))
    entropies = [-np.log2(np.e) * p[rows, test_labels].mean() for p in predicted.values()]
    return Leakage(
        probe=best,
        accuracy=accuracy(predicted[best], test_labels),
        bits=max(0.0, entropy_bits(test_labels) - float(min(entropies))),
        accuracies={name: accuracy(p, test_labels) for name, p in predicted.items()},
        correct=predicted[best].argmax(axis=1) == test_labels,
    )


def unseen_leakage(
    codes: np.ndarray, labels: np.ndarray, seed: int, panel: Mapping[str, Fit] = PANEL
) -> float:
    """Leakage of codes of images that the encoder was not trained on, by cross-validation.

    Probes fitted on training codes may exploit what the encoder memorised (Barrett et al., 2019).
    Here each of five folds is predicted by probes fitted on the other four.

    Args:
        codes: float32 (N, D).
        labels: int64 (N,).
        seed: Seed of folds and probes.
        panel: Probes by name.

    Returns:
        Accuracy of the strongest probe of each fold, averaged over all codes; in [0, 1].
    """
    fold = numpy_rng(seed, "folds").permutation(len(labels)) % FOLDS
    correct = 0.0
    for index in range(FOLDS):
        held = fold == index
        measured = leakage(codes[~held], labels[~held], codes[held], labels[held], seed, panel)
        correct += measured.accuracy * held.sum()
    return float(correct / len(labels))
