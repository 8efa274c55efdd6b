"""Leakage: how well the strongest of several fresh probes predicts the class from a code."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vaegan.data import stratified_subset
from vaegan.evaluation.calibration import calibrator, class_prior
from vaegan.evaluation.intervals import RESAMPLES
from vaegan.evaluation.probes import PANEL, Fit, TooFewCodesError
from vaegan.progress import followed
from vaegan.rng import numpy_rng
from vaegan.turns import in_turns

FOLDS = 4
PROBE_WEIGHTS = {"perceptron": 20.0, "trees": 3.0}  # of their time, for the progress
HELD_OUT = 5000  # training codes to calibrate on, at most; and a fifth of them at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leakage:
    """Leakage of a code, measured by a panel of calibrated probes.

    Attributes:
        probe: Name of the strongest probe, the one with the highest accuracy on the test codes.
        accuracy: Its accuracy, in [0, 1].
        selection: How much of the accuracy is an effect of selecting on the test codes, see
            :func:`selection_effect`.
        bits: Information about the class, in bits, that the probes make usable: cross-entropy of
            the training labels' class frequencies on the test codes, minus the lowest of any probe
            (the V-information of Xu et al., 2020, arXiv 2002.10689, for the probes as fitted).
            Negative values count as 0.
        accuracies: Accuracy of every probe that was fitted, by name.
        correct: bool (M,), whether the strongest probe was right, for an interval.
        left_out: Why a probe could not be fitted, by name; usually empty.
    """

    probe: str
    accuracy: float
    selection: float
    bits: float
    accuracies: dict[str, float]
    correct: np.ndarray
    left_out: dict[str, str]


@dataclass(frozen=True)
class _Predicted:
    """Predictions of the test codes by one probe.

    Attributes:
        correct: bool (M,).
        log_likelihood: Log-probability of each label, float64 (M,).
    """

    correct: np.ndarray
    log_likelihood: np.ndarray


def selection_effect(correct: np.ndarray, rng: np.random.Generator) -> float:
    """Estimates by how much the highest of several accuracies exceeds that probe's true one.

    The optimism of Efron (1983), by bootstrap: in each of 1,000 resamples of the codes the probe
    that is best there is selected; its accuracy there, minus its accuracy on all codes, averaged.
    Of probes that are equal in truth it finds 0.7 of the effect, because their accuracies on the
    codes differ already.

    Args:
        correct: bool (P, M), whether each probe is right about each code.
        rng: Source of the resamples.

    Returns:
        About 0 if one probe is clearly the strongest, positive if several are about equal.
    """
    patterns, counts = np.unique(correct, axis=1, return_counts=True)
    drawn = rng.multinomial(len(correct[0]), counts / counts.sum(), size=RESAMPLES)
    accuracies = drawn @ patterns.T / counts.sum()
    best = accuracies.argmax(axis=1)
    return float((accuracies.max(axis=1) - correct.mean(axis=1)[best]).mean())


def leakage(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    class_count: int,
    seed: int,
    panel: Mapping[str, Fit] = PANEL,
    name: str = "leakage",
) -> Leakage:
    """Fits each probe of a panel, calibrates it on held-out training codes and tests it.

    A probe that cannot be fitted to so few codes is left out. Progress is logged.

    Args:
        train_codes: float32 (N, D).
        train_labels: int64 (N,) in [0, K).
        test_codes: float32 (M, D).
        test_labels: int64 (M,) in [0, K).
        class_count: K, also if some class does not occur.
        seed: Seed of the split and the probes.
        panel: Probes by name.
        name: What is measured, for the log.

    Raises:
        ValueError: the codes differ in size.
        TooFewCodesError: no probe of the panel can be fitted.
    """
    train, test = (train_codes, train_labels), (test_codes, test_labels)
    predicted, left_out = _predict(train, test, class_count, seed, panel, name)
    prior = np.log(class_prior(train_labels, class_count))[test_labels]
    return _summarise(predicted, left_out, prior, seed)


def unseen_leakage(
    codes: np.ndarray,
    labels: np.ndarray,
    class_count: int,
    seed: int,
    panel: Mapping[str, Fit] = PANEL,
) -> Leakage:
    """Leakage of codes of images that the encoder was not trained on, by cross-validation.

    Probes fitted on training codes may exploit what the encoder memorised (Barrett et al., 2019).
    Here each of four folds is predicted by probes fitted on the other three.

    Args:
        codes: float32 (N, D).
        labels: int64 (N,) in [0, K).
        class_count: K, also if some class does not occur.
        seed: Seed of folds and probes.
        panel: Probes by name; one that cannot be fitted in some fold is left out of all.

    Raises:
        TooFewCodesError: no probe can be fitted in all folds.
    """
    fold = deal_folds(labels, numpy_rng(seed, "folds"))
    correct = {probe: np.zeros(len(labels), bool) for probe in panel}
    log_likelihood = {probe: np.zeros(len(labels)) for probe in panel}
    prior = np.zeros(len(labels))
    left_out: dict[str, str] = {}
    count = min(FOLDS, len(labels))
    for index in followed(range(count), "folds", count):
        held = fold == index
        train, test = (codes[~held], labels[~held]), (codes[held], labels[held])
        name = f"leakage/unseen, fold {index + 1} of {count}"
        found, missing = _predict(train, test, class_count, seed, panel, name)
        left_out |= missing
        prior[held] = np.log(class_prior(labels[~held], class_count))[labels[held]]
        for probe, part in found.items():
            correct[probe][held] = part.correct
            log_likelihood[probe][held] = part.log_likelihood
    predicted = {
        probe: _Predicted(correct[probe], log_likelihood[probe])
        for probe in panel
        if probe not in left_out
    }
    return _summarise(predicted, left_out, prior, seed)


def deal_folds(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Assigns each code to one of four stratified folds, int64 (N,) in [0, 4), of equal sizes.

    Shuffled codes are dealt out class by class, so the folds' counts of a class differ by one at
    most, also if it has fewer codes than there are folds.

    Args:
        labels: int64 (N,).
        rng: Source of randomness.
    """
    order = rng.permutation(len(labels))
    fold = np.empty(len(labels), np.int64)
    fold[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels)) % FOLDS
    return fold


