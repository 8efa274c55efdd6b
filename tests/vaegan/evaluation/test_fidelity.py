import math

import pytest
import torch

from vaegan.evaluation.fidelity import (
    mean_squared_error,
    peak_signal_to_noise,
    structural_similarity,
)


def images(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_mean_squared_error_equals_a_hand_computed_value():
    generated, real = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, 1, 2, 2)
    real[0] = 1.0
    real[1] = 0.5
    assert mean_squared_error(generated, real) == pytest.approx(0.25 * 3 / 4)
    with pytest.raises(ValueError, match="shapes differ"):
        mean_squared_error(generated[:1], real)


def test_psnr_equals_a_hand_computed_value():
    assert peak_signal_to_noise(0.01) == pytest.approx(20)
    assert peak_signal_to_noise(0.0) == 200
    assert peak_signal_to_noise(math.sqrt(0.1)) == pytest.approx(5)


def test_similarity_is_one_for_the_same_images_only():
    assert structural_similarity(images(), images()) == pytest.approx(1)
    assert structural_similarity(images(), images(seed=1)) < 0.2
    assert structural_similarity(1 - images(), images()) < 0


def test_similarity_of_constant_images_equals_a_hand_computed_value():
    a, b = torch.full((3, 1, 16, 16), 0.2), torch.full((3, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)  # variances are 0
    assert structural_similarity(a, b, batch_size=2) == pytest.approx(expected, abs=1e-3)


def test_images_smaller_than_the_window_are_rejected():
    with pytest.raises(ValueError, match="11 pixels"):
        structural_similarity(torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 8, 16))
