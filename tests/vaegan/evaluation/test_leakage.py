"""Leakage is calibrated on codes whose class information is known."""

import math

import numpy as np
import pytest

from vaegan.evaluation import controls, probes
from vaegan.evaluation.leakage import FOLDS, deal_folds, entropy_bits, leakage, unseen_leakage

QUICK = {name: probes.PANEL[name] for name in ("logistic", "quadratic", "perceptron-0")}
CLASSES = 5
# Standard error at chance: sqrt(.2 * .8 / 1000) = 0.013; four of them.
NEAR_CHANCE = 0.2 + 4 * 0.013


def class_in_a_product(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Codes in which the sign of a product of two dimensions tells odd labels from even."""
    code = rng.standard_normal((len(labels), 16)).astype(np.float32)
    sign = np.where(labels % 2 == 0, 1.0, -1.0)
    code[:, 1] = np.abs(code[:, 1]) * sign * np.sign(code[:, 0])
    return code


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(CLASSES, size=4000), rng.integers(CLASSES, size=1000)


def read(codes, labels, panel=QUICK):
    return leakage(codes[0], labels[0], codes[1], labels[1], CLASSES, 0, panel)


def noise(labels, dim=4, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((len(part), dim)).astype(np.float32) for part in labels]


def test_a_code_that_is_the_label_contains_all_bits_of_the_class(labels):
    found = read([controls.label_code(part, CLASSES) for part in labels], labels)
    assert found.accuracy > 0.995
    assert found.bits == pytest.approx(entropy_bits(labels[1]), abs=0.05)
    assert found.correct.mean() == found.accuracy


def test_noise_contains_no_class_information(labels):
    found = read(noise(labels), labels)
    assert found.accuracy < NEAR_CHANCE
    assert found.bits < 0.02


def test_permuted_labels_are_read_at_chance_from_any_code(labels):
    rng = np.random.default_rng(5)
    codes = [controls.label_code(part, CLASSES) for part in labels]
    assert read(codes, [controls.permuted(part, rng) for part in labels]).accuracy < NEAR_CHANCE


def test_a_constant_code_gives_the_majority_rate(labels):
    skewed = [np.where(part < 3, 0, part) for part in labels]
    found = read([controls.constant_code(part) for part in labels], skewed)
    assert found.accuracy == pytest.approx(probes.majority_rate(skewed[1]))


def test_a_class_in_the_variance_is_read_from_the_posterior_only(labels):
    rng = np.random.default_rng(3)
    planted = [controls.class_in_the_variance(part, rng) for part in labels]
    assert read([mean for mean, _ in planted], labels).accuracy < NEAR_CHANCE
    assert read([np.hstack(both) for both in planted], labels).accuracy > 0.9


def test_the_reported_probe_is_the_strongest_on_held_out_training_codes(labels):
    """A class in a product of two dimensions: the panel must take a probe that sees it."""
    rng = np.random.default_rng(4)
    codes = [class_in_a_product(part, rng) for part in labels]
    parity = [part % 2 for part in labels]
    found = read(codes, parity)
    assert found.probe in ("quadratic", "perceptron-0")
    assert found.accuracy == found.accuracies[found.probe] > 0.9
    assert found.accuracies["logistic"] < 0.7  # a line that cuts off corners
    # Not the one that does best on the test codes: that would be a choice by test codes.
    chosen = read(codes, parity, QUICK | {"lucky": _lucky(parity)})
    assert chosen.probe == found.probe
    assert chosen.accuracies["lucky"] == 1.0


def _lucky(parity):
    """A probe that is right on the test codes and wrong on all others."""

    def fit(*_):
        def predict(codes):
            if len(codes) == len(parity[1]):
                return np.log(np.eye(2)[parity[1]] + 1e-9)
            return np.log(np.tile([1e-9, 1e-9], (len(codes), 1)))

        return predict

    return fit


def test_unseen_codes_are_predicted_by_probes_of_other_unseen_codes(labels):
    codes = np.concatenate([controls.label_code(part, CLASSES) for part in labels])
    both = np.concatenate(labels)
    panel = {"logistic": probes.PANEL["logistic"]}
    assert unseen_leakage(codes, both, CLASSES, 0, panel)[0] > 0.995
    assert unseen_leakage(noise([both])[0], both, CLASSES, 0, panel)[0] < NEAR_CHANCE


def test_entropy_equals_a_hand_computed_value():
    assert entropy_bits(np.array([0, 1, 2, 3])) == 2
    assert entropy_bits(np.array([1, 1])) == 0
    assert entropy_bits(np.array([0, 0, 0, 1])) == pytest.approx(
        -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    )


def test_codes_of_different_sizes_are_rejected(labels):
    with pytest.raises(ValueError, match="differ in size"):
        read([np.zeros((4000, 2)), np.zeros((1000, 3))], labels)


def test_a_probe_that_cannot_be_fitted_is_left_out_with_its_reason():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % CLASSES
    codes = rng.standard_normal((60, 16)).astype(np.float32)
    found = leakage(codes, labels, codes, labels, CLASSES, 0, QUICK)
    assert set(found.accuracies) == {"logistic", "perceptron-0"}
    assert found.left_out == {"quadratic": "9 codes of class 0, expected 16 or more"}
    accuracy, left_out = unseen_leakage(codes, labels, CLASSES, 0, QUICK)
    assert 0 <= accuracy <= 1
    assert set(left_out) == {"quadratic"}


def test_no_probe_at_all_is_an_error():
    codes, labels = np.eye(4, dtype=np.float32), np.arange(4)
    with pytest.raises(ValueError, match="no probe can be fitted"):
        leakage(codes, labels, codes, labels, 4, 0, {"quadratic": probes.PANEL["quadratic"]})


def test_a_class_that_is_in_no_training_code_counts_as_missed():
    labels = np.arange(200) % 2
    codes = controls.label_code(labels, 3)
    test_labels = np.array([0, 1, 2, 2])
    found = leakage(codes, labels, controls.label_code(test_labels, 3), test_labels, 3, 0, QUICK)
    assert found.accuracy == 0.5


def test_folds_are_random_as_long_as_each_has_every_class():
    labels = np.arange(1000) % CLASSES
    expected = np.random.default_rng(0).permutation(1000) % FOLDS
    assert np.array_equal(deal_folds(labels, np.random.default_rng(0)), expected)


def test_few_codes_are_dealt_out_class_by_class():
    labels = np.repeat(np.arange(10), [10] * 9 + [3])
    for seed in range(5):
        fold = deal_folds(labels, np.random.default_rng(seed))
        assert np.bincount(fold).tolist() == [19, 19, 19, 18, 18]
        for label in range(10):
            counts = np.bincount(fold[labels == label], minlength=FOLDS)
            assert counts.max() - counts.min() <= 1
