"""Metrics of codes whose score is known."""

import numpy as np
import pytest

from vaegan.evaluation import codes as of_codes
from vaegan.evaluation import probes
from vaegan.evaluation.codes import (
    control_metrics,
    excess,
    failed_controls,
    probe_metrics,
    rate_metrics,
)

QUICK = probes.QUICK
ROUNDS = probes.ROUNDS
# Standard error at chance: sqrt(.25 * .75 / 1000) = 0.014; four of them.
NEAR_CHANCE = 0.25 + 4 * 0.014
GOOD = {
    "leakage/chance": 0.25,
    "leakage/standard_error": 0.014,
    "control/permuted": 0.25,
    "control/label": 1.0,
    "control/constant": 0.25,
    "control/variance_from_mean": 0.26,
    "control/variance_from_posterior": 0.95,
    "swap/identity_accuracy": 0.95,
    "swap/style_source_rate": 0.01,
}


@pytest.fixture(autouse=True)
def _quick_panel(monkeypatch):
    """Smaller probes."""

    monkeypatch.setitem(probes.PANEL, "neighbours", probes.PANEL["logistic"])
    for name in ("trees", "perceptron"):
        monkeypatch.setitem(probes.PANEL, name, QUICK["perceptron"])
    monkeypatch.setattr(probes, "WIDTH", 64)
    monkeypatch.setattr(probes, "ROUNDS", 4)


def codes(count: int, seed: int, z_mean: float, z_std: float, own: float = 0.0):
    """Codes: ``s`` is the class, ``z`` holds it times ``z_mean`` below noise ``z_std``.

    The deviation of each image's own tells the class as well, times ``own``.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=count)
    one_hot = np.eye(4, dtype=np.float32)[labels]
    noise = rng.standard_normal((count, 4)).astype(np.float32)
    return {
        "specified_mean": one_hot,
        "specified_std": np.zeros_like(one_hot),
        "unspecified_mean": z_mean * one_hot + 0.01 * noise,
        "unspecified_std": z_std * (1 + own * one_hot),
        "labels": labels,
    }


def test_a_class_below_the_noise_is_hidden_in_samples_but_read_from_means():
    train, test = codes(3000, 0, 0.1, 5.0), codes(1000, 1, 0.1, 5.0)
    metrics, right, left_out = probe_metrics(train, test, 4, 0, 60000)
    assert left_out == []
    assert metrics["specified/probe_accuracy"] == 1.0
    assert metrics["specified/retrieval_map"] == pytest.approx(1.0)
    assert metrics["leakage/mean"] > 0.99
    assert metrics["leakage/mean_bits"] > 1.8  # of 2
    assert metrics["leakage/excess"] > 0.98
    assert metrics["leakage/sampled"] < NEAR_CHANCE
    assert metrics["leakage/chance"] == pytest.approx(0.25, abs=4 * 0.014)
    assert right["leakage/sampled"].mean() == metrics["leakage/sampled"]
    # One variance for all tells nothing: what is read beside the mean is the mean.
    assert metrics["leakage/posterior"] == metrics["leakage/mean"]


@pytest.mark.parametrize(
    ("accuracy", "chance", "share"),
    [(0.5, 0.5, 0.0), (0.75, 0.5, 0.5), (0.1, 0.5, 0.0), (1.0, 0.9, 1.0), (0.35, 0.1, 0.25 / 0.9),
     (1.0, 1.0, 0.0)],
)  # fmt: skip
def test_the_excess_is_the_share_of_what_chance_leaves(accuracy, chance, share):
    assert excess(accuracy, chance) == pytest.approx(share)


def test_a_class_in_the_variance_is_found_in_the_posterior():
    train, test = (codes(3000, 0, 0.0, 0.5, own=0.2), codes(1000, 1, 0.0, 0.5, own=0.2))
    metrics, _, _ = probe_metrics(train, test, 4, 0, 60000)
    assert metrics["leakage/mean"] < NEAR_CHANCE
    assert metrics["leakage/posterior"] > 0.99


def test_probes_are_fitted_on_no_more_codes_than_configured(monkeypatch):
    fitted = []

    def read(train_codes, train_labels, test_codes, *_, **__):
        fitted.append((len(train_codes), np.bincount(train_labels).tolist(), len(test_codes)))
        return probes_found

    probes_found = of_codes.leakage(*[np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 9],
                                      np.array([0, 1, 2, 3] * 9)] * 2, 4, 0)  # fmt: skip
    monkeypatch.setattr(of_codes, "leakage", read)
    train = codes(3000, 0, 0.1, 5.0) | {"labels": np.arange(3000) % 4}
    probe_metrics(train, codes(1000, 1, 0.1, 5.0), 4, 0, 200)
    assert fitted == [(200, [50] * 4, 1000)] * 2


def test_controls_give_their_expected_values_for_any_leakage():
    train, test = codes(3000, 0, 1.0, 0.1), codes(1000, 1, 1.0, 0.1)
    metrics, left_out = control_metrics(train, test, 4, 0)
    assert left_out == []
    assert set(metrics) == {name for name in GOOD if name.startswith("control/")}
    assert not failed_controls(GOOD | metrics)


@pytest.mark.parametrize("class_count", [2, 100, 1000])
def test_controls_are_trusted_for_any_number_of_classes(class_count, monkeypatch):
    """Also if they are of very different sizes and, of more than two, one does not occur."""
    if class_count == 1000:  # many take longer to learn
        monkeypatch.setattr(probes, "ROUNDS", ROUNDS)
    rng = np.random.default_rng(0)
    shares = rng.pareto(3, size=class_count - 1) + 0.5
    parts = []
    for count in (10_000, 3000):
        labels = rng.choice(class_count - 1, size=count, p=shares / shares.sum())
        labels[: class_count - 1] = np.arange(class_count - 1)
        if class_count == 2:
            labels = rng.integers(2, size=count)
        z = rng.standard_normal((count, 4)).astype(np.float32)
        parts.append({"unspecified_mean": z, "labels": labels})
    metrics, _ = control_metrics(*parts, class_count, 0)
    chance = probes.majority_rate(parts[1]["labels"])
    about_chance = {
        "leakage/chance": chance,
        "leakage/standard_error": np.sqrt(chance * (1 - chance) / 3000),
    }
    assert failed_controls(metrics | about_chance) == []


def test_a_control_has_to_read_most_of_what_chance_leaves():
    """Where 95 % are of one class, 94 % right is less than a probe without input reaches."""
    skewed = GOOD | {"leakage/chance": 0.95, "leakage/standard_error": 0.002}
    failed = failed_controls(skewed | {"control/variance_from_posterior": 0.97})
    assert "control/variance_from_posterior 0.970 < 0.995" in failed


def test_a_code_without_density_has_no_divergence_to_report():
    arrays = codes(500, 0, 1.0, 0.0)
    assert rate_metrics(arrays) == {"latent/active_units": 4}
    assert rate_metrics(codes(500, 0, 1.0, 0.5))["latent/kl"] > 0
