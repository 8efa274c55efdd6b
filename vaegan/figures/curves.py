"""Curves of a training: the two adversarial games, reconstruction and divergence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from vaegan.figures.canvas import COLOURS, MARKERS, new_figure

CHANCE: dict[str, Any] = {"color": "gray", "linestyle": "--"}
MARKED = 12  # markers along a curve, about
WIDTH = 8.4  # inches


def adversarial_curves(curves: pd.DataFrame, class_counts: np.ndarray, title: str) -> Figure:
    """Plots both adversarial games over training: losses and the adversaries' accuracies.

    Dashed lines are the scores of an adversary at chance: log 2 and, for the critic, the entropy
    of the classes, log K if they are of one size, and the majority class's share.

    Args:
        curves: A row per report, in order, with ``step``, the losses ``discriminator_loss``,
            ``adversarial_loss``, ``adversarial_prior_loss``, ``critic_loss`` and
            ``confusion_loss`` in nats, and ``discriminator_accuracy`` and ``critic_accuracy``
            in [0, 1]. The columns of terms that are off may be absent.
        class_counts: Training images of each of the K classes that the critic distinguishes.
        title: Title of the figure.

    Raises:
        ValueError: there is no row, or no ``step``.
    """
    image_game = {
        "discriminator_loss": "discriminator",
        "adversarial_loss": "generator,\nstyle of an image",
        "adversarial_prior_loss": "generator,\nstyle from the prior",
    }
    latent_game = {"critic_loss": "critic", "confusion_loss": "confusion\n(encoder)"}
    accuracies = {"discriminator_accuracy": "discriminator", "critic_accuracy": "critic"}
    figure = new_figure(WIDTH, 9.6, title)
    images, latents, accuracy = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    images.axhline(np.log(2), **CHANCE, label="log 2: undecided")
    shares = class_counts[class_counts > 0] / class_counts.sum()
    latents.axhline(-(shares * np.log(shares)).sum(), **CHANCE, label="critic at chance")
    accuracy.axhline(shares.max(), **CHANCE, label="critic at chance")
    _plot_curves(
        images, curves, image_game, "loss (nats)", "image game: real or generated?",
        "Healthy: all level off. A discriminator near 0 has won; the generator learns no more.",
    )  # fmt: skip
    _plot_curves(
        latents, curves, latent_game, "loss (nats)", "latent game: which class?",
        "Healthy: the critic levels off well above 0. On the dashed line it reads no class in z.",
    )  # fmt: skip
    _plot_curves(
        accuracy, curves, accuracies, "accuracy", "accuracy of the adversaries",
        "Healthy: both stay below 1. The nearer the critic is to chance, the less z tells.",
    )  # fmt: skip
    top = max(images.get_ylim()[1], latents.get_ylim()[1])  # one unit, one scale
    images.set_ylim(0, top)
    latents.set_ylim(0, top)
    accuracy.set(ylim=(-0.03, 1.03), xlabel="step", xlim=_steps(curves))
    return figure


def reconstruction_curves(curves: pd.DataFrame, title: str) -> Figure:
    """Plots the squared errors of generated images and both codes' divergence from the prior.

    Args:
        curves: A row per report, in order, with ``step``, ``reconstruction_loss`` and
            ``partner_loss`` (squared error of an image, summed over pixels, > 0), and
            ``specified_kl_loss`` and ``unspecified_kl_loss`` in nats. The columns of terms that are
            off may be absent.
        title: Title of the figure.

    Raises:
        ValueError: there is no row, or no ``step``.
    """
    errors = {
        "reconstruction_loss": "from its own\ncodes",
        "partner_loss": "with the partner's\nspecified code",
    }
    divergences = {"specified_kl_loss": "specified", "unspecified_kl_loss": "unspecified"}
    figure = new_figure(WIDTH, 7.2, title)
    above, below = figure.subplots(2, 1, sharex=True)
    above.set_yscale("log")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter("")
    _plot_curves(
        above, curves, errors, "squared error per image,\nsummed over pixels (log scale)",
        "reconstruction", "Healthy: falls, then levels off. Lower is better.",
    )  # fmt: skip
    _plot_curves(
        below, curves, divergences, "KL (nats)", "KL from the prior",
        "Healthy: levels off well above 0. A code at 0 is empty: the decoder ignores it.",
    )  # fmt: skip
    below.set_ylim(bottom=0)
    below.set(xlabel="step", xlim=_steps(curves))
    return figure


def _steps(curves: pd.DataFrame) -> tuple[float, float]:
    """Limits of the step, the same for all curves of a training."""
    return 0, 1.02 * float(curves["step"].max())


def _plot_curves(
    axes: Axes,
    curves: pd.DataFrame,
    names: Mapping[str, str],
    unit: str,
    title: str,
    healthy: str,
) -> None:
    """Plots the columns of ``names`` over the step, with a legend to the right of the axes."""
    if "step" not in curves or curves.empty:
        have = f"{len(curves)} rows of {list(curves.columns)}"
        raise ValueError(f"curves must have rows and a column 'step', got {have}")
    names = {column: name for column, name in names.items() if column in curves}
    if not names:
        title = f"{title} (these terms are off)"
    every = 1 + len(curves) // MARKED
    for (column, name), colour, marker in zip(names.items(), COLOURS, MARKERS, strict=False):
        line = axes.plot(curves["step"], curves[column], color=colour, label=name, linewidth=2)[0]
        line.set(marker=marker, markersize=6, markevery=every)
    axes.set_title(f"{title}\n", fontsize=12, fontweight="bold", loc="left")
    axes.text(0, 1.02, healthy, fontsize=10, color="#444444", transform=axes.transAxes)
    axes.set_ylabel(unit, fontsize=11)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize=10)
