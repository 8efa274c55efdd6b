"""Metrics to matplotlib figures: a table of them, and confusion matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from vaegan.figures.images import DPI

ROW_HEIGHT = 0.27  # inches per row of a table
SHOWN_ABOVE = 0.005  # of a row's images: smaller shares are left blank


def metric_table(
    rows: Sequence[tuple[str, str, float, tuple[float, float] | None]], title: str
) -> Figure:
    """Metrics in groups, each with its value and, where there is one, its interval.

    Args:
        rows: Group, name, value, and the lower and upper end of a 95 % interval or None. Rows of
            one group follow each other.
        title: Above the table.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("a table of metrics needs one row or more")
    figure = Figure(
        figsize=(8.0, 0.9 + ROW_HEIGHT * (len(rows) + 1)), dpi=DPI, layout="constrained"
    )
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots()
    axes.axis("off")
    cells, previous = [], None
    for group, name, value, interval in rows:
        between = "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
        cells.append([group if group != previous else "", name, f"{value:.4f}", between])
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
    """What swaps should show against what the classifier sees in them, as shares of each row.

    Args:
        matrices: By what the style came from, int (K, K), rows: the class asked for.
        class_names: K.
        title: Above the whole figure.

    Raises:
        ValueError: a matrix is not (K, K), or there is none.
    """
    count = len(class_names)
    wrong = {name: m.shape for name, m in matrices.items() if m.shape != (count, count)}
    if wrong or not matrices:
        raise ValueError(f"expected matrices {(count, count)}, got {wrong or 'none'}")
    figure = Figure(figsize=(0.6 + 4.4 * len(matrices), 5.2), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=12)
    for axes, (name, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        right = np.trace(matrix) / max(1, matrix.sum())
        axes.set_title(f"{name}: {right:.2%} as asked", fontsize=10)
        for (row, column), share in np.ndenumerate(shares):
            if share >= SHOWN_ABOVE:
                colour = "white" if share > 0.5 else "black"
                axes.text(
                    column, row, f"{100 * share:.0f}" if share >= 0.995 else f"{100 * share:.1f}",
                    ha="center", va="center", color=colour, fontsize=6.5,
                )  # fmt: skip
        axes.set_xticks(range(count), class_names, fontsize=8)
        axes.set_yticks(range(count), class_names, fontsize=8)
        axes.set_xlabel("class seen by the classifier")
        axes.set_ylabel("class asked for")
    return figure
