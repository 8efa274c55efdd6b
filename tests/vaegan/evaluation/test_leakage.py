"""Leakage is calibrated on codes whose class information is known."""

import math
import re

import numpy as np
import pytest

from vaegan.evaluation import controls, probes
from vaegan.evaluation.calibration import class_prior
from vaegan.evaluation.leakage import (
    FOLDS,
    deal_folds,
    leakage,
    selection_effect,
    unseen_leakage,
)

QUICK = probes.QUICK
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
    assert found.bits == pytest.approx(math.log2(CLASSES), abs=0.05)
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
    variances = controls.class_variances(CLASSES, rng)
    planted = [controls.class_in_the_variance(part, variances, rng) for part in labels]
    assert read([mean for mean, _ in planted], labels).accuracy < NEAR_CHANCE
    assert read([np.hstack(both) for both in planted], labels).accuracy > 0.9


def test_the_reported_probe_is_the_strongest_of_the_panel(labels):
    """A class in a product of two dimensions: the panel must take a probe that sees it."""
    rng = np.random.default_rng(4)
    codes = [class_in_a_product(part, rng) for part in labels]
    found = read(codes, [part % 2 for part in labels])
    assert found.probe in ("quadratic", "perceptron")
    assert found.accuracy == max(found.accuracies.values()) == found.accuracies[found.probe] > 0.9
    assert found.accuracies["logistic"] < 0.7  # a line that cuts off corners


def test_an_overconfident_probe_reads_bits_as_soon_as_it_is_calibrated(labels):
    """Its probabilities are those of the best probe, three times as sharp."""

    def sharp(codes, labels, class_count, seed):
        return lambda given: 3 * given

    # p(y|z): 0.6 for one class, which it is 60 % of the time, 0.1 for the four others.
    rng = np.random.default_rng(0)
    codes = []
    for part in labels:
        said = np.where(
            rng.random(len(part)) < 0.6, part, (part + rng.integers(1, 5, len(part))) % 5
        )
        codes.append(np.log(np.where(np.arange(5) == said[:, None], 0.6, 0.1)).astype(np.float32))
    found = read(codes, labels, {"sharp": sharp})
    expected = np.log2(5) + 0.6 * np.log2(0.6) + 0.4 * np.log2(0.1)
    # Standard error of the mean of log2 p: sqrt(.6 * .4 / 1000) * log2(6) = 0.04; three of them.
    assert found.bits == pytest.approx(expected, abs=0.12)


def test_the_selection_effect_is_that_of_the_maximum_of_equal_probes():
    """Of P independent accuracies, the expected maximum exceeds the mean by a known amount."""
    rng = np.random.default_rng(0)
    effects = [selection_effect(rng.random((4, 10_000)) < 0.1, rng) for _ in range(40)]
    # 1.03 is the expected maximum of four standard normal numbers. Differences of the sample and of
    # the resamples add up, so the bootstrap sees a spread of sqrt(2) and attributes half of its
    # square to resampling: 1 / sqrt(2) of the effect.
    expected = 1.03 / np.sqrt(2) * np.sqrt(0.1 * 0.9 / 10_000)
    error = np.std(effects) / np.sqrt(len(effects))
    assert np.mean(effects) == pytest.approx(expected, abs=4 * error)
    assert 4 * error < expected / 2


def test_nothing_is_selected_where_one_probe_is_clearly_the_strongest():
    rng = np.random.default_rng(0)
    correct = rng.random((3, 10_000)) < np.array([[0.1], [0.1], [0.3]])
    # The mean of 1,000 resamples has a standard error of sqrt(.3 * .7 / 1e4 / 1000) = 0.00015.
    assert selection_effect(correct, rng) == pytest.approx(0, abs=6e-4)


def test_unseen_codes_are_predicted_by_probes_of_other_unseen_codes(labels):
    codes = np.concatenate([controls.label_code(part, CLASSES) for part in labels])
    both = np.concatenate(labels)
    panel = {"logistic": probes.PANEL["logistic"]}
    found = unseen_leakage(codes, both, CLASSES, 0, panel)
    assert found.accuracy > 0.995
    assert found.correct.shape == both.shape
    assert unseen_leakage(noise([both])[0], both, CLASSES, 0, panel).accuracy < NEAR_CHANCE


