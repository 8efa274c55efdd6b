"""Leakage: how much of the class the strongest of several fresh probes reads from a code."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vaegan.data import stratified_subset
from vaegan.evaluation.probes import PANEL, Fit, accuracy
from vaegan.rng import numpy_rng

FOLDS = 5


@dataclass(frozen=True)
class Leakage:
    """What the panel read.

    Attributes:
        probe: Name of the strongest probe, by its accuracy on the part of the training codes that
            no probe was fitted on.
        accuracy: Its accuracy on the test codes, in [0, 1].
        bits: Information about the class, in bits: H(y) less the least cross-entropy of any
            probe on the test codes, but 0 where none is below H(y). (Xu et al., 2020,
            arXiv 2002.10689, call the expectation of it V-information.)
        accuracies: Accuracy of every probe on the test codes, by name.
        correct: bool (M,), whether the strongest probe was right, for an interval.
    """

    probe: str
    accuracy: float
    bits: float
    accuracies: dict[str, float]
    correct: np.ndarray


def entropy_bits(labels: np.ndarray) -> float:
    """H(y) of labels (N,), in bits."""
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
    """Fits each probe of a panel, chooses one on held-out training codes, tests it.

    Args:
        train_codes: float32 (N, D).
        train_labels: int64 (N,).
        test_codes: float32 (M, D).
        test_labels: int64 (M,).
        seed: Of the split and the probes.
        panel: Probes by name.
        held_out: Training codes to choose by; no more than a fifth of them.

    Raises:
        ValueError: the codes differ in size.
    """
    if train_codes.shape[1:] != test_codes.shape[1:]:
        raise ValueError(
            f"codes differ in size: training {train_codes.shape}, test {test_codes.shape}"
        )
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    held_out = min(held_out, len(train_labels) // 5)
    choosing = np.zeros(len(train_labels), bool)
    choosing[stratified_subset(train_labels, held_out, numpy_rng(seed, "choose-probe"))] = True
    chosen_by, tested = {}, {}
    for name, fit in panel.items():
        predict = fit(train_codes[~choosing], train_labels[~choosing], classes, seed)
        chosen_by[name] = accuracy(predict(train_codes[choosing]), train_labels[choosing])
        tested[name] = predict(test_codes)
    best = max(chosen_by, key=lambda name: chosen_by[name])
    rows = np.arange(len(test_labels))
    entropies = [-np.log2(np.e) * p[rows, test_labels].mean() for p in tested.values()]
    return Leakage(
        probe=best,
        accuracy=accuracy(tested[best], test_labels),
        bits=max(0.0, entropy_bits(test_labels) - float(min(entropies))),
        accuracies={name: accuracy(p, test_labels) for name, p in tested.items()},
        correct=tested[best].argmax(axis=1) == test_labels,
    )


def unseen_leakage(
    codes: np.ndarray, labels: np.ndarray, seed: int, panel: Mapping[str, Fit] = PANEL
) -> float:
    """The same among codes of images that the encoder was not trained on, by cross-validation.

    Probes that are fitted on training codes may ride on what the encoder learned by heart
    (Barrett et al., 2019). Each of five folds is tested by probes fitted on the others.

    Args:
        codes: float32 (N, D).
        labels: int64 (N,).
        seed: Of folds and probes.
        panel: Probes by name.

    Returns:
        Accuracy of the strongest probe of each fold, averaged over all codes; in [0, 1].
    """
    fold = numpy_rng(seed, "folds").permutation(len(labels)) % FOLDS
    correct = 0.0
    for index in range(FOLDS):
        mine = fold == index
        found = leakage(codes[~mine], labels[~mine], codes[mine], labels[mine], seed, panel)
        correct += found.accuracy * mine.sum()
    return float(correct / len(labels))
