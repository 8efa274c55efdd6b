"""Numbers seen in images by decoders whose score is known."""

import numpy as np
import pytest
import torch

from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.images import image_metrics


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
    classifier = train_classifier(bars, steps=100, seed=0)

    def measure(by: str):
        return image_metrics(Oracle(bars.images, by), classifier, bars.images, arrays, 1000, 0)

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
    assert 0 < metrics["diversity/mean_lowest_class"] <= metrics["diversity/mean"]
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
