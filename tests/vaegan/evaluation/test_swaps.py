import numpy as np
import pytest
import torch

from vaegan.evaluation.swaps import confusion, cross_class_pairs, decode_in_batches

LABELS = np.arange(1000) % 5


def test_pairs_are_of_different_classes_and_reach_every_image():
    identities, styles = cross_class_pairs(LABELS, 20_000, np.random.default_rng(0))
    assert (LABELS[identities] != LABELS[styles]).all()
    assert len(np.unique(identities)) == len(np.unique(styles)) == 1000


def test_one_class_cannot_be_swapped():
    with pytest.raises(ValueError, match="two classes"):
        cross_class_pairs(np.zeros(5, np.int64), 3, np.random.default_rng(0))


def test_images_are_decoded_in_batches_in_the_order_of_the_codes():
    s, z = torch.arange(10.0)[:, None], 100 * torch.arange(10.0)[:, None]
    sizes = []

    def decode(specified, unspecified):
        sizes.append(len(specified))
        return specified + unspecified

    images = decode_in_batches(decode, s, z, batch_size=4)
    assert torch.equal(images, 101 * torch.arange(10.0)[:, None])
    assert sizes == [4, 4, 2]


def test_a_confusion_matrix_equals_hand_counted_swaps():
    expected, predicted = np.array([0, 0, 1, 2]), np.array([0, 2, 1, 2])
    assert confusion(expected, predicted, 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_a_class_beyond_those_of_the_data_set_is_refused_not_counted_elsewhere():
    expected, predicted = [0] * 10 + [1] * 10, [2] * 10 + [1] * 10
    with pytest.raises(ValueError, match=r"predicted classes must lie in \[0, 2\), got \[1, 2\]"):
        confusion(expected, predicted, 2)
    with pytest.raises(ValueError, match=r"expected classes must lie in \[0, 2\), got \[-1, 1\]"):
        confusion([-1, 1], [0, 1], 2)
    with pytest.raises(ValueError, match=r"\(N,\), got \(20,\), \(1,\)"):  # not broadcast
        confusion(expected, [0], 2)
    counts = np.zeros((3, 3), int)
    counts[0, 2] = counts[1, 1] = 10
    assert np.array_equal(confusion(expected, predicted, 3), counts)
