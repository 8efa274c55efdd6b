"""Grids of images: reconstructions, swaps, variations of style.

Images are float32 (..., C, H, W) in [0, 1], C = 1 (grey) or 3 (RGB). A grid is a table of cells one
unit wide and high, so that rows and columns of several grids line up. ``title`` is the title of the
whole figure.
"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaegan.figures.canvas import DPI, new_figure

CELL, TABLE_WIDTH, MIN_WIDTH = 0.6, 8.4, 7.0  # inches: largest cell, all cells, narrowest figure
BORDER, GREY = 1, 0.6  # pixels of frame around each image in its cell, and their value
FINEST = 300  # dots per inch, at most
EDGE = 0.35  # cells between a table and the images that it was generated from


def reconstruction_grid(
    originals: np.ndarray, generated: np.ndarray, columns: int, title: str
) -> Figure:
    """Plots original images beside their reconstructions, in the same order.

    Args:
        originals: float32 (N, C, H, W) in [0, 1], N >= 1, laid out row by row.
        generated: The same shape and range.
        columns: Images per row in either grid, >= 1; the last row may be short.

    Raises:
        ValueError: shape or range is wrong, or columns < 1.
    """
    _check_images("originals", originals, (None,) * 4)
    _check_images("generated", generated, originals.shape)
    if columns < 1:
        raise ValueError(f"columns must be >= 1, got {columns}")
    rows = -(-len(originals) // columns)
    figure = _table_figure(2 * columns + EDGE, rows, originals, title)
    panels = {"original": originals, "generated": generated}
    for axes, (name, images) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        filled = np.full((rows * columns, *images.shape[1:]), GREY, np.float32)
        filled[: len(images)] = images
        _plot_table(axes, filled.reshape(rows, columns, *images.shape[1:]))
        axes.set_title(name)
    return figure


def swap_grid(
    identities: np.ndarray, styles: np.ndarray, generated: np.ndarray, title: str
) -> Figure:
    """Plots swaps, identity by column and style by row, with the source images along the edges.

    Args:
        identities: float32 (I, C, H, W) in [0, 1], along the top edge.
        styles: float32 (R, C, H, W), along the left edge.
        generated: float32 (R, I, C, H, W), generated[r, i] with style r and identity i.

    Raises:
        ValueError: shape or range is wrong.
    """
    _check_images("identities", identities, (None,) * 4)
    _check_images("styles", styles, (None, *identities.shape[1:]))
    rows, columns = len(styles), len(identities)
    _check_images("generated", generated, (rows, columns, *identities.shape[1:]))
    edge = 1 + EDGE
    figure = _table_figure(columns + edge, rows + edge, identities, title)
    axes = figure.subplots()
    _plot_table(axes, generated, edge=edge)
    _plot_cells(axes, identities[np.newaxis], top=-edge)
    _plot_cells(axes, styles[:, np.newaxis], left=-edge)
    axes.axhline(-EDGE / 2, color="black", linewidth=1)
    axes.axvline(-EDGE / 2, color="black", linewidth=1)
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="identity of ...", ylabel="style of ...")
    return figure


def style_variation(
    source: np.ndarray,
    sweeps: np.ndarray,
    positions: np.ndarray,
    borrowed_styles: np.ndarray,
    borrowed: np.ndarray,
    title: str,
) -> Figure:
    """Plots one image's specified code, held fixed while the unspecified code varies.

    Above, one dimension at a time; below, the whole code of other images.

    Args:
        source: float32 (C, H, W) in [0, 1], the image whose specified code is held fixed.
        sweeps: float32 (Z, T, C, H, W), dimension z at position t.
        positions: (T,), in standard deviations of the dimension over the data.
        borrowed_styles: float32 (K, C, H, W), the images whose unspecified code is borrowed.
        borrowed: float32 (K, C, H, W), the images generated with it.

    Raises:
        ValueError: shape or range is wrong.
    """
    _check_images("source", source, (None,) * 3)
    _check_images("sweeps", sweeps, (None, None, *source.shape))
    _check_images("borrowed_styles", borrowed_styles, (None, *source.shape))
    _check_images("borrowed", borrowed, borrowed_styles.shape)
    rows, columns = sweeps.shape[:2]
    if np.shape(positions) != (columns,):
        raise ValueError(f"positions must be ({columns},), got {np.shape(positions)}")
    widest = max(columns, len(borrowed))
    figure = _table_figure(widest + 2, rows + 4, source, title)  # room for text between
    grid = figure.add_gridspec(2, 2, width_ratios=(1, widest), height_ratios=(rows, 2))
    held = figure.add_subplot(grid[0, 0], anchor="N")
    swept = figure.add_subplot(grid[0, 1], anchor="NW")
    whole = figure.add_subplot(grid[1, 1], anchor="NW")
    _plot_table(held, source[np.newaxis, np.newaxis])
    _plot_table(swept, sweeps, widest)
    _plot_table(whole, np.stack([borrowed_styles, borrowed]), widest)
    held.set_title("source")
    swept.set_title("source's specified code, one unspecified dimension moved", loc="left")
    whole.set_title("source's specified code, style of another image", loc="left")
    swept.set_xticks(np.arange(columns) + 0.5, [f"{p:g}" for p in positions])
    swept.set_yticks(np.arange(rows) + 0.5, [f"z{z}" for z in range(rows)])
    whole.set_yticks([0.5, 1.5], ["style of", "generated"])
    swept.set_xlabel("position along the dimension (standard deviations over the data)", loc="left")
    return figure


def _table_figure(columns: float, rows: float, images: np.ndarray, title: str) -> Figure:
    """Creates a figure with room for a number of cells in the proportions of the images.

    Large images get as many dots as they have pixels, as far as that is sensible.
    """
    cell = min(CELL, TABLE_WIDTH / columns)
    height = rows * cell * _proportion(images) + 0.9
    dpi = min(max(DPI, math.ceil((images.shape[-1] + 2 * BORDER) / cell)), FINEST)
    return new_figure(max(MIN_WIDTH, columns * cell + 0.6), height, title, dpi)


def _plot_table(axes: Axes, tiles: np.ndarray, columns: int = 0, edge: float = 0.0) -> None:
    """Plots tiles (R, K, C, H, W) in bare axes, ``columns`` wide, with an edge above and left."""
    limits = (-edge, max(columns, tiles.shape[1])), (len(tiles), -edge)
    axes.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[], autoscale_on=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    _plot_cells(axes, tiles)


def _plot_cells(axes: Axes, tiles: np.ndarray, left: float = 0.0, top: float = 0.0) -> None:
    """Plots tiles (R, K, C, H, W) as one picture with its upper left corner at (left, top)."""
    rows, columns = tiles.shape[:2]
    around = [(0, 0)] * 3 + [(BORDER, BORDER)] * 2
    cells = np.pad(tiles, around, constant_values=GREY)
    height, width = cells.shape[3:]
    picture = cells.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, -1)
    extent = (left, left + columns, top + rows, top)
    shades = picture[..., 0] if picture.shape[2] == 1 else picture
    axes.imshow(shades, "gray", vmin=0.0, vmax=1.0, extent=extent, aspect=_proportion(tiles))


def _proportion(images: np.ndarray) -> float:
    """Ratio of a cell's height to its width."""
    return (images.shape[-2] + 2 * BORDER) / (images.shape[-1] + 2 * BORDER)


def _check_images(name: str, images: np.ndarray, shape: tuple[int | None, ...]) -> None:
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
