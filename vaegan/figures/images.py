"""Arrays to matplotlib figures: drawn here, saved and shown by the caller.

Images are float32 (..., C, H, W) in [0, 1], C = 1 (grey) or 3 (RGB). Every picture of
images is a table of cells one unit wide and high, so that rows and columns line up.
A ``title`` stands above the whole figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

DPI = 100
CELL, TABLE_WIDTH, MIN_WIDTH = 0.6, 8.4, 7.0  # inches: largest cell, all cells, narrowest figure
BORDER, GREY = 1, 0.6  # pixels of frame around each image in its cell, and their value
EDGE = 0.35  # cells between a table and the images that it was made from
CHANCE: dict[str, Any] = {"color": "gray", "linestyle": "--"}
MARKED = 12  # markers along a curve, about

# Paul Tol's "muted" qualitative scheme (personal.sron.nl/~pault), and a dark grey for a tenth.
COLOURS = ["#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255"]
COLOURS += ["#88CCEE", "#117733", "#999933", "#AA4499", "#555555"]
MARKERS = "os^DvPX<*>"


def reconstruction_grid(
    originals: np.ndarray, generated: np.ndarray, columns: int, title: str
) -> Figure:
    """Originals beside what was generated from them: the same images in the same order.

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
        _draw_table(axes, filled.reshape(rows, columns, *images.shape[1:]))
        axes.set_title(name)
    return figure


def swap_grid(identities: np.ndarray, styles: np.ndarray, drawn: np.ndarray, title: str) -> Figure:
    """Identity by column, style by row; the images that lent them stand along the edges.

    Args:
        identities: float32 (I, C, H, W) in [0, 1], along the top edge.
        styles: float32 (R, C, H, W), along the left edge.
        drawn: float32 (R, I, C, H, W), drawn[r, i] with style r and identity i.

    Raises:
        ValueError: shape or range is wrong.
    """
    _check_images("identities", identities, (None,) * 4)
    _check_images("styles", styles, (None, *identities.shape[1:]))
    rows, columns = len(styles), len(identities)
    _check_images("drawn", drawn, (rows, columns, *identities.shape[1:]))
    edge = 1 + EDGE
    figure = _table_figure(columns + edge, rows + edge, identities, title)
    axes = figure.subplots()
    _draw_table(axes, drawn, edge=edge)
    _draw_cells(axes, identities[np.newaxis], top=-edge)
    _draw_cells(axes, styles[:, np.newaxis], left=-edge)
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
    """One image's specified code held fixed while the unspecified one varies.

    Above, one dimension at a time; below, the whole code of other images.

    Args:
        source: float32 (C, H, W) in [0, 1], the image whose specified code is held.
        sweeps: float32 (Z, T, C, H, W), dimension z at position t.
        positions: (T,), in standard deviations of the dimension over the data.
        borrowed_styles: float32 (K, C, H, W), the images that lend their unspecified code.
        borrowed: float32 (K, C, H, W), what is drawn with it.

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
    lent = figure.add_subplot(grid[1, 1], anchor="NW")
    _draw_table(held, source[np.newaxis, np.newaxis])
    _draw_table(swept, sweeps, widest)
    _draw_table(lent, np.stack([borrowed_styles, borrowed]), widest)
    held.set_title("source")
    swept.set_title("source's specified code, one unspecified dimension moved", loc="left")
    lent.set_title("source's specified code, style of another image", loc="left")
    swept.set_xticks(np.arange(columns) + 0.5, [f"{p:g}" for p in positions])
    swept.set_yticks(np.arange(rows) + 0.5, [f"z{z}" for z in range(rows)])
    lent.set_yticks([0.5, 1.5], ["style of", "drawn"])
    swept.set_xlabel("position along the dimension (standard deviations over the data)", loc="left")
    return figure


def embedding(
    specified: np.ndarray,
    unspecified: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """t-SNE of the specified space beside that of the unspecified one, a point per image.

    Each class has a colour and a marker of its own, up to 100 classes.

    Args:
        specified: (N, 2), N >= 1, in units that mean nothing.
        unspecified: (N, 2), of the same images.
        labels: int (N,) in [0, K).
        class_names: K names.

    Raises:
        ValueError: shapes do not agree, or a label has no name.
    """
    if not len(labels) or not set(np.unique(labels)) <= set(range(len(class_names))):
        raise ValueError(f"labels must lie in [0, {len(class_names)}), got {np.unique(labels)}")
    spaces = {"specified code": specified, "unspecified code": unspecified}
    figure = _figure(9.2, 4.8, title)
    panels = figure.subplots(1, 2)
    for axes, (name, points) in zip(panels, spaces.items(), strict=True):
        if points.shape != (len(labels), 2):
            raise ValueError(f"{name} must be ({len(labels)}, 2), got {points.shape}")
        for c, class_name in enumerate(class_names):
            x, y = points[labels == c].T
            marker = MARKERS[(c + c // 10) % 10]  # the same colours again, on other markers
            dots = axes.scatter(x, y, s=14, c=COLOURS[c % 10], marker=marker, linewidths=0)
            dots.set(alpha=0.6, label=class_name)
        axes.set(xlabel="t-SNE 1 (arbitrary units)", ylabel="t-SNE 2 (arbitrary units)", title=name)
        axes.set_aspect("equal", adjustable="datalim")
    classes = panels[0].get_legend_handles_labels()
    ncols = 1 + len(class_names) // 21
    figure.legend(*classes, loc="outside right center", ncols=ncols, markerscale=2, title="class")
    return figure


def adversarial_curves(curves: pd.DataFrame, class_count: int, title: str) -> Figure:
    """The two games over training: losses of either, and how often the adversaries are right.

    Dashed lines are what an adversary scores that knows nothing: log 2 and, of K classes,
    log K and 1 / K.

    Args:
        curves: A row per report, in order, with ``step``, the losses ``discriminator_loss``,
            ``adversarial_loss``, ``adversarial_prior_loss``, ``critic_loss`` and
            ``confusion_loss`` in nats, and ``discriminator_accuracy`` and ``critic_accuracy``
            in [0, 1]. Those of terms that are off may be absent.
        class_count: K, the number of classes that the critic tells apart.

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
    figure = _figure(9.2, 8.0, title)
    images, latents, accuracy = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2.5, 1.5))
    images.axhline(np.log(2), **CHANCE, label="log 2: undecided")
    latents.axhline(np.log(class_count), **CHANCE, label=f"log {class_count}: critic\nat chance")
    accuracy.axhline(1 / class_count, **CHANCE, label="critic at chance")
    _draw_curves(images, curves, image_game, "image game: real or drawn?", "loss (nats)")
    _draw_curves(latents, curves, latent_game, "latent game: which class?", "loss (nats)")
    _draw_curves(accuracy, curves, accuracies, "accuracy of the adversaries", "accuracy")
    accuracy.set(ylim=(-0.03, 1.03), xlabel="step")
    return figure


