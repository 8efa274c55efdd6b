"""Grids of images: reconstructions, swaps, variations of style.

Images are float32 (..., C, H, W) in [0, 1], C = 1 (grey) or 3 (RGB). A grid is a table of cells one
unit wide and high, so that rows and columns of several grids line up. ``title`` is the title of the
whole figure.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaegan.figures.canvas import DPI, MISREAD, class_labels, new_figure, plain

CELL, TABLE_WIDTH, MIN_WIDTH = 0.76, 8.9, 7.0  # inches: largest cell, all cells, narrowest figure
BORDER, GREY = 1, 0.6  # pixels of frame around each image in its cell, and their value
FINEST = 300  # dots per inch, at most
EDGE = 0.35  # cells between a table and the images that it was generated from
COPY = "generated"
PAIR = 0.15  # cells between two pairs
CHARACTER, LINE = 0.085, 0.17  # inches: a character of a label, and a line
BOLD = 0.095  # inches: a bold character
LABEL: dict[str, Any] = {"fontsize": 9, "color": "white", "fontweight": "bold"}
LABEL["bbox"] = {"facecolor": MISREAD, "edgecolor": "none", "boxstyle": "square,pad=0.1"}


def reconstruction_grid(
    originals: np.ndarray, generated: np.ndarray, columns: int, title: str
) -> Figure:
    """Plots each original image above its reconstruction.

    Args:
        originals: float32 (N, C, H, W) in [0, 1], N >= 1, laid out row by row.
        generated: The same shape and range.
        columns: Pairs per row, >= 1; the last row may be short.

    Raises:
        ValueError: shape or range is wrong, or columns < 1.
    """
    check_images("originals", originals, (None,) * 4)
    check_images("generated", generated, originals.shape)
    if columns < 1:
        raise ValueError(f"columns must be >= 1, got {columns}")
    columns = min(columns, len(originals))
    rows = -(-len(originals) // columns)
    height = rows * (2 + PAIR) - PAIR
    figure = table_figure(columns + cells_for(len(COPY) + 1, columns), height, originals, title)
    axes = figure.subplots()
    bare_table(axes, columns, height)
    for row in range(rows):
        part = slice(row * columns, (row + 1) * columns)
        plot_cells(axes, np.stack([originals[part], generated[part]]), top=row * (2 + PAIR))
    axes.set_yticks([0.5, 1.5], ["original", COPY], fontsize=10)
    return figure


def swap_grid(
    identities: np.ndarray,
    styles: np.ndarray,
    generated: np.ndarray,
    names: Sequence[str],
    misread: Mapping[tuple[int, int], str],
    title: str,
) -> Figure:
    """Plots swaps, identity by column and style by row, with the source images along the edges.

    Args:
        identities: float32 (I, C, H, W) in [0, 1], along the top edge.
        styles: float32 (R, C, H, W), along the left edge.
        generated: float32 (R, I, C, H, W), generated[r, i] with style r and identity i.
        names: Of the class of each identity, I of them.
        misread: By row and column, the class that a classifier reads in a generated image where it
            is not the identity's: these are framed, and named.
        title: Title of the figure.

    Raises:
        ValueError: shape or range is wrong.
    """
    check_images("identities", identities, (None,) * 4)
    check_images("styles", styles, (None, *identities.shape[1:]))
    rows, columns = len(styles), len(identities)
    check_images("generated", generated, (rows, columns, *identities.shape[1:]))
    if len(names) != columns:
        raise ValueError(f"expected {columns} names, got {len(names)}")
    edge = 1 + EDGE
    labels = class_labels(names)
    longest = max(map(len, labels))
    cell = min(CELL, TABLE_WIDTH / (columns + edge))
    upright = longest * CHARACTER > cell
    room = 2 * LINE + (longest * CHARACTER if upright else LINE)
    figure = table_figure(columns + edge, rows + edge, identities, title, room)
    axes = figure.subplots()
    bare_table(axes, columns, rows, edge)
    plot_cells(axes, generated)
    plot_cells(axes, identities[np.newaxis], top=-edge)
    plot_cells(axes, styles[:, np.newaxis], left=-edge)
    axes.axhline(-EDGE / 2, color="gray", linewidth=1)
    axes.axvline(-EDGE / 2, color="gray", linewidth=1)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(np.arange(columns) + 0.5, labels, fontsize=10, rotation=90 * upright)
    axes.set(xlabel="identity of ...", ylabel="style of ...")
    for (row, column), name in misread.items():
        frame(axes, row, column)
        label = plain(cut_to_tell_apart(name, names[column], int(cell / BOLD)))
        axes.text(column + 0.05, row + 0.95, label, ha="left", va="bottom", **LABEL)
    return figure


def table_figure(
    columns: float, rows: float, images: np.ndarray, title: str, room: float = 0.0
) -> Figure:
    """Creates a figure with room for a number of cells in the proportions of the images.

    Large images get as many dots as they have pixels, as far as that is sensible.

    Args:
        columns: Cells across.
        rows: Cells down.
        images: Of the shape that the cells show.
        title: Title of the figure.
        room: Further inches of height.
    """
    cell = min(CELL, TABLE_WIDTH / columns)
    height = rows * cell * _proportion(images) + 0.7 + 0.2 * title.count("\n") + room
    dpi = min(max(DPI, math.ceil((images.shape[-1] + 2 * BORDER) / cell)), FINEST)
    return new_figure(max(MIN_WIDTH, columns * cell + 0.6), height, title, dpi)


def cells_for(text: int, columns: float) -> float:
    """Cells that a label of some characters takes beside a table of ``columns`` cells."""
    inches = text * CHARACTER
    return inches / min(CELL, (TABLE_WIDTH - inches) / columns)


def bare_table(axes: Axes, columns: float, rows: float, edge: float = 0.0) -> None:
    """Prepares axes for cells, without lines and ticks, with an edge above and to the left."""
    axes.set(xlim=(-edge, columns), ylim=(rows, -edge), xticks=[], yticks=[], autoscale_on=False)
    axes.set_anchor("SE")  # where cells leave room, it is for the labels above and to the left
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=10)


def plot_cells(axes: Axes, tiles: np.ndarray, left: float = 0.0, top: float = 0.0) -> None:
    """Plots tiles (R, K, C, H, W) as one picture with its upper left corner at (left, top)."""
    rows, columns = tiles.shape[:2]
    around = [(0, 0)] * 3 + [(BORDER, BORDER)] * 2
    cells = np.pad(tiles, around, constant_values=GREY)
    height, width = cells.shape[3:]
    picture = cells.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, -1)
    extent = (left, left + columns, top + rows, top)
    shades = picture[..., 0] if picture.shape[2] == 1 else picture
    axes.imshow(shades, "gray", vmin=0.0, vmax=1.0, extent=extent, aspect=_proportion(tiles))


def cut_to_tell_apart(name: str, other: str, room: int) -> str:
    """Cuts a name to ``room`` characters, at its start if it begins as ``other`` does."""
    if len(name) <= room:
        return name
    kept = room - 1
    return f"…{name[-kept:]}" if name[:kept] == other[:kept] else f"{name[:kept]}…"


def frame(axes: Axes, row: float, column: float) -> None:
    """Frames a cell."""
    line = Rectangle((column, row), 1, 1, fill=False, edgecolor=MISREAD, linewidth=3, zorder=3)
    axes.add_patch(line)


def _proportion(images: np.ndarray) -> float:
    """Ratio of a cell's height to its width."""
    return (images.shape[-2] + 2 * BORDER) / (images.shape[-1] + 2 * BORDER)


def check_images(name: str, images: np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Raises ValueError unless images have the shape (None: any length >= 1), C and range."""
    fits = images.ndim == len(shape) and all(
        have >= 1 if want is None else have == want
        for have, want in zip(images.shape, shape, strict=True)
    )
    if not fits or images.shape[-3] not in (1, 3):
        wanted = ", ".join("*" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must be ({wanted}) with C = 1 or 3, got {images.shape}")
    if not (images.min() >= 0.0 and images.max() <= 1.0):
        raise ValueError(f"{name} must lie in [0, 1], got [{images.min()}, {images.max()}]")
