"""The table of metrics: each in words, with its interval, its direction and a comparison."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from vaegan.evaluation.metrics import FIGURE_METRICS, Metric, described_keys
from vaegan.figures.canvas import new_figure, plain
from vaegan.figures.numbers import written

ROW_HEIGHT = 0.27  # inches per row of a table
TITLE_LINE = 0.2  # inches per further line of a title
HEADS = {"": 0.13, "metric": 0.34, "value": 0.07, "95 % interval": 0.15, "better": 0.09}
BESIDE = "to compare with"
LEAST_BITS = 0.005  # that are written as a number
DIRECTIONS = {"higher": "↑ higher", "lower": "↓ lower", None: ""}
# Metrics that are shown beside another one, with the words that introduce them.
COMPARED = {
    "leakage/": ("chance", "leakage/chance"),
    "distance/frechet_": ("two halves of real images", "distance/frechet_real"),
}


@dataclass(frozen=True)
class Row:
    """A row of the table of metrics.

    Attributes:
        group: Heading; rows of one group follow each other.
        words: The metric.
        value: With its unit.
        interval: Ends of the 95 % interval; empty if there is none.
        better: The better direction; empty if neither is.
        beside: Numbers to compare the value with.
    """

    group: str
    words: str
    value: str
    interval: str = ""
    better: str = ""
    beside: str = ""


def metric_rows(metrics: Mapping[str, Any], labels: np.ndarray) -> list[Row]:
    """Describes the metrics that the figure shows, in the order of METRICS.

    Bits stand beside the accuracy of the same probe, out of the entropy of the classes: probes may
    find the class more often than by chance and yet know little about it.

    Args:
        metrics: By key, with the intervals' ends.
        labels: Classes of the images that were measured, int (N,).
    """
    shares = np.bincount(labels)[np.unique(labels)] / len(labels)
    entropy = float(-(shares * np.log2(shares)).sum())
    rows = []
    for key, metric in described_keys(FIGURE_METRICS, metrics):
        beside = [other for _, other in COMPARED.values()]
        if key in beside or key.endswith("_bits"):
            continue
        value, between = written(key, float(metrics[key]), interval_of(key, metrics))
        rows.append(
            Row(
                metric.group,
                metric.words_of(key, {}),
                value,
                between,
                DIRECTIONS[metric.better],
                "; ".join(_beside(key, metric, metrics, entropy)),
            )
        )
    return rows


def interval_of(key: str, metrics: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends of a metric's interval, None if it has none."""
    low, high = (metrics.get(f"interval/{key}_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (float(low), float(high))


def _beside(key: str, metric: Metric, metrics: Mapping[str, Any], entropy: float) -> list[str]:
    """Lists what to compare a metric with: chance, an oracle, real images, possible bits."""
    compared = [pair for prefix, pair in COMPARED.items() if key.startswith(prefix)]
    said = [
        f"{words} {written(key, float(metrics[other]))[0]}"
        for words, other in [*compared, metric.compared_with(key)]
        if other in metrics
    ]
    bits = metrics.get(f"{key}_bits")
    if bits is not None and math.isfinite(bits):
        least = f"{bits:.2f}" if bits >= LEAST_BITS else "under 0.01"
        said.append(f"{least} of {entropy:.2f} bits")
    return said


def metric_table(rows: Sequence[Row], title: str) -> Figure:
    """Tabulates metrics in groups.

    Args:
        rows: In order.
        title: Title of the figure.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("a table of metrics needs one row or more")
    height = 0.9 + TITLE_LINE * title.count("\n") + ROW_HEIGHT * (len(rows) + 1)
    figure = new_figure(9.9, height, title)
    axes = figure.subplots()
    axes.axis("off")
    cells, previous = [], None
    for row in rows:
        group = row.group if row.group != previous else ""
        cells.append(
            [group, plain(row.words), row.value, row.interval, row.better, plain(row.beside)]
        )
        previous = row.group
    widths = [*HEADS.values(), 1 - sum(HEADS.values())]
    table = axes.table(
        cells,
        colLabels=[*HEADS, BESIDE],
        colWidths=widths,
        cellLoc="left",
        bbox=Bbox.unit(),
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (number, column), cell in table.get_celld().items():
        cell.set_edgecolor("#cccccc")
        cell.PAD = 0.02 if column != 3 else 0.12
        cell.set_text_props(ha="right" if column == 2 else "left")
        if number == 0 or column in (0, 2):
            cell.set_text_props(weight="bold")
    return figure
