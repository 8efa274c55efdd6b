from dataclasses import replace

import pytest
import torch

from tests.vaegan.model.test_transport import CLASSES
from vaegan.model.networks import Encoder
from vaegan.training import transport_codes
from vaegan.training.config import TransportFitConfig
from vaegan.training.transport_codes import cluster, encode_images, encode_means, mean_style_std


def fit_config(changes: int, images_per_change: int, style: str = "auto") -> TransportFitConfig:
    return TransportFitConfig(200, 2, 1, 1, 0.0, 0.0, changes, images_per_change, style, False)


def test_clusters_equal_separable_classes_and_repeat():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % CLASSES
    s = torch.eye(CLASSES)[labels] + 0.1 * torch.randn(600, CLASSES, generator=rng)
    found = cluster(s, CLASSES, seed=0)
    assert found.dtype == torch.int64
    pairs = {(int(a), int(b)) for a, b in zip(labels, found, strict=True)}
    assert len(pairs) == CLASSES  # a renaming
    assert torch.equal(found, cluster(s, CLASSES, seed=0))


def test_images_are_encoded_unchanged_and_changed(model_config, bars):
    torch.manual_seed(0)
    encoder = Encoder(model_config).eval()
    images, labels = torch.from_numpy(bars.images), torch.from_numpy(bars.labels)
    config = fit_config(changes=3, images_per_change=5)
    encoded, changed = encode_images(encoder, images, labels, 4, config, seed=4)
    assert torch.bincount(encoded.labels).tolist() == [50] * 4  # stratified
    assert changed.rows.shape == (3, 5)
    whole, style = encode_means(encoder, images)
    matches = (torch.cdist(encoded.specified, whole) < 1e-3) & (labels == encoded.labels[:, None])
    assert matches.any(dim=1).all()
    before = encoded.unspecified[changed.rows]
    assert changed.codes.shape == before.shape
    assert ((changed.codes - before).abs().amax(dim=2) > 0).all()
    assert torch.equal(encoded.std, mean_style_std(encoder, images))


def test_without_labels_clusters_of_specified_codes_replace_classes(model_config, bars):
    torch.manual_seed(0)
    encoder = Encoder(model_config).eval()
    config = fit_config(changes=1, images_per_change=2)
    encoded, _ = encode_images(encoder, torch.from_numpy(bars.images), None, 3, config, seed=4)
    assert torch.equal(encoded.labels, cluster(encoded.specified, 3, seed=4))
    assert set(encoded.labels.tolist()) == {0, 1, 2}


def test_fewer_codes_than_clusters_are_a_cluster_each():
    assert sorted(cluster(torch.eye(3), 5, seed=0).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("style", "channels", "used"),
    [
        ("auto", 1, "strokes"),
        ("auto", 3, "pictures"),
        ("pictures", 1, "pictures"),
        ("strokes", 3, "strokes"),
    ],
)
def test_images_get_the_changes_of_their_kind(
    monkeypatch, model_config, bars, style, channels, used
):
    kinds = []

    def vary(images, rng, kind, mirror):
        kinds.append((kind, mirror))
        return images

    monkeypatch.setattr(transport_codes, "vary_style", vary)
    structure = replace(model_config, image_shape=(channels, *model_config.image_shape[1:]))
    images = torch.from_numpy(bars.images[:40]).repeat(1, channels, 1, 1)
    labels, config = torch.from_numpy(bars.labels[:40]), fit_config(2, 3, style)
    encode_images(Encoder(structure).eval(), images, labels, 4, config, seed=0)
    assert kinds == [(used, False)] * 2


def test_without_changes_of_style_there_is_nothing_to_align(model_config, bars):
    images, labels = (torch.from_numpy(array[:40]) for array in (bars.images, bars.labels))
    encoder = Encoder(model_config).eval()
    encoded, changed = encode_images(encoder, images, labels, 4, fit_config(2, 3, "none"), seed=0)
    assert changed is None
    assert len(encoded.labels) == 40
