"""Tables: metrics with their intervals, and confusion matrices of swaps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from vaegan.figures.canvas import NAMED_CLASSES, class_labels, new_figure, plain

ROW_HEIGHT = 0.27  # inches per row of a table
TITLE_LINE = 0.2  # inches per further line of a title
MATRIX, CHARACTER = 4.0, 0.08  # inches: side of a matrix, width of a character
WRITTEN = 12  # classes of which the shares are written into the matrix, at most
SHOWN_ABOVE = 0.005  # of a row's images; smaller shares are left blank


def metric_table(
    rows: Sequence[tuple[str, str, float, tuple[float, float] | None]], title: str
) -> Figure:
    """Tabulates metrics in groups, each with its value and its interval if it has one.

    Args:
        rows: Group, words, value, and the ends of a 95 % interval or None. Rows of one group follow
            each other.
        title: Title of the figure.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("a table of metrics needs one row or more")
    height = 0.9 + TITLE_LINE * title.count("\n") + ROW_HEIGHT * (len(rows) + 1)
    figure = new_figure(8.0, height, title)
    axes = figure.subplots()
    axes.axis("off")
    cells, previous = [], None
    for group, words, value, interval in rows:
        between = "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
        cells.append([group if group != previous else "", plain(words), f"{value:.4f}", between])
        previous = group
    table = axes.table(
        cells,
        colLabels=["", "metric", "value", "95 % interval"],
        colWidths=[0.18, 0.44, 0.14, 0.24],
        cellLoc="left",
        bbox=Bbox.unit(),
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#cccccc")
        if column == 2:
            cell.set_text_props(ha="right")
        if row == 0 or column == 0:
            cell.set_text_props(weight="bold")
    return figure


def confusion_matrices(
    matrices: Mapping[str, np.ndarray], class_names: Sequence[str], title: str
) -> Figure:
    """Plots which class the classifier predicts for swaps of each class, as shares of each row.

    Of more than 12 classes only the colours are shown; more than 20 are numbered, not named.

    Args:
        matrices: By the source of the style, int (K, K); rows: the class asked for.
        class_names: K names.
        title: Title of the figure.

    Raises:
        ValueError: a matrix is not (K, K), or there is none.
    """
    count = len(class_names)
    wrong = {name: m.shape for name, m in matrices.items() if m.shape != (count, count)}
    if wrong or not matrices:
        raise ValueError(f"expected matrices {(count, count)}, got {wrong or 'none'}")
    named = count <= NAMED_CLASSES
    if not named:
        title += f"\n{count} classes: only {NAMED_CLASSES} or fewer are named"
    height = 5.2 + TITLE_LINE * title.count("\n")
    figure = new_figure(0.6 + 4.4 * len(matrices), height, title)
    for axes, (name, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        right = np.trace(matrix) / max(1, matrix.sum())
        axes.set_title(f"{name}: {right:.2%} as asked", fontsize=10)
        if count <= WRITTEN:
            _write_shares(axes, shares)
        if named:
            _name_classes(axes, class_labels(class_names))
        axes.set_xlabel("class predicted by the classifier")
        axes.set_ylabel("class asked for")
    return figure


def _write_shares(axes: Axes, shares: np.ndarray) -> None:
    """Writes the shares into a matrix."""
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5}
    for (row, column), share in np.ndenumerate(shares):
        if share >= SHOWN_ABOVE:
            text = f"{100 * share:.0f}" if share >= 0.995 else f"{100 * share:.1f}"
            axes.text(column, row, text, color="white" if share > 0.5 else "black", **style)
    for row in np.flatnonzero(shares.sum(axis=1) == 0).tolist():
        axes.text((len(shares) - 1) / 2, row, "none asked for", color="gray", **style)


def _name_classes(axes: Axes, labels: list[str]) -> None:
    """Writes the classes' names on the edges of a matrix, upright if they are long."""
    count = len(labels)
    room = MATRIX / count / CHARACTER
    axes.set_xticks(range(count), labels, fontsize=8, rotation=90 * (max(map(len, labels)) > room))
    axes.set_yticks(range(count), labels, fontsize=8)