def reconstruction_curves(curves: pd.DataFrame, title: str) -> Figure:
    """Squared errors of what is drawn, and both codes' divergence from the prior.

    Args:
        curves: A row per report, in order, with ``step``, ``reconstruction_loss`` and
            ``partner_loss`` (squared error of an image, summed over pixels, > 0), and
            ``specified_kl_loss`` and ``unspecified_kl_loss`` in nats. Those of terms that are off
            may be absent.

    Raises:
        ValueError: there is no row, or no ``step``.
    """
    errors = {
        "reconstruction_loss": "from its own\ncodes",
        "partner_loss": "with the partner's\nspecified code",
    }
    divergences = {"specified_kl_loss": "specified", "unspecified_kl_loss": "unspecified"}
    figure = _figure(9.2, 6.0, title)
    above, below = figure.subplots(2, 1, sharex=True)
    above.set_yscale("log")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter("")
    unit = "squared error per image,\nsummed over pixels (log scale)"
    _draw_curves(above, curves, errors, "reconstruction", unit)
    _draw_curves(below, curves, divergences, "KL from the prior", "KL (nats)")
    below.set_xlabel("step")
    return figure


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure


def _table_figure(columns: float, rows: float, images: np.ndarray, title: str) -> Figure:
    """A figure with room for so many cells of these images' proportions."""
    cell = min(CELL, TABLE_WIDTH / columns)
    height = rows * cell * _proportion(images) + 0.9
    return _figure(max(MIN_WIDTH, columns * cell + 0.6), height, title)


def _draw_table(axes: Axes, tiles: np.ndarray, columns: int = 0, edge: float = 0.0) -> None:
    """Tiles (R, K, C, H, W) in bare axes as wide as ``columns`` and with an edge above and left."""
    limits = (-edge, max(columns, tiles.shape[1])), (len(tiles), -edge)
    axes.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[], autoscale_on=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    _draw_cells(axes, tiles)


def _draw_cells(axes: Axes, tiles: np.ndarray, left: float = 0.0, top: float = 0.0) -> None:
    """Tiles (R, K, C, H, W) as one picture, its upper left corner at (left, top)."""
    rows, columns = tiles.shape[:2]
    around = [(0, 0)] * 3 + [(BORDER, BORDER)] * 2
    cells = np.pad(tiles, around, constant_values=GREY)
    height, width = cells.shape[3:]
    picture = cells.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, -1)
    extent = (left, left + columns, top + rows, top)
    shades = picture[..., 0] if picture.shape[2] == 1 else picture
    axes.imshow(shades, "gray", vmin=0.0, vmax=1.0, extent=extent, aspect=_proportion(tiles))


def _proportion(images: np.ndarray) -> float:
    """Height of a cell over its width."""
    return (images.shape[-2] + 2 * BORDER) / (images.shape[-1] + 2 * BORDER)


def _draw_curves(
    axes: Axes, curves: pd.DataFrame, names: Mapping[str, str], title: str, unit: str
) -> None:
    """A line per column of ``names``, each named in a legend to the right of the axes."""
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


def _check_images(name: str, images: np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Refuses images of another shape (None: any length >= 1) or range, or of two channels."""
    fits = images.ndim == len(shape) and all(
        have >= 1 if want is None else have == want
        for have, want in zip(images.shape, shape, strict=True)
    )
    if not fits or images.shape[-3] not in (1, 3):
        wanted = ", ".join("*" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must be ({wanted}) with C = 1 or 3, got {images.shape}")
    if not (images.min() >= 0.0 and images.max() <= 1.0):
        raise ValueError(f"{name} must lie in [0, 1], got [{images.min()}, {images.max()}]")
