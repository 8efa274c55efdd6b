"""Synthetic images with known class and style, and small models to go with them."""

import numpy as np
import pytest
import torch

from vaegan.data import LabelledImages
from vaegan.model.config import CodeConfig, ModelConfig
from vaegan.training.config import ObjectiveWeights, TrainingConfig

SIZE = 16
CLASSES = 4


def draw_bars(count: int, seed: int) -> tuple[LabelledImages, np.ndarray]:
    """Images of one bar each: its angle is the class, its brightness and place the style.

    Returns:
        uint8 (count, 1, 16, 16) images of 4 balanced classes, and style float64 (count, 2):
        brightness in [0.3, 1] and shift in pixels in [-3, 3], independent of the class.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    rng.shuffle(labels)
    brightness, shift = rng.uniform(0.3, 1, count), rng.uniform(-3, 3, count)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    angle = (labels * np.pi / CLASSES)[:, None, None]
    across = x * np.sin(angle) - y * np.cos(angle) - shift[:, None, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    bar = np.exp(-0.5 * (across / 1.2) ** 2) * (np.abs(along) < 6)
    images = (255 * brightness[:, None, None] * bar).round().astype(np.uint8)
    data = LabelledImages(images[:, None], labels.astype(np.int64), CLASSES)
    return data, np.stack([brightness, shift], axis=1)


@pytest.fixture(scope="session")
def bars() -> LabelledImages:
    return draw_bars(256, seed=0)[0]


@pytest.fixture
def model_config() -> ModelConfig:
    return ModelConfig((1, SIZE, SIZE), CLASSES, 4, CodeConfig(5, True), CodeConfig(3, True))


@pytest.fixture
def training_config() -> TrainingConfig:
    return TrainingConfig(
        seed=0,
        steps=8,
        pairs=16,
        lr=1e-3,
        discriminator_lr=1e-3,
        critic_lr=1e-3,
        critic_steps=2,
        warmup_steps=2,
        report_every=4,
        precision="float32",
        weights=ObjectiveWeights(1.0, 1.0, 0.1, 0.1, 1.0, 1.0, 5.0, 0.5, 0.0, 0.0),
    )


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors gain nothing from threads, and equal threads give equal bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
