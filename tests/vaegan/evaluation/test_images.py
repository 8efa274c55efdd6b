"""Metrics of images by decoders whose score is known."""

import numpy as np
import pytest
import torch

from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.images import image_metrics


class Oracle(torch.nn.Module):
    """Decodes the image at the position that a code names: s of identity, or z of style."""

    def __init__(self, images: np.ndarray, by: str) -> None:
        super().__init__()
        self.images = torch.from_numpy(images).float() / 255
        self.by = by
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def decode(self, specified: torch.Tensor, unspecified: torch.Tensor) -> torch.Tensor:
        code = specified if self.by == "identity" else unspecified
        return self.images[code[:, 0].round().long() % len(self.images)]


@pytest.fixture
def measure(bars):
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

    def measured(by: str):
        return image_metrics(Oracle(bars.images, by), classifier, bars.images, arrays, 1000, 0)

    return measured


def test_a_decoder_that_ignores_style_shows_the_identity_and_keeps_no_style(measure):
    metrics, right, matrices = measure("identity")
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


def test_a_decoder_that_ignores_identity_shows_the_style_sources_class(measure):
    metrics, _, _ = measure("style")
    assert metrics["swap/identity_accuracy"] < 0.05
    assert metrics["swap/style_source_rate"] > 0.95
    assert metrics["swap/style_from_identity"] < 0.2


def test_images_of_the_right_identity_are_about_as_near_as_real_images(measure):
    metrics, _, _ = measure("identity")
    assert metrics["distance/frechet_reconstruction"] < 3 * metrics["distance/frechet_real"]


def test_confusion_matrices_have_a_row_for_a_class_that_the_images_lack(bars):
    """The classifier may still predict it: four classes, images and swaps of the first three."""
    rows = np.flatnonzero(bars.labels < 3)
    places = np.arange(len(rows), dtype=np.float32)[:, None]
    codes = {f"{code}_mean": places for code in ("specified", "unspecified")}
    codes |= {"unspecified_std": np.zeros_like(places), "labels": bars.labels[rows]}
    decoder = Oracle(bars.images[bars.labels == 3], "identity")  # shows the fourth class always
    classifier = train_classifier(bars, steps=100, seed=0)
    _, _, matrices = image_metrics(decoder, classifier, bars.images[rows], codes, 300, 0)
    for matrix in matrices.values():
        assert matrix.shape == (4, 4)
        assert matrix[3].sum() == 0
        assert matrix[:3, 3].sum() > 0.9 * 300