def test_bits_are_those_beyond_the_class_frequencies_of_the_training_codes():
    """A probe that predicts these has 0 bits, also of a thousand classes and few test codes."""
    rng = np.random.default_rng(0)
    labels, test_labels = rng.integers(1000, size=20_000), rng.integers(1000, size=2000)
    prior = np.log(class_prior(labels, 1000))

    def knows_a_tenth(codes, labels, class_count, seed):
        """Raises the right class tenfold for every second code."""

        def predict(given):
            said = np.tile(prior, (len(given), 1))
            said[np.arange(len(given)), given[:, 0].astype(int)] += np.log(10) * given[:, 1]
            return said

        return predict

    for shares in (0.0, 1.0):
        codes, test_codes = (
            np.stack([part, shares * (np.arange(len(part)) % 2)], axis=1).astype(np.float32)
            for part in (labels, test_labels)
        )
        panel = {"probe": knows_a_tenth}
        found = leakage(codes, labels, test_codes, test_labels, 1000, 0, panel)
        # Calibration raises what is always right as far as it may, SHARPEST = 10 times.
        assert found.bits == 0 if shares == 0 else found.bits > 3.3 / 2


def test_equal_seeds_give_equal_bits_and_others_do_not(labels):
    codes = noise(labels)
    first, again = (read(codes, labels) for _ in range(2))
    assert first.accuracies == again.accuracies
    assert first.bits == again.bits
    fits = [
        probes.QUICK["perceptron"](codes[0], labels[0], CLASSES, seed)(codes[1])
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_codes_of_different_sizes_are_rejected(labels):
    with pytest.raises(ValueError, match="differ in size"):
        read([np.zeros((4000, 2)), np.zeros((1000, 3))], labels)


def test_a_probe_that_cannot_be_fitted_is_left_out_with_its_reason():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % CLASSES
    codes = rng.standard_normal((60, 16)).astype(np.float32)
    found = leakage(codes, labels, codes, labels, CLASSES, 0, QUICK)
    assert set(found.accuracies) == {"logistic", "perceptron"}
    assert found.left_out == {"quadratic": "9 codes of class 0, expected 16 or more"}
    unseen = unseen_leakage(codes, labels, CLASSES, 0, QUICK)
    assert set(unseen.accuracies) == {"logistic", "perceptron"}
    assert set(unseen.left_out) == {"quadratic"}


def test_no_probe_at_all_is_an_error():
    codes, labels = np.eye(4, dtype=np.float32), np.arange(4)
    with pytest.raises(ValueError, match="no probe can be fitted"):
        leakage(codes, labels, codes, labels, 4, 0, {"quadratic": probes.PANEL["quadratic"]})


def test_a_class_that_is_in_no_training_code_counts_as_missed():
    labels = np.arange(200) % 2
    codes = controls.label_code(labels, 3)
    test_labels = np.array([0, 1, 2, 2])
    panel = {name: QUICK[name] for name in ("logistic", "quadratic")}
    found = leakage(codes, labels, controls.label_code(test_labels, 3), test_labels, 3, 0, panel)
    assert found.accuracy == 0.5


def test_folds_are_stratified_and_of_equal_sizes():
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [700, 290, 13]))
    fold = deal_folds(labels, np.random.default_rng(0))
    assert np.bincount(fold).tolist() == [251, 251, 251, 250]
    for label in range(3):
        counts = np.bincount(fold[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(fold, deal_folds(labels, np.random.default_rng(1)))


def test_few_codes_are_dealt_out_class_by_class():
    labels = np.repeat(np.arange(10), [10] * 9 + [3])
    for seed in range(5):
        fold = deal_folds(labels, np.random.default_rng(seed))
        assert np.bincount(fold).tolist() == [24, 23, 23, 23]
        for label in range(10):
            counts = np.bincount(fold[labels == label], minlength=FOLDS)
            assert counts.max() - counts.min() <= 1


def test_a_panel_is_logged_in_a_line_when_it_has_finished(labels, caplog):
    caplog.set_level("INFO", logger="vaegan")
    codes = [controls.label_code(part, CLASSES) for part in labels]
    leakage(codes[0], labels[0], codes[1], labels[1], CLASSES, 0, QUICK, name="leakage/mean")
    said = [re.sub(r"\d+\.\d s", "", record.message) for record in caplog.records]
    assert said == [f"leakage/mean: {', '.join(f'{probe} 1.0000' for probe in QUICK)} ()"]
