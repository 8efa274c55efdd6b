import json

import numpy as np
import pytest
import torch

from vaegan.data import LabelledImages, to_unit_range
from vaegan.evaluation.classifier import Classifier, block_widths, classify, train_classifier


@pytest.fixture
def classifier(bars) -> Classifier:
    return train_classifier(bars, steps=60, seed=3)


def test_the_classifier_learns_real_images_and_repeats(classifier, bars):
    again = train_classifier(bars, steps=60, seed=3)
    images = to_unit_range(torch.from_numpy(bars.images))
    assert (classify(classifier, images).classes == bars.labels).mean() > 0.9
    assert torch.equal(classifier(images), again(images))
    assert not classifier.training


def test_features_and_classes_do_not_depend_on_the_batch(classifier, bars):
    images = to_unit_range(torch.from_numpy(bars.images))
    whole, parts = classify(classifier, images), classify(classifier, images, batch_size=100)
    assert np.array_equal(whole.classes, parts.classes)
    assert whole.features.shape == (256, 128)
    np.testing.assert_allclose(whole.features, parts.features, atol=1e-5)
    assert np.array_equal(whole.classes, classifier(images).argmax(dim=1).numpy())


def test_a_saved_classifier_is_loaded_with_its_digest(classifier, bars, tmp_path):
    classifier.save(tmp_path, {"test_accuracy": 0.99})
    loaded, digest = Classifier.load(tmp_path)
    images = to_unit_range(torch.from_numpy(bars.images[:8]))
    torch.testing.assert_close(loaded(images), classifier(images))  # in another layout
    assert digest == json.loads((tmp_path / "classifier.json").read_text())["weights_sha256"]


@pytest.mark.parametrize("file", ["weights.safetensors", "classifier.json"])
def test_a_damaged_classifier_is_rejected_by_name(classifier, tmp_path, file):
    classifier.save(tmp_path, {})
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[:-3])
    with pytest.raises(ValueError, match=file):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("height", "width", "widths"),
    [
        (28, 28, [32, 64, 128]),  # MNIST's
        (8, 8, [32, 64, 128]),
        (32, 32, [32, 64, 128]),
        (64, 64, [16, 32, 64, 128]),
        (128, 128, [8, 16, 32, 64, 128]),
        (8, 128, [32, 64, 128]),  # a further block would leave no row
    ],
)
def test_the_network_is_as_deep_as_the_images_are_large(height, width, widths):
    assert block_widths(height, width) == widths
    classifier = Classifier((3, height, width), 1000).eval()
    logits, features = classifier.logits_and_features(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 1000)
    assert features.shape == (2, 128)


def test_images_that_the_network_cannot_halve_are_rejected():
    with pytest.raises(ValueError, match="at least 8 pixels"):
        Classifier((1, 7, 28), 10)


def test_colour_alone_tells_classes_apart():
    """Of equal brightness, so that grey images would not."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = rng.integers(40, size=(120, 3, 12, 12), dtype=np.uint8)
    images[np.arange(120), labels] += 150
    data = LabelledImages(images, labels, 3)
    classifier = train_classifier(data, steps=20, seed=0)
    seen = classify(classifier, to_unit_range(torch.from_numpy(images))).classes
    assert (seen == labels).mean() > 0.95
