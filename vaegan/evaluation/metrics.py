"""METRICS: every metric that an evaluation writes, with its words, direction and prominence.

The order of the rows is the order of every table. Whoever shows or chooses by metrics reads this
table; no other list of keys exists.

Adding a metric takes a file and a row. For example, the sharpness of reconstructions:

1. ``vaegan/evaluation/sharpness.py`` computes it: arrays or tensors in, a float out.
2. ``image_metrics`` in ``images.py`` (``codes.py`` for a metric of codes) calls it and returns it
   under a key: ``"reconstruction/sharpness": sharpness(generated, real.images)``.
3. A row below says the rest::

       Metric("reconstruction/sharpness", "images", "sharpness / real", "higher", Shown.FIGURE),

A key without a row, or a row without a key, fails ``tests/pipeline/stages/test_evaluate.py``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

Arrays = dict[str, np.ndarray]
Metrics = dict[str, float]

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


class Shown(IntEnum):
    """Where a metric is shown; a place also shows the metrics of all places before it."""

    OVERVIEW = 0  # columns of MLflow's and DVC's tables of runs
    HEADLINE = 1  # first in metrics.json, columns of the comparison of experiments, README
    FIGURE = 2  # the figure of metrics
    FILE = 3  # metrics.json only


@dataclass(frozen=True)
class Metric:
    """One row of METRICS.

    Attributes:
        key: Name in ``reports/metrics.json``. ``<...>`` stands for several names: one row describes
            all keys of such a family.
        group: Heading under which tables show it; rows of one group follow each other.
        words: What it is, below the heading.
        better: The better direction; None if neither is.
        shown: Where it is shown.
        column: Title of its column in tables of runs; headlines need one.
        short: Title where four numbers have to do, as in DVC's tables at 80 columns.
        chooses_champion: Whether ``evaluate.champion_by`` may name it; needs a direction.
        optional: Whether only some data sets give reason to measure it.
        strokes_only: Whether it is measured of strokes only, see ``style.py``.
        beside: A word and the key of the metric whose value is shown beside its own, if there is
            one: an oracle's, or chance.
    """

    key: str
    group: str
    words: str
    better: Literal["higher", "lower"] | None = None
    shown: Shown = Shown.FILE
    column: str = ""
    short: str = ""
    chooses_champion: bool = False
    optional: bool = False
    strokes_only: bool = False
    beside: tuple[str, str] = ("", "")

    def title(self, key: str = "") -> str:
        """Title of a key's column, with an arrow in the better direction."""
        return self._filled(self.column, key) + ARROWS[self.better]

    def words_of(self, key: str, metrics: Metrics) -> str:
        """Words of a key, followed by the value that is shown beside it if there is one."""
        word, other = self.compared_with(key)
        value = metrics.get(other)
        said = "" if value is None else f"; {word} {value:.3f}"
        return self._filled(self.words, key) + said

    def compared_with(self, key: str) -> tuple[str, str]:
        """The word and the key of the metric beside that of ``key``; empty if there is none."""
        word, other = self.beside
        return word, self._filled(other, key)

    def describes(self, key: str) -> bool:
        """Whether a key is this row's or belongs to its family."""
        return self._matched(key) is not None

    def _matched(self, key: str) -> re.Match[str] | None:
        """Matches a key; what ``<...>`` stands for is the first group."""
        return re.fullmatch(re.sub("<[a-z]+>", "(.+)", re.escape(self.key)), key)

    def _filled(self, text: str, key: str) -> str:
        """Replaces ``<...>`` in a text by what it stands for in a key of the family."""
        matched = self._matched(key)
        if matched is None or not matched.groups():
            return text
        return re.sub("<[a-z]+>", lambda _: matched[1], text)


