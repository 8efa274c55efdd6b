"""Directions of style: what each one changes, and the figure of images moved along them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vaegan.figures.canvas import plain, shorten
from vaegan.figures.images import (
    bare_table,
    cells_for,
    check_images,
    plot_cells,
    table_figure,
)

NAMED_FROM = 0.2  # share of a property's variance along a direction, from which it names it
SECOND = 0.5  # of the first property's share, from which a second one is named too
PANELS = 2  # of style_variation, across
SOURCE = 1.25  # cells beside a panel, for its source image
AND = " and "


@dataclass(frozen=True)
class Property:
    """A property of style that is known of images.

    Attributes:
        name: For people.
        values: float (N,), or int (N,) if the values are categories.
    """

    name: str
    values: np.ndarray

    def share(self, places: np.ndarray) -> tuple[float, float]:
        """Share of the variance of places along a direction that goes with this property.

        Of numbers the squared correlation, of categories the adjusted correlation ratio
        1 - (1 - eta^2) (N - 1) / (N - V).

        Args:
            places: float (N,).

        Returns:
            The share, at most 1, and the sign of the correlation; 1 for categories.
        """
        centred = places - places.mean()
        total = float(centred @ centred)
        if total == 0 or len(np.unique(self.values)) < 2:
            return 0.0, 1.0
        if np.issubdtype(self.values.dtype, np.integer):
            _, values, counts = np.unique(self.values, return_inverse=True, return_counts=True)
            free = len(places) - len(counts)
            if free < 1:
                return 0.0, 1.0
            means = np.bincount(values, centred) / counts
            within = 1 - float(counts @ means**2) / total
            return 1 - within * (len(places) - 1) / free, 1.0
        other = self.values - self.values.mean()
        correlation = float(centred @ other) / np.sqrt(total * float(other @ other))
        return correlation**2, 1.0 if correlation >= 0 else -1.0


@dataclass(frozen=True)
class Direction:
    """A direction of style.

    Attributes:
        place: Among the directions that it was chosen from.
        name: One or two properties, or "direction k".
        sign: By which it has to be multiplied for the first property to rise along it.
    """

    place: int
    name: str
    sign: float


def choose_directions(
    places: np.ndarray, properties: Sequence[Property], count: int
) -> list[Direction]:
    """Chooses directions, those that can be named first, and names them by what changes along them.

    Args:
        places: float (N, A), where N images lie along A directions, the most important first.
        properties: Known of these images.
        count: Directions to choose, at most.

    Returns:
        The named ones and then the others, either in the order of ``places``.
    """
    named, others = [], []
    for k, along in enumerate(places.T):
        shares = [(*known.share(along), shorten(known.name)) for known in properties]
        shares.sort(key=lambda found: -found[0])
        found = [name for share, _, name in shares if share >= NAMED_FROM]
        if not found:
            others.append(Direction(k, f"direction {k + 1}", 1.0))
            continue
        both = len(found) > 1 and shares[1][0] >= SECOND * shares[0][0]
        named.append(Direction(k, AND.join(found[: 1 + both]), shares[0][1]))
    return (named + others)[:count]


def style_variation(
    sources: np.ndarray,
    sweeps: np.ndarray,
    names: Sequence[str],
    positions: np.ndarray,
    title: str,
) -> Figure:
    """Plots images moved along directions of style, a panel per image, a row per direction.

    Args:
        sources: float32 (M, C, H, W) in [0, 1], the images whose identity is held fixed.
        sweeps: float32 (M, A, T, C, H, W), image m at position t of direction a.
        names: Of the directions, A of them.
        positions: (T,), in standard deviations along the direction over the data.
        title: Title of the figure.

    Raises:
        ValueError: shape or range is wrong.
    """
    check_images("sources", sources, (None,) * 4)
    check_images("sweeps", sweeps, (len(sources), None, None, *sources.shape[1:]))
    rows, columns = sweeps.shape[1:3]
    if np.shape(positions) != (columns,) or len(names) != rows:
        raise ValueError(
            f"expected {columns} positions and {rows} names, got {np.shape(positions)} and "
            f"{len(names)}"
        )
    across = min(PANELS, len(sources))
    down = -(-len(sources) // across)
    labels = [plain(name).replace(AND, f"\n{AND[1:]}") for name in names]
    longest = max(len(line) for label in labels for line in label.splitlines())
    width = across * (columns + SOURCE)
    figure = table_figure(width + cells_for(longest, width), down * (rows + 0.6), sources, title)
    for panel, (source, sweep) in enumerate(zip(sources, sweeps, strict=True)):
        axes = figure.add_subplot(down, across, panel + 1)
        bare_table(axes, columns, rows, 0)
        axes.set(xlim=(-SOURCE, columns))
        plot_cells(axes, source[np.newaxis, np.newaxis], left=-SOURCE)
        plot_cells(axes, sweep)
        first, last = panel % across == 0, panel + across >= len(sources)
        axes.set_yticks(np.arange(rows) + 0.5, labels if first else [""] * rows)
        ends = {0, columns // 2, columns - 1} if last else set()
        ticks = [f"{p:+.2g}" if t in ends else "" for t, p in enumerate(positions)]
        axes.set_xticks(np.arange(columns) + 0.5, ticks)
    return figure
