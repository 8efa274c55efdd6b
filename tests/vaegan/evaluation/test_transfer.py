import numpy as np
import pytest
import torch

from vaegan.data import to_unit_range
from vaegan.evaluation.fidelity import reconstruction_mse
from vaegan.evaluation.judge import classify, train_judge
from vaegan.evaluation.transfer import cross_class_pairs, identity_accuracy

LABELS = np.arange(1000) % 5


def test_pairs_are_of_different_classes_and_reach_every_image():
    identities, styles = cross_class_pairs(LABELS, 20_000, np.random.default_rng(0))
    assert (LABELS[identities] != LABELS[styles]).all()
    assert len(np.unique(identities)) == len(np.unique(styles)) == 1000


def test_one_class_cannot_be_swapped():
    with pytest.raises(ValueError, match="two classes"):
        cross_class_pairs(np.zeros(5, np.int64), 3, np.random.default_rng(0))


def one_hot(labels: np.ndarray) -> torch.Tensor:
    return torch.eye(5)[torch.from_numpy(labels)]


@pytest.mark.parametrize(
    ("decode", "expected"),
    [
        (lambda s, z: s, 1.0),  # draws the specified code's class
        (lambda s, z: z, 0.0),  # draws the style source's class: the degenerate model
        (lambda s, z: torch.eye(5)[torch.zeros(len(s), dtype=torch.int64)], 0.2),
    ],
)
def test_decoders_of_known_transfer_score_it(decode, expected):
    identities, styles = cross_class_pairs(LABELS, 5000, np.random.default_rng(0))
    codes = one_hot(LABELS)
    accuracy = identity_accuracy(
        decode,
        lambda images: images.argmax(dim=1),
        codes[identities],
        codes[styles],
        torch.from_numpy(LABELS[identities]),
        batch_size=700,
    )
    # The third is a share: its standard error is sqrt(.2 * .8 / 5000) = 0.006.
    assert accuracy == pytest.approx(expected, abs=0.025 if expected == 0.2 else 0)


def test_reconstruction_error_by_hand():
    images = np.zeros((5, 1, 2, 2), np.uint8)
    images[0] = 255  # drawn as 0.5 everywhere: error .25 on every pixel of every image
    codes = torch.zeros(5, 1)

    def half(s, z):
        return torch.full((len(s), 1, 2, 2), 0.5)

    assert reconstruction_mse(half, codes, codes, images, batch_size=2) == pytest.approx(0.25)
    images[1:] = 127  # 0.498: nearly as drawn
    expected = (0.25 + 4 * (0.5 - 127 / 255) ** 2) / 5
    assert reconstruction_mse(half, codes, codes, images, 2) == pytest.approx(expected)


def test_the_judge_learns_real_images_and_repeats(bars):
    judge, again = (train_judge(bars, steps=60, seed=3) for _ in range(2))
    images, labels = to_unit_range(torch.from_numpy(bars.images)), torch.from_numpy(bars.labels)
    assert (classify(judge, images) == labels).float().mean() > 0.9
    assert torch.equal(judge(images), again(images))
    assert not judge.training