CHANCE = ("chance", "factor/<factor>/chance")
METRICS = (
    Metric("leakage/mean", "class in z", "strongest probe on means",
           "lower", Shown.OVERVIEW, "leakage, means", "leakage", chooses_champion=True),
    Metric("leakage/posterior", "class in z", "strongest probe on mean and log-variance",
           "lower", Shown.HEADLINE, "leakage, mean and variance"),
    Metric("leakage/sampled", "class in z", "strongest probe on samples",
           "lower", Shown.OVERVIEW, "leakage, samples"),
    Metric("leakage/excess", "class in z", "share read on means of what chance leaves", "lower"),
    Metric("leakage/mean_bits", "class in z", "bits on means", "lower", Shown.FIGURE),
    Metric("leakage/mean_selection", "class in z",
           "effect of selecting the probe, in the accuracy on means"),
    Metric("leakage/posterior_bits", "class in z", "bits on mean and log-variance", "lower"),
    Metric("leakage/sampled_bits", "class in z", "bits on samples", "lower"),
    Metric("leakage/unseen", "class in z", "strongest probe fitted on codes of unseen images",
           "lower", Shown.FIGURE),
    Metric("leakage/unseen_bits", "class in z", "bits on codes of unseen images", "lower"),
    Metric("leakage/chance", "class in z", "chance: majority class", shown=Shown.FIGURE),
    Metric("leakage/standard_error", "class in z", "standard error of an accuracy at chance"),
    Metric("leakage/mean_<probe>", "class in z", "each probe of the panel on means", "lower"),
    Metric("specified/probe_accuracy", "class in s", "linear probe",
           "higher", Shown.OVERVIEW, "class in s", "in s"),
    Metric("specified/neighbours_accuracy", "class in s", "nearest neighbours", "higher"),
    Metric("specified/perceptron_accuracy", "class in s", "perceptron", "higher"),
    Metric("specified/retrieval_map", "class in s", "retrieval, mean average precision",
           "higher", Shown.FIGURE),
    Metric("control/permuted", "controls", "permuted labels: expected at chance"),
    Metric("control/label", "controls", "code that is the label: expected at 1"),
    Metric("control/constant", "controls", "constant code: expected at chance"),
    Metric("control/variance_from_mean", "controls", "class in the variance: means, at chance"),
    Metric("control/variance_from_posterior", "controls",
           "class in the variance: mean and log-variance, at 1"),
    Metric("swap/identity_accuracy", "swaps", "show the identity asked for",
           "higher", Shown.OVERVIEW, "swaps", "swaps", chooses_champion=True),
    Metric("swap/prior_identity_accuracy", "swaps", "identity, style from the prior",
           "higher", Shown.HEADLINE, "prior styles"),
    Metric("swap/sampled_identity_accuracy", "swaps", "identity, sampled style",
           "higher", Shown.FIGURE),
    Metric("swap/style_source_rate", "swaps", "show the style source's identity",
           "lower", Shown.FIGURE),
    Metric("swap/sampled_style_source_rate", "swaps",
           "show the style source's identity, sampled style", "lower"),
    Metric("swap/style_kept_slant", "swaps", "slant kept (correlation)",
           "higher", Shown.HEADLINE, "slant kept", strokes_only=True,
           beside=("oracle", "swap/style_oracle_slant")),
    Metric("swap/style_kept_thickness", "swaps", "thickness kept",
           "higher", Shown.HEADLINE, "thickness kept", strokes_only=True,
           beside=("oracle", "swap/style_oracle_thickness")),
    Metric("swap/style_kept_width", "swaps", "width kept",
           "higher", Shown.HEADLINE, "width kept", strokes_only=True,
           beside=("oracle", "swap/style_oracle_width")),
    Metric("swap/style_oracle_<measure>", "swaps",
           "each measure as kept by an oracle, which keeps ranks within classes",
           strokes_only=True),
    Metric("swap/style_kept_<measure>_lowest_cell", "swaps",
           "each measure kept, lowest pair of classes", "higher", strokes_only=True),
    Metric("swap/style_from_identity", "swaps",
           "style of the identity's source (largest |correlation|)", "lower", strokes_only=True),
    Metric("reconstruction/mse", "images", "squared error per pixel",
           "lower", Shown.OVERVIEW, "MSE", "MSE", chooses_champion=True),
    Metric("reconstruction/psnr", "images", "PSNR, dB", "higher", Shown.FIGURE),
    Metric("reconstruction/ssim", "images", "SSIM", "higher", Shown.FIGURE),
    Metric("distance/frechet_swap_prior", "images", "Fréchet distance to real images: prior styles",
           "lower", Shown.FIGURE),
    Metric("distance/frechet_real", "images", "Fréchet distance of two halves of real images",
           shown=Shown.FIGURE),
    Metric("distance/frechet_<set>", "images", "Fréchet distance of other generated images",
           "lower"),
    Metric("distance/kernel_real", "images", "kernel distance of two halves of real images"),
    Metric("distance/kernel_<set>", "images", "kernel distance to real images", "lower"),
    Metric("diversity/prior", "images", "diversity, prior styles / real", shown=Shown.FIGURE),
    Metric("diversity/mean", "images", "diversity, styles of images / real"),
    Metric("diversity/<kind>_lowest_class", "images", "diversity, lowest class"),
    Metric("specified/style_r2", "style in codes", "read from s, largest R²",
           "lower", Shown.HEADLINE, "style in s", strokes_only=True),
    Metric("specified/style_r2_<measure>", "style in codes", "each measure read from s, R²",
           "lower", strokes_only=True),
    Metric("unspecified/style_r2", "style in codes", "read from z, smallest R²",
           "higher", Shown.FIGURE, strokes_only=True),
    Metric("unspecified/style_r2_<measure>", "style in codes", "each measure read from z, R²",
           "higher", strokes_only=True),
    # Known style factors, of data sets that have them.
    Metric("factor/<factor>/unspecified_accuracy", "known style", "<factor> read from z",
           "higher", Shown.HEADLINE, "<factor> in z", beside=CHANCE),
    Metric("factor/<factor>/specified_accuracy", "known style", "<factor> read from s",
           "lower", Shown.HEADLINE, "<factor> in s", beside=CHANCE),
    Metric("factor/<factor>/swap_accuracy", "known style", "swaps show the style's <factor>",
           "higher", Shown.HEADLINE, "<factor> in swaps",
           beside=("real images", "factor/<factor>/classifier_accuracy")),
    Metric("factor/<factor>/chance", "known style", "<factor>: chance, majority value"),
    Metric("factor/<factor>/classifier_accuracy", "known style",
           "<factor>: classifier's accuracy on real images", "higher"),
    # Classes that were held out of the training, of data sets that have them.
    Metric("unseen/identity_accuracy", "unseen classes", "swaps show the identity asked for",
           "higher", Shown.HEADLINE, "unseen swaps",
           beside=("real images", "unseen/classifier_accuracy"), optional=True),
    Metric("unseen/style_source_rate", "unseen classes", "swaps show the style source's identity",
           "lower", Shown.FIGURE, optional=True),
    Metric("unseen/chance", "unseen classes", "chance: majority class", optional=True),
    Metric("unseen/classifier_accuracy", "unseen classes", "accuracy on real images of them",
           "higher", optional=True),
    Metric("unseen/<factor>_swap_accuracy", "unseen classes",
           "swaps show the style's <factor>", "higher"),
    Metric("unseen/<factor>_classifier_accuracy", "unseen classes",
           "<factor>: classifier's accuracy on real images", "higher"),
    Metric("latent/active_units", "rate of z", "active units",
           shown=Shown.HEADLINE, column="active units"),
    Metric("latent/kl", "rate of z", "KL, nats", shown=Shown.HEADLINE, column="KL, nats"),
    Metric("classifier/accuracy", "classifier", "accuracy on real images",
           "higher", Shown.FIGURE),
    Metric("interval/<metric>_low", "intervals", "lower end of a metric's 95 % interval"),
    Metric("interval/<metric>_high", "intervals", "upper end of a metric's 95 % interval"),
)  # fmt: skip

