import torch

from tests.vaegan.model.test_transport import CLASSES
from vaegan.training.transport_codes import clusters


def test_clusters_are_the_classes_where_codes_tell_them_apart_and_the_same_each_time():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % CLASSES
    s = torch.eye(CLASSES)[labels] + 0.1 * torch.randn(600, CLASSES, generator=rng)
    found = clusters(s, CLASSES, seed=0)
    assert found.dtype == torch.int64
    pairs = {(int(a), int(b)) for a, b in zip(labels, found, strict=True)}
    assert len(pairs) == CLASSES  # a renaming
    assert torch.equal(found, clusters(s, CLASSES, seed=0))
