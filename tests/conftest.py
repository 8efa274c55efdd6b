"""Synthetic images with known class and style, and small models to go with them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from vaegan.data import LabelledImages
from vaegan.model.config import NO_TRANSPORT, CodeConfig, ModelStructure
from vaegan.training.config import ObjectiveWeights, TrainingConfig, TransportFitConfig

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


@pytest.fixture(autouse=True)
def same_folder() -> Iterator[None]:
    """Fails a test that leaves its process in another folder, where the next one would start."""
    before = Path.cwd()
    yield
    assert Path.cwd() == before


@pytest.fixture(scope="session")
def bars() -> LabelledImages:
    return draw_bars(256, seed=0)[0]


@pytest.fixture
def model_config() -> ModelStructure:
    return ModelStructure(
        base_channels=4,
        specified=CodeConfig(5, variational=True, shared_variance=False),
        unspecified=CodeConfig(3, variational=True, shared_variance=False),
        transport=NO_TRANSPORT,
        image_shape=(1, SIZE, SIZE),
        class_count=CLASSES,
    )


@pytest.fixture
def training_config() -> TrainingConfig:
    return TrainingConfig(
        seed=0,
        steps=8,
        pairs=16,
        adversarial_share=1.0,
        lr=1e-3,
        discriminator_lr=1e-3,
        critic_lr=1e-3,
        critic_steps=2,
        supervision="labels",
        mismatched=True,
        real_target=1.0,
        warmup_steps=2,
        report_every=4,
        device="cpu",
        precision="float32",
        threads=1,
        weights=ObjectiveWeights(
            reconstruction=1.0,
            partner=1.0,
            specified_kl=0.1,
            unspecified_kl=0.1,
            adversarial=1.0,
            adversarial_prior=1.0,
            confusion=5.0,
            style_cycle=0.5,
            cycle=0.0,
            pair_kernel=0.0,
        ),
        transport=TransportFitConfig(
            images=1000,
            images_per_class=2,
            steps=20,
            batch=64,
            lr=5e-3,
            alignment=0.1,
            changes=4,
            images_per_change=16,
            style_changes="auto",
            mirror=False,
        ),
    )


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors gain nothing from threads, and equal threads give equal bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
