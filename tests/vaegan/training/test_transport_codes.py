import torch

from tests.vaegan.model.test_transport import CLASSES
from vaegan.model.networks import Encoder
from vaegan.training.config import TransportFitConfig
from vaegan.training.transport_codes import cluster, encode_images, encode_means, mean_style_std


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
    config = TransportFitConfig(200, 1, 1, 0.0, 0.0, changes=3, images_per_change=5)
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
    config = TransportFitConfig(200, 1, 1, 0.0, 0.0, changes=1, images_per_change=2)
    encoded, _ = encode_images(encoder, torch.from_numpy(bars.images), None, 3, config, seed=4)
    assert torch.equal(encoded.labels, cluster(encoded.specified, 3, seed=4))
    assert set(encoded.labels.tolist()) == {0, 1, 2}


def test_fewer_codes_than_clusters_are_a_cluster_each():
    assert sorted(cluster(torch.eye(3), 5, seed=0).tolist()) == [0, 1, 2]
