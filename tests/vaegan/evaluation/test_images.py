"""Metrics of images by decoders whose score is known."""

import numpy as np
import pytest
import torch

from vaegan.data import LabelledImages
from vaegan.evaluation import description
from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.description import Instruments
from vaegan.evaluation.factors import Factor
from vaegan.evaluation.images import image_metrics
from vaegan.evaluation.metrics import find_metric


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


@pytest.fixture(scope="module")
def classifier(bars):
    return train_classifier(bars, steps=100, seed=0)


@pytest.fixture
def measure(bars, classifier):
    labels = bars.labels
    places = np.arange(len(labels), dtype=np.float32)[:, None]
    arrays = {
        "specified_mean": places,
        "unspecified_mean": places,
        "specified_std": np.zeros_like(places),
        "unspecified_std": np.zeros_like(places),
        "labels": labels,
    }

    def measured(by: str, strokes: bool = True):
        instruments = Instruments(classifier, strokes, {})
        return image_metrics(Oracle(bars.images, by), instruments, bars.images, arrays, 1000, 0, {})

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


def test_confusion_matrices_have_a_row_for_a_class_that_the_images_lack(bars, classifier):
    """The classifier may still predict it: four classes, images and swaps of the first three."""
    rows = np.flatnonzero(bars.labels < 3)
    places = np.arange(len(rows), dtype=np.float32)[:, None]
    codes = {f"{code}_mean": places for code in ("specified", "unspecified")}
    codes |= {"unspecified_std": np.zeros_like(places), "labels": bars.labels[rows]}
    decoder = Oracle(bars.images[bars.labels == 3], "identity")  # shows the fourth class always
    instruments = Instruments(classifier, True, {})
    _, _, matrices = image_metrics(decoder, instruments, bars.images[rows], codes, 300, 0, {})
    for matrix in matrices.values():
        assert matrix.shape == (4, 4)
        assert matrix[3].sum() == 0
        assert matrix[:3, 3].sum() > 0.9 * 300


def test_pictures_have_no_measures_of_strokes_and_all_other_metrics_unchanged(measure):
    of_strokes, of_pictures = measure("identity")[0], measure("identity", strokes=False)[0]
    without = of_strokes.keys() - of_pictures.keys()
    assert {key for key in of_strokes if find_metric(key).strokes_only} == without
    assert len(without) == 3 * 3 + 1 + 2 * 4
    assert all(of_strokes[key] == value for key, value in of_pictures.items())


def test_images_that_do_not_fit_into_memory_at_once_get_the_same_metrics(measure, monkeypatch):
    whole = measure("identity")
    monkeypatch.setattr(description, "CHUNK_VALUES", 100 * 16 * 16)
    parts = measure("identity")
    assert parts[0].keys() == whole[0].keys()
    for key, value in whole[0].items():
        assert parts[0][key] == pytest.approx(value, abs=1e-5), key
    for key, matrix in whole[2].items():
        assert np.array_equal(parts[2][key], matrix)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 10, 12), (3, 64, 64)])
def test_images_of_any_size_are_measured_and_small_ones_without_similarity(shape):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = rng.integers(256, size=(40, *shape), dtype=np.uint8)
    images[labels == 1] //= 3
    places = np.arange(40, dtype=np.float32)[:, None]
    codes = {f"{code}_mean": places for code in ("specified", "unspecified")}
    codes |= {"unspecified_std": np.zeros_like(places), "labels": labels}
    classifier = train_classifier(LabelledImages(images, labels, 2), steps=5, seed=0)
    oracle = Oracle(images, "identity")
    metrics, _, _ = image_metrics(
        oracle, Instruments(classifier, False, {}), images, codes, 100, 0, {}
    )
    assert metrics["reconstruction/mse"] == 0
    assert ("reconstruction/ssim" in metrics) == (shape[1] > 10)
    assert np.isfinite(list(metrics.values())).all()


def test_swaps_that_take_the_style_of_their_source_show_its_known_factor(bars, classifier):
    """The factor is the brightness: dark or bright; an oracle of style shows it, others do not."""
    bright = (bars.images.max(axis=(1, 2, 3)) > 160).astype(np.int64)
    places = np.arange(len(bright), dtype=np.float32)[:, None]
    codes = {f"{code}_mean": places for code in ("specified", "unspecified")}
    codes |= {"unspecified_std": np.zeros_like(places), "labels": bars.labels}
    of_bright = train_classifier(LabelledImages(bars.images, bright, 2), steps=60, seed=0)
    instruments = Instruments(classifier, True, {"light": of_bright})
    factors = {"light": Factor(2, bright, bright)}

    def shown(by: str) -> tuple[float, float]:
        oracle = Oracle(bars.images, by)
        metrics, right, _ = image_metrics(oracle, instruments, bars.images, codes, 1000, 0, factors)
        assert right["factor/light/swap_accuracy"].mean() == metrics["factor/light/swap_accuracy"]
        return metrics["factor/light/swap_accuracy"], metrics["factor/light/classifier_accuracy"]

    kept, real = shown("style")
    assert kept > 0.95
    assert real > 0.95
    lost, same = shown("identity")
    assert lost == pytest.approx((bright.mean() ** 2 + (1 - bright.mean()) ** 2), abs=0.1)
    assert same == real
