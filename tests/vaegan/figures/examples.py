"""Inputs of the figures, small and with values that all differ."""

import numpy as np
import pandas as pd

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


def style_parts() -> dict[str, np.ndarray]:
    return {
        "source": noise(seed=1),
        "sweeps": noise(3, 4, seed=2),
        "positions": np.array([-2.0, -0.5, 0.5, 2.0]),
        "borrowed_styles": noise(6, seed=3),
        "borrowed": noise(6, seed=4),
    }


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), np.arange(30) % 3


def curves(reports: int = 40) -> pd.DataFrame:
    values = np.random.default_rng(0).uniform(0.1, 0.9, (reports, len(CURVES)))
    table = pd.DataFrame(values, columns=list(CURVES))
    return table.assign(step=np.arange(1, reports + 1) * 50)
