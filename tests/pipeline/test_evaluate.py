"""The stage's numbers on codes and decoders whose score is known."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluate import probe_metrics, verdict
from pipeline.params import load_params

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml").evaluate


def codes(count: int, seed: int, z_mean: float, z_std: float) -> dict[str, np.ndarray]:
    """Codes: ``s`` is the class, ``z`` holds it times ``z_mean`` below noise ``z_std``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=count)
    one_hot = np.eye(4, dtype=np.float32)[labels]
    own = rng.standard_normal((count, 4)).astype(np.float32)
    return {
        "specified_mean": one_hot,
        "specified_std": np.zeros_like(one_hot),
        "unspecified_mean": z_mean * one_hot + 0.01 * own,
        "unspecified_std": np.full_like(one_hot, z_std),
        "labels": labels,
    }


def test_a_class_below_the_noise_is_at_chance_in_samples_and_plain_in_means():
    metrics = probe_metrics(codes(3000, 0, 0.1, 5.0), codes(1000, 1, 0.1, 5.0), PARAMS)
    assert metrics["specified/probe_accuracy"] == 1.0
    assert metrics["leakage/mean"] > 0.99
    # Standard error at chance: sqrt(.25 * .75 / 1000) = 0.014.
    assert metrics["leakage/sampled"] < 0.25 + 4 * 0.014
    assert metrics["leakage/chance"] == pytest.approx(0.25, abs=4 * 0.014)


def test_probes_are_fitted_on_no_more_codes_than_the_parameters_say(monkeypatch):
    fitted = []

    def probe(train_codes, train_labels, test_codes, test_labels, *seed) -> float:
        assert len(train_codes) == len(train_labels)
        fitted.append((len(train_codes), np.bincount(train_labels).tolist(), len(test_codes)))
        return 0.5

    monkeypatch.setattr("pipeline.evaluate.linear_probe_accuracy", probe)
    monkeypatch.setattr("pipeline.evaluate.mlp_probe_accuracy", probe)
    train = codes(3000, 0, 0.1, 5.0) | {"labels": np.arange(3000) % 4}
    caps = {"linear_probe_images": 400, "probe_images": 200}
    probe_metrics(train, codes(1000, 1, 0.1, 5.0), PARAMS.model_copy(update=caps))
    assert fitted == [(400, [100] * 4, 1000), (200, [50] * 4, 1000), (200, [50] * 4, 1000)]


def test_a_style_without_class_is_at_chance_in_both():
    metrics = probe_metrics(codes(3000, 0, 0.0, 0.1), codes(1000, 1, 0.0, 0.1), PARAMS)
    assert metrics["leakage/mean"] < 0.25 + 4 * 0.014
    assert metrics["leakage/sampled"] < 0.25 + 4 * 0.014


def test_a_degenerate_model_is_called_so_in_words():
    metrics = {"swap/identity_accuracy": 0.1, "swap/style_source_rate": 0.9}
    word, sentence = verdict(metrics, 0.5)
    assert word == "degenerate"
    assert sentence.startswith("10.0% of swapped images")
    assert "90.0%" in sentence
    assert "train.weights.confusion" in sentence


def test_a_model_that_draws_neither_class_is_degenerate_for_another_reason():
    word, sentence = verdict({"swap/identity_accuracy": 0.2, "swap/style_source_rate": 0.1}, 0.5)
    assert word == "degenerate"
    assert "train.steps" in sentence
    assert "confusion" not in sentence


def test_a_model_that_transfers_is_sound():
    word, sentence = verdict({"swap/identity_accuracy": 0.95, "swap/style_source_rate": 0.01}, 0.5)
    assert word == "sound"
    assert sentence.startswith("95.0%")
