"""Swaps that a classifier reads as another class than the one asked for, with their images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vaegan.figures.canvas import COLOURS, class_labels
from vaegan.figures.images import bare_table, cells_for, check_images, plot_cells, table_figure

EXAMPLES = 7  # images of a confusion
ROWS = 10  # confusions
BAR = 2.6  # cells that the longest bar takes
TEXT = 1.7  # cells for the words after a bar


@dataclass(frozen=True)
class Confusion:
    """Swaps of which one class was asked for and another one is read.

    Attributes:
        asked: Name of the class asked for.
        read: Name of the class that the classifier reads.
        count: Swaps.
        share: Of the swaps that ``asked`` was asked for, in [0, 1].
        images: Some of them, float32 (N, C, H, W) in [0, 1], N >= 0.
    """

    asked: str
    read: str
    count: int
    share: float
    images: np.ndarray


def worst_confusions(
    matrix: np.ndarray,
    class_names: Sequence[str],
    images: np.ndarray,
    asked: np.ndarray,
    read: np.ndarray,
) -> list[Confusion]:
    """Finds the pairs of classes that are confused most often, the most frequent first.

    Args:
        matrix: int (K, K); rows: the class asked for, columns: the class read.
        class_names: K names.
        images: float32 (M, C, H, W), some swaps.
        asked: int (M,), the class that was asked for in each.
        read: int (M,), the class that the classifier reads in each.

    Raises:
        ValueError: the matrix is not (K, K).
    """
    count = len(class_names)
    if matrix.shape != (count, count):
        raise ValueError(f"expected a matrix ({count}, {count}), got {matrix.shape}")
    wrong = matrix * (1 - np.eye(count, dtype=matrix.dtype))
    pairs = np.argwhere(wrong)
    order = np.argsort(-wrong[tuple(pairs.T)], kind="stable")[:ROWS]
    return [
        Confusion(
            class_names[a],
            class_names[b],
            int(wrong[a, b]),
            float(wrong[a, b] / matrix[a].sum()),
            images[(asked == a) & (read == b)][:EXAMPLES],
        )
        for a, b in pairs[order].tolist()
    ]


def confusion_figure(confusions: Sequence[Confusion], title: str) -> Figure:
    """Plots a row for each confusion: its name, a bar for its frequency, and images of it.

    Args:
        confusions: In order; without one the figure says that there is none.
        title: Title of the figure.
    """
    if not confusions:
        figure = table_figure(8, 2, np.zeros((1, 1, 1)), title)
        figure.text(0.5, 0.4, "No swap is read as another class.", ha="center", fontsize=12)
        return figure
    shape = confusions[0].images.shape[1:]
    names = [" read as ".join(class_labels([c.asked, c.read])) for c in confusions]
    columns = BAR + TEXT + EXAMPLES
    words = cells_for(max(map(len, names)), columns)
    rows = len(confusions)
    figure = table_figure(columns + words, rows, np.zeros((1, *shape)), title)
    axes = figure.subplots()
    most = max(c.count for c in confusions)
    axes.barh(
        np.arange(rows) + 0.5,
        [BAR * c.count / most for c in confusions],
        0.6,
        color=COLOURS[0],
    )
    for row, confusion in enumerate(confusions):
        end = BAR * confusion.count / most + 0.1
        said = f"{confusion.count}, {100 * confusion.share:.1f} %"
        axes.text(end, row + 0.5, said, va="center", fontsize=9)
        if len(confusion.images):
            check_images("images", confusion.images, (None, *shape))
            plot_cells(axes, confusion.images[np.newaxis], left=BAR + TEXT, top=row)
    bare_table(axes, columns, rows)
    axes.set_yticks(np.arange(rows) + 0.5, names)
    return figure
