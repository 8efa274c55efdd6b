"""Known style factors: what codes tell of each, and whether swaps show it.

A factor is a property of each image that its class does not determine and that the data set
states: pose, light, font, writer. A style code should hold it, a specified code should not, and a
swap should show the value of its style's source.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vaegan.data import stratified_subset
from vaegan.evaluation import probes
from vaegan.evaluation.description import Description
from vaegan.evaluation.leakage import leakage
from vaegan.evaluation.metrics import Arrays, Metrics
from vaegan.rng import numpy_rng

CODES = 20_000  # training codes that probes of a factor are fitted on, at most


@dataclass(frozen=True)
class Factor:
    """Values of a known style factor.

    Attributes:
        value_count: Number of its values, V.
        train: Value of each training image, int64 (N,) in [0, V).
        test: Value of each evaluated image, int64 (M,) in [0, V).
    """

    value_count: int
    train: np.ndarray
    test: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether each evaluated image's value occurs among training images, bool (M,).

        No probe and no classifier can name another one.
        """
        return np.isin(self.test, self.train)


def obstacle(factor: Factor) -> str | None:
    """Returns why a factor cannot be measured, None if it can."""
    if len(np.unique(factor.train)) < 2:
        return "all training images have one value of it"
    if not factor.known.any():
        return "no evaluated image has a value that training images have"
    return None


def factor_probe_metrics(
    train: Arrays,
    test: Arrays,
    factors: Mapping[str, Factor],
    seed: int,
    panel: Mapping[str, probes.Fit] = probes.QUICK,
) -> tuple[Metrics, Arrays, list[str]]:
    """Measures how well a quick panel of probes reads each factor from the means of either code.

    On test images whose value occurs in the training. The strongest probe counts, as for leakage.

    Args:
        train: Training codes by name, N of each.
        test: M test codes.
        factors: By the word that stands for each in keys.
        seed: Seed of probes and splits.
        panel: Probes by name.

    Returns:
        Metrics by key; by the key of an accuracy, which test codes were right, bool; and a
        sentence per metric that was not measured, or without some probe.
    """
    metrics: Metrics = {}
    right: Arrays = {}
    left_out = []
    for name, factor in factors.items():
        if reason := obstacle(factor):
            left_out.append(f"factor/{name} is not measured: {reason}")
            continue
        known = factor.known
        rows = stratified_subset(factor.train, CODES, numpy_rng(seed, f"factor-{name}"))
        metrics[f"factor/{name}/chance"] = probes.majority_rate(factor.test[known])
        for code in ("unspecified", "specified"):
            key = f"factor/{name}/{code}_accuracy"
            found = leakage(
                train[f"{code}_mean"][rows],
                factor.train[rows],
                test[f"{code}_mean"][known],
                factor.test[known],
                factor.value_count,
                seed,
                panel,
                name=key,
            )
            metrics[key], right[key] = found.accuracy, found.correct
            left_out += [f"{key} without {probe} ({why})" for probe, why in found.left_out.items()]
    return metrics, right, left_out


def factor_swap_metrics(
    real: Description, swaps: Description, styles: np.ndarray, factors: Mapping[str, Factor]
) -> tuple[Metrics, Arrays]:
    """Measures how often swaps show the factor's value of the style's source.

    By a classifier of the factor that was trained on real images, beside its accuracy on them.

    Args:
        real: The evaluated images.
        swaps: Swaps between them.
        styles: Positions of the swaps' style sources among the images, int64.
        factors: By the word that stands for each in keys; those without a classifier among the
            descriptions are left out.

    Returns:
        Metrics by key, and by the key of an accuracy, which swaps were right, bool.
    """
    metrics: Metrics = {}
    right: Arrays = {}
    for name, factor in factors.items():
        known = factor.known
        if name not in swaps.factors or not known.any():
            continue
        asked = styles[known[styles]]
        if len(asked):
            key = f"factor/{name}/swap_accuracy"
            right[key] = swaps.factors[name][known[styles]] == factor.test[asked]
            metrics[key] = float(right[key].mean())
        recognised = real.factors[name][known] == factor.test[known]
        metrics[f"factor/{name}/classifier_accuracy"] = float(recognised.mean())
    return metrics, right


def describe_factors(metrics: Metrics) -> list[str]:
    """One sentence per factor that was measured."""
    names = [key.split("/")[1] for key in metrics if re.fullmatch("factor/.+/chance", key)]
    lines = []
    for name in names:
        z, s, chance, shown, real = (
            metrics.get(f"factor/{name}/{what}", np.nan)
            for what in (
                "unspecified_accuracy",
                "specified_accuracy",
                "chance",
                "swap_accuracy",
                "classifier_accuracy",
            )
        )
        lines.append(
            f"{name}: read from z {z:.1%}, from s {s:.1%} (chance {chance:.1%}); shown by "
            f"{shown:.1%} of swaps ({real:.1%} of real images)"
        )
    return lines
