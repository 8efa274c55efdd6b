import pytest
import torch

from vaegan.rng import torch_rng
from vaegan.training.pairs import PairSampler


def test_partners_are_other_images_of_the_same_class(bars):
    labels = torch.from_numpy(bars.labels)
    batch = PairSampler(labels, 4).sample(2000, torch_rng(0, "t"))
    assert torch.equal(labels[batch.anchor], labels[batch.partner])
    assert (batch.anchor != batch.partner).all()


def test_others_show_another_class_and_belong_to_the_batch(bars):
    labels = torch.from_numpy(bars.labels)
    batch = PairSampler(labels, 4).sample(64, torch_rng(0, "t"))
    identity = labels[batch.anchor]
    assert (identity[batch.other] != identity).all()
    assert sorted(batch.other.tolist()) == list(range(64))


def test_others_of_some_pairs_are_among_these(bars):
    labels = torch.from_numpy(bars.labels)
    for known in (True, False):
        batch = PairSampler(labels, 4, known).sample(64, torch_rng(0, "t"), others=24)
        assert len(batch.anchor) == len(batch.partner) == 64
        assert sorted(batch.other.tolist()) == list(range(24))
        if known:
            identity = labels[batch.anchor]
            assert (identity[batch.other] != identity[:24]).all()


def test_every_image_of_a_class_can_be_a_partner_and_about_equally_often():
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 1])
    sampler = PairSampler(labels, 2)
    batch = sampler.sample(70_000, torch_rng(0, "t"))
    anchored = torch.bincount(batch.partner[batch.anchor == 1], minlength=7)
    assert (anchored[[0, 1, 2, 5]] == 0).all()
    # About 10,000 anchors on image 1, a third each to images 3, 4 and 6; five standard errors.
    expected = anchored.sum() / 3
    assert (anchored[[3, 4, 6]] - expected).abs().max() < 5 * (expected * 2 / 3) ** 0.5


def test_a_class_of_one_image_is_its_own_partner():
    batch = PairSampler(torch.tensor([0, 1, 1]), 2).sample(100, torch_rng(0, "t"))
    assert (batch.partner[batch.anchor == 0] == 0).all()


def test_one_class_cannot_be_paired():
    with pytest.raises(ValueError, match="two classes"):
        PairSampler(torch.zeros(5, dtype=torch.int64), 3)


def test_the_same_key_samples_the_same_pairs_and_another_step_others(bars):
    sampler = PairSampler(torch.from_numpy(bars.labels), 4)
    first, again, later = (sampler.sample(32, torch_rng(3, "batch", n)) for n in (7, 7, 8))
    assert torch.equal(first.anchor, again.anchor)
    assert torch.equal(first.partner, again.partner)
    assert not torch.equal(first.anchor, later.anchor)


def test_without_labels_the_other_image_comes_from_any_other_pair():
    labels = torch.arange(40) % 4
    sampler = PairSampler(labels, 4, classes_known=False)
    batch = sampler.sample(16, torch.Generator().manual_seed(0))
    assert torch.equal(labels[batch.anchor], labels[batch.partner])
    assert sorted(batch.other.tolist()) == list(range(16))
    assert (batch.other != torch.arange(16)).all()
