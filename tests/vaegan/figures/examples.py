"""Inputs of the figures, small and with values that all differ."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vaegan.figures.errors import Confusion
from vaegan.figures.leakage import Reading

HEIGHT, WIDTH = 6, 5  # not square, so that a transposed image does not pass
CURVES = (
    "discriminator_loss",
    "adversarial_loss",
    "adversarial_prior_loss",
    "discriminator_accuracy",
    "critic_loss",
    "confusion_loss",
    "critic_accuracy",
    "reconstruction_loss",
    "partner_loss",
    "specified_kl_loss",
    "unspecified_kl_loss",
)


def noise(*lead: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Images that all differ, float32 (*lead, channels, HEIGHT, WIDTH) in [0, 1)."""
    shape = (*lead, channels, HEIGHT, WIDTH)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def style_parts() -> dict[str, Any]:
    return {
        "sources": noise(4, seed=1),
        "sweeps": noise(4, 2, 3, seed=2),
        "names": ["slant", "direction 2"],
        "positions": np.array([-2.0, 0.0, 2.0]),
    }


def confusions() -> list[Confusion]:
    return [
        Confusion("a", "b", 20, 0.25, noise(3)),
        Confusion("b", "a", 1, 0.01, noise(1)[:0]),
    ]


def readings() -> list[Reading]:
    return [
        Reading("from s", 0.99, (0.985, 0.995), wanted=True),
        Reading("from z", 0.2, (0.19, 0.21), published=("Other", 0.636)),
    ]


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), np.arange(30) % 3


def curves(reports: int = 40) -> pd.DataFrame:
    values = np.random.default_rng(0).uniform(0.1, 0.9, (reports, len(CURVES)))
    table = pd.DataFrame(values, columns=list(CURVES))
    return table.assign(step=np.arange(1, reports + 1) * 50)


def cell(axes: Axes, row: float, column: float) -> np.ndarray:
    """The image that is shown in a cell, (H, W) or (H, W, 3), without its frame."""
    x, y = column + 0.5, row + 0.5
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        if left < x < right and top < y < bottom:
            picture = np.asarray(image.get_array())
            height, width = picture.shape[0] / (bottom - top), picture.shape[1] / (right - left)
            first = round((y - top) * height - HEIGHT / 2)
            start = round((x - left) * width - WIDTH / 2)
            return picture[first : first + HEIGHT, start : start + WIDTH]
    raise AssertionError(f"nothing is shown in row {row}, column {column}")


def assert_shown(axes: Axes, row: float, column: float, image: np.ndarray) -> None:
    """The cell shows ``image`` (C, H, W) and no other."""
    shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    np.testing.assert_array_equal(cell(axes, row, column), shown)