HEADLINES = tuple(metric for metric in METRICS if metric.shown <= Shown.HEADLINE)
FIGURE_METRICS = tuple(metric for metric in METRICS if metric.shown <= Shown.FIGURE)
OVERVIEW_KEYS = tuple(metric.key for metric in METRICS if metric.shown <= Shown.OVERVIEW)
SHORT = {metric.key: metric.short for metric in METRICS if metric.short}
SINGLES = tuple(metric for metric in METRICS if "<" not in metric.key)  # no families
# The metrics by which a champion may be chosen: evaluate.champion_by is one of their keys.
CHAMPION_METRICS = tuple(metric for metric in METRICS if metric.chooses_champion)


def find_metric(key: str) -> Metric | None:
    """Returns the row that describes a key, None if there is none."""
    return next((metric for metric in METRICS if metric.describes(key)), None)


def described_keys(rows: Iterable[Metric], keys: Iterable[str]) -> list[tuple[str, Metric]]:
    """The keys that rows describe, each with its row, in the order of the rows."""
    found = [(key, find_metric(key)) for key in keys]
    return [(key, row) for row in rows for key, its in found if its is row]


def headlines_first(metrics: Metrics) -> Metrics:
    """Orders metrics: headlines in the order of the table, then the rest as they are."""
    return {key: metrics[key] for key, _ in described_keys(HEADLINES, metrics)} | metrics


def shortened(metrics: Metrics) -> Metrics:
    """The four headline numbers by their short titles, to three significant digits."""
    return {short: float(f"{metrics[key]:.3g}") for key, short in SHORT.items() if key in metrics}


def expected_keys(strokes: bool) -> list[str]:
    """Keys of the metrics that every evaluation of strokes, or of pictures, should have."""
    return [
        metric.key
        for metric in SINGLES
        if not metric.optional and (strokes or not metric.strokes_only)
    ]
