"""Calibrated probabilities are those of the truth, where it is known."""

import numpy as np
import pytest

from vaegan.evaluation.calibration import calibrator, class_prior


def test_a_calibrated_probe_that_knows_nothing_predicts_the_prior():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=5000, p=[0.7, 0.2, 0.1])
    prior = class_prior(labels, 3)
    guesses = np.log(rng.dirichlet(np.ones(3), size=5000))
    calibrated = calibrator(guesses, labels, prior)(guesses)
    assert np.exp(calibrated).sum(axis=1) == pytest.approx(np.ones(5000))
    assert np.abs(np.exp(calibrated) - prior).max() < 0.1
    assert (calibrated.argmax(axis=1) == 0).mean() > 0.99


def test_calibration_undoes_a_temperature():
    """Of codes whose posterior is known, p ~ prior * (p / prior)^t with t = 3."""
    rng = np.random.default_rng(0)
    prior = np.array([0.6, 0.3, 0.1])
    labels = rng.choice(3, size=20_000, p=prior)
    codes = labels + rng.standard_normal(20_000)
    log_ratio = -((codes[:, None] - np.arange(3)) ** 2) / 2
    truth = np.log(prior) + log_ratio
    truth -= np.logaddexp.reduce(truth, axis=1, keepdims=True)
    sharp = np.log(prior) + 3 * log_ratio
    sharp -= np.logaddexp.reduce(sharp, axis=1, keepdims=True)
    calibrated = calibrator(sharp, labels, prior)(sharp)
    rows = np.arange(20_000)
    assert calibrated[rows, labels].mean() == pytest.approx(truth[rows, labels].mean(), abs=2e-3)
    assert sharp[rows, labels].mean() < truth[rows, labels].mean() - 0.1


def test_a_class_that_does_not_occur_has_a_small_prior():
    assert class_prior(np.array([0, 0, 2]), 3) == pytest.approx(np.array([2.5, 0.5, 1.5]) / 4.5)