def _predict(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_count: int,
    seed: int,
    panel: Mapping[str, Fit],
    name: str,
) -> tuple[dict[str, _Predicted], dict[str, str]]:
    """Fits and calibrates a panel on one set of codes and labels, and applies it to another.

    Returns:
        Calibrated predictions by probe, and why a probe could not be fitted, by probe.
    """
    (codes, labels), (test_codes, test_labels) = train, test
    if codes.shape[1:] != test_codes.shape[1:]:
        raise ValueError(f"codes differ in size: training {codes.shape}, test {test_codes.shape}")
    count = min(HELD_OUT, max(1, len(labels) // 5))
    held = np.zeros(len(labels), bool)
    held[stratified_subset(labels, count, numpy_rng(seed, "calibrate-probes"))] = True
    prior = class_prior(labels[~held], class_count)
    predicted: dict[str, _Predicted] = {}
    left_out: dict[str, str] = {}
    rows, begun = np.arange(len(test_labels)), time.perf_counter()
    weights = [PROBE_WEIGHTS.get(probe, 1.0) for probe in panel]
    for probe, fit in followed(in_turns(panel.items()), name, len(panel), weights):
        try:
            predict = fit(codes[~held], labels[~held], class_count, seed)
        except TooFewCodesError as error:
            left_out[probe] = str(error)
            continue
        calibrate = calibrator(predict(codes[held]), labels[held], prior)
        calibrated = calibrate(predict(test_codes))
        right = calibrated.argmax(axis=1) == test_labels
        predicted[probe] = _Predicted(right, calibrated[rows, test_labels])
    read = ", ".join(f"{probe} {found.correct.mean():.4f}" for probe, found in predicted.items())
    log.info("%s: %s (%.1f s)", name, read or "no probe", time.perf_counter() - begun)
    return predicted, left_out


def _summarise(
    predicted: dict[str, _Predicted], left_out: dict[str, str], log_prior: np.ndarray, seed: int
) -> Leakage:
    """Compares the probes, also with log-probabilities (M,) of the labels without any code."""
    if not predicted:
        raise TooFewCodesError(f"no probe can be fitted: {left_out}")
    correct = np.stack([found.correct for found in predicted.values()])
    accuracies = dict(zip(predicted, correct.mean(axis=1).tolist(), strict=True))
    probe = max(accuracies, key=lambda name: accuracies[name])
    gains = [(found.log_likelihood - log_prior).mean() for found in predicted.values()]
    return Leakage(
        probe=probe,
        accuracy=accuracies[probe],
        selection=selection_effect(correct, numpy_rng(seed, "selection-effect")),
        bits=max(0.0, float(max(gains) / np.log(2))),
        accuracies=accuracies,
        correct=predicted[probe].correct,
        left_out=left_out,
    )
