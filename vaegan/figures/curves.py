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
    figure = new_figure(9.2, 8.0, title)
    images, latents, accuracy = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2.5, 1.5))
    images.axhline(np.log(2), **CHANCE, label="log 2: undecided")
    shares = class_counts[class_counts > 0] / class_counts.sum()
    latents.axhline(-(shares * np.log(shares)).sum(), **CHANCE, label="critic at chance")
    accuracy.axhline(shares.max(), **CHANCE, label="critic at chance")
    _plot_curves(images, curves, image_game, "image game: real or generated?", "loss (nats)")
    _plot_curves(latents, curves, latent_game, "latent game: which class?", "loss (nats)")
    _plot_curves(accuracy, curves, accuracies, "accuracy of the adversaries", "accuracy")
    accuracy.set(ylim=(-0.03, 1.03), xlabel="step")
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
    figure = new_figure(9.2, 6.0, title)
    above, below = figure.subplots(2, 1, sharex=True)
    above.set_yscale("log")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter("")
    unit = "squared error per image,\nsummed over pixels (log scale)"
    _plot_curves(above, curves, errors, "reconstruction", unit)
    _plot_curves(below, curves, divergences, "KL from the prior", "KL (nats)")
    below.set_xlabel("step")
    return figure


def _plot_curves(
    axes: Axes, curves: pd.DataFrame, names: Mapping[str, str], title: str, unit: str
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
        line = axes.plot(curves["step"], curves[column], color=colour, label=name)[0]
        line.set(marker=marker, markersize=5, markevery=every)
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize=9)
