import numpy as np
import torch

from pipeline.explorer import directions
from pipeline.explorer.directions import main_directions
from tests.pipeline.explorer.conftest import make_model


class Planted:
    """Decodes to a picture that is linear in the style: the pixels are A z."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        self.config = make_model((1, 8, 8), dims=(2, weights.shape[1])).config

    def decode(self, specified, unspecified):
        return (unspecified @ self.weights.T)[:, None]


def test_the_first_direction_changes_the_image_most():
    weights = torch.zeros(6, 3)
    weights[0, 2], weights[1, 0], weights[2, 1] = 5.0, 2.0, 1.0
    axes = main_directions(Planted(weights), np.zeros((4, 2), np.float32), None)
    np.testing.assert_allclose(axes, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-5)


def test_a_direction_is_as_long_as_the_deviation_of_the_codes_along_it():
    weights = torch.eye(4, 2) * torch.tensor([1.0, 3.0])
    codes = np.float32([[0.0, 0.0], [8.0, 1.0]])  # deviations 4 and 0.5: 4 pixels against 1.5
    axes = main_directions(Planted(weights), np.zeros((1, 2), np.float32), codes)
    np.testing.assert_allclose(axes, [[4, 0], [0, 0.5]], atol=1e-5)


def test_directions_of_a_model_with_many_dimensions_are_few_and_repeat():
    model = make_model((1, 8, 8), dims=(3, 40))
    codes = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    first, again = (main_directions(model, codes, None) for _ in range(2))
    assert first.shape == (directions.SHOWN, 40)
    assert first.tobytes() == again.tobytes()
