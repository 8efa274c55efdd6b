"""The stage's numbers on codes and decoders whose score is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import evaluate
from pipeline.evaluate import (
    control_metrics,
    failed_controls,
    image_metrics,
    probe_metrics,
    rate_metrics,
    verdict,
)
from pipeline.params import load_params
from vaegan.evaluation import probes
from vaegan.evaluation.judge import train_judge

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml").evaluate
QUICK = {name: probes.PANEL[name] for name in ("logistic", "quadratic", "perceptron-0")}
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
    """The stage with three of its probes."""

    def leakage(*arguments):
        return evaluate_leakage(*arguments[:5], QUICK)

    evaluate_leakage = evaluate.leakage
    monkeypatch.setattr(evaluate, "leakage", leakage)
    monkeypatch.setattr(
        evaluate, "unseen_leakage", lambda codes, labels, seed: 0.0 * len(codes) + 0.3
    )


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


def test_a_class_below_the_noise_is_at_chance_in_samples_and_plain_in_means():
    metrics, right = probe_metrics(codes(3000, 0, 0.1, 5.0), codes(1000, 1, 0.1, 5.0), PARAMS)
    assert metrics["specified/probe_accuracy"] == 1.0
    assert metrics["specified/retrieval_map"] == pytest.approx(1.0)
    assert metrics["leakage/mean"] > 0.99
    assert metrics["leakage/mean_bits"] > 1.8  # of 2
    assert metrics["leakage/sampled"] < NEAR_CHANCE
    assert metrics["leakage/chance"] == pytest.approx(0.25, abs=4 * 0.014)
    assert right["leakage/sampled"].mean() == metrics["leakage/sampled"]
    # One variance for all tells nothing: what is read beside the mean is the mean.
    assert metrics["leakage/posterior"] == metrics["leakage/mean"]


def test_a_class_in_the_variance_is_found_in_the_posterior():
    train, test = (codes(3000, 0, 0.0, 0.5, own=0.2), codes(1000, 1, 0.0, 0.5, own=0.2))
    metrics, _ = probe_metrics(train, test, PARAMS)
    assert metrics["leakage/mean"] < NEAR_CHANCE
    assert metrics["leakage/posterior"] > 0.99


def test_probes_are_fitted_on_no_more_codes_than_the_parameters_say(monkeypatch):
    fitted = []

    def read(train_codes, train_labels, test_codes, *_):
        fitted.append((len(train_codes), np.bincount(train_labels).tolist(), len(test_codes)))
        return probes_found

    probes_found = evaluate.leakage(*[np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 9],
                                      np.array([0, 1, 2, 3] * 9)] * 2, 0)  # fmt: skip
    monkeypatch.setattr(evaluate, "leakage", read)
    train = codes(3000, 0, 0.1, 5.0) | {"labels": np.arange(3000) % 4}
    params = PARAMS.model_copy(update={"probe_images": 200})
    probe_metrics(train, codes(1000, 1, 0.1, 5.0), params)
    assert fitted == [(200, [50] * 4, 1000)] * 2


def test_controls_come_out_as_they_must_whatever_the_model_leaks():
    train, test = codes(3000, 0, 1.0, 0.1), codes(1000, 1, 1.0, 0.1)
    metrics = control_metrics(train, test, PARAMS)
    assert set(metrics) == {name for name in GOOD if name.startswith("control/")}
    assert not failed_controls(GOOD | metrics)


@pytest.mark.parametrize(
    ("name", "value"),
    [("control/permuted", 0.4), ("control/label", 0.8), ("control/variance_from_posterior", 0.3)],
)
def test_probes_that_fail_a_control_are_not_trusted(name, value):
    assert not failed_controls(GOOD)
    word, sentence = verdict(GOOD | {name: value}, 0.5)
    assert word == "untrusted"
    assert name in sentence


def test_a_degenerate_model_is_called_so_in_words():
    metrics = GOOD | {"swap/identity_accuracy": 0.1, "swap/style_source_rate": 0.9}
    word, sentence = verdict(metrics, 0.5)
    assert word == "degenerate"
    assert sentence.startswith("10.0% of swapped images")
    assert "90.0%" in sentence
    assert "train.weights.confusion" in sentence


def test_a_model_that_draws_neither_class_is_degenerate_for_another_reason():
    metrics = GOOD | {"swap/identity_accuracy": 0.2, "swap/style_source_rate": 0.1}
    word, sentence = verdict(metrics, 0.5)
    assert word == "degenerate"
    assert "train.steps" in sentence
    assert "confusion" not in sentence


def test_a_model_that_transfers_is_sound():
    word, sentence = verdict(GOOD, 0.5)
    assert word == "sound"
    assert sentence.startswith("95.0%")


class Oracle(torch.nn.Module):
    """Draws the image at the position that a code names: s of identity, or z of style."""

    def __init__(self, images: np.ndarray, by: str) -> None:
        super().__init__()
        self.images = torch.from_numpy(images).float() / 255
        self.by = by
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def decode(self, specified: torch.Tensor, unspecified: torch.Tensor) -> torch.Tensor:
        code = specified if self.by == "identity" else unspecified
        return self.images[code[:, 0].round().long() % len(self.images)]


@pytest.fixture
def judged(bars):
    labels = bars.labels
    places = np.arange(len(labels), dtype=np.float32)[:, None]
    arrays = {
        "specified_mean": places,
        "unspecified_mean": places,
        "specified_std": np.zeros_like(places),
        "unspecified_std": np.zeros_like(places),
        "labels": labels,
    }
    judge = train_judge(bars, steps=100, seed=0)
    params = PARAMS.model_copy(update={"swaps": 1000})

    def measure(by: str):
        return image_metrics(Oracle(bars.images, by), judge, bars.images, arrays, params)

    return measure


def test_a_decoder_that_draws_the_identity_is_right_and_keeps_no_style(judged):
    metrics, right, matrices = judged("identity")
    assert metrics["swap/identity_accuracy"] > 0.95
    assert metrics["swap/style_source_rate"] < 0.05
    assert abs(metrics["swap/style_kept_width"]) < 0.2
    assert metrics["swap/style_from_identity"] > 0.95
    assert metrics["reconstruction/mse"] == 0
    assert metrics["reconstruction/ssim"] == pytest.approx(1)
    assert metrics["diversity/mean"] == pytest.approx(1, abs=0.2)
    assert right["swap/identity_accuracy"].mean() == metrics["swap/identity_accuracy"]
    for kind in ("mean", "sampled", "prior"):
        assert matrices[kind].sum() == 1000
    shown = np.trace(matrices["mean"]) / 1000
    assert shown == pytest.approx(metrics["swap/identity_accuracy"])


def test_a_decoder_that_draws_the_style_source_shows_its_class(judged):
    metrics, _, _ = judged("style")
    assert metrics["swap/identity_accuracy"] < 0.05
    assert metrics["swap/style_source_rate"] > 0.95
    assert metrics["swap/style_from_identity"] < 0.2


def test_real_images_are_as_near_as_real_images_get(judged):
    metrics, _, _ = judged("identity")
    assert metrics["distance/frechet_reconstruction"] < 3 * metrics["distance/frechet_real"]


def test_a_code_without_density_has_no_divergence_to_report():
    arrays = codes(500, 0, 1.0, 0.0)
    assert rate_metrics(arrays) == {"latent/active_units": 4}
    assert rate_metrics(codes(500, 0, 1.0, 0.5))["latent/kl"] > 0
