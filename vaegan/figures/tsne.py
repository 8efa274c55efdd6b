"""t-SNE of both codes: the embedding, and the figure of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from openTSNE import TSNE
from sklearn.preprocessing import StandardScaler

from vaegan.figures.canvas import COLOURS, NAMED_CLASSES, class_labels, new_figure

OTHERS = "#cccccc"  # colour of classes beyond those that are named
GATHERED = 0.5  # median distance of a cluster's points from its centre, relative to all points'
FEWEST = 5  # points of a class, from which it can be said to gather
LETTER, LINE = 0.024, 0.05  # size of a name's character and line, relative to the panel's side
ROUNDS = 400  # in which names move apart, at most
SHAPES = "o^"  # of the first and of the second ten classes
MIXED = "no class gathers: the classes mix"
CONSTANT = 1e-6  # relative deviation of a dimension that differs by rounding only


def tsne(codes: np.ndarray, perplexity: float, seed: int, threads: int = 1) -> np.ndarray | None:
    """Embeds standardised codes in two dimensions (van der Maaten & Hinton, JMLR 2008).

    With openTSNE's defaults, which cap the perplexity at (N - 1) / 3.

    Args:
        codes: float (N, D), N >= 2.
        perplexity: Effective number of neighbours of a point.
        seed: Seed of the embedding, in [0, 2**32).
        threads: CPU threads.

    Returns:
        float32 (N, 2), in arbitrary units; equal arguments give equal bits. None if all codes are
        the same up to rounding, so that there is nothing to embed.
    """
    mean, std = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    if not (std > CONSTANT * np.maximum(CONSTANT, np.abs(mean))).any():
        return None
    if codes.shape[1] == 1:  # the initial layout takes two principal components
        codes = np.hstack([codes, np.zeros_like(codes)])
    embed = TSNE(perplexity=perplexity, n_jobs=threads, random_state=seed)
    return np.asarray(embed.fit(StandardScaler().fit_transform(codes)), dtype=np.float32)


def embedding_figure(
    specified: np.ndarray | None,
    unspecified: np.ndarray | None,
    labels: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Plots the embedding of the specified code beside that of the unspecified, a point per image.

    Each of the first 20 classes has a look of its own, the others are grey. A class's name stands
    on its points where they gather; a legend names classes that gather in neither panel.

    Args:
        specified: (N, 2), N >= 1, in arbitrary units; None if all codes are the same, which the
            figure says instead.
        unspecified: (N, 2), of the same images, or None.
        labels: int (N,) in [0, K).
        class_names: K names.
        title: Title of the figure.

    Raises:
        ValueError: shapes do not agree, a point is not finite, or a label has no name.
    """
    if not len(labels) or not set(np.unique(labels)) <= set(range(len(class_names))):
        raise ValueError(f"labels must lie in [0, {len(class_names)}), got {np.unique(labels)}")
    names = class_labels(class_names[:NAMED_CLASSES])
    rest = len(class_names) - len(names)
    if rest:
        title += f"\n{len(names)} of {len(class_names)} classes are coloured, the others are grey"
    spaces = {"specified code": specified, "unspecified code": unspecified}
    figure = new_figure(9.4, 5.1, title)
    panels = figure.subplots(1, 2)
    named: set[int] = set()
    for axes, (name, points) in zip(panels, spaces.items(), strict=True):
        axes.set(title=name, xticks=[], yticks=[])
        if points is None:
            text = "all images have the same code:\nthere is nothing to embed"
            axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
            continue
        if points.shape != (len(labels), 2) or not np.isfinite(points).all():
            raise ValueError(f"{name} must be finite ({len(labels)}, 2), got {points.shape}")
        _scatter(axes, points, labels, names, rest)
        gathered = gathering_classes(points, labels, len(names))
        _name_clusters(axes, points, labels, {c: names[c] for c in gathered})
        if not gathered:
            axes.text(0.5, 0.015, MIXED, ha="center", fontsize=10, transform=axes.transAxes)
        named |= set(gathered)
    if missing := sorted(set(range(len(names))) & set(labels.tolist()) - named):
        dots = list(panels[0].collections or panels[1].collections)
        shown = [dots[c + (rest > 0)] for c in missing if dots]
        if shown:
            words = [str(dot.get_label()) for dot in shown]
            figure.legend(shown, words, loc="outside right center", markerscale=2, title="class")
    return figure


def gathering_classes(points: np.ndarray, labels: np.ndarray, count: int) -> list[int]:
    """Lists the classes whose points lie together, compared with all points.

    The median distance of their points from their median is less than half of that of all points
    from the median of all. A class of few points is not said to gather.

    Args:
        points: (N, 2).
        labels: int (N,).
        count: Of the classes that are looked at, from 0.
    """

    def extent(some: np.ndarray) -> float:
        return float(np.median(np.linalg.norm(some - np.median(some, axis=0), axis=1)))

    whole = extent(points)
    sizes = np.bincount(labels, minlength=count)
    told = [c for c in range(count) if sizes[c] >= FEWEST]
    return [c for c in told if extent(points[labels == c]) < GATHERED * whole]


def _scatter(
    axes: Axes, points: np.ndarray, labels: np.ndarray, names: Sequence[str], rest: int
) -> None:
    """Plots the points of the classes, each in its colour, those without a name in grey."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = 0.56 * max(1e-9, float(np.ptp(points, axis=0).max()))
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.set_aspect("equal")
    if rest:
        x, y = points[labels >= len(names)].T
        axes.scatter(x, y, s=5, c=OTHERS, linewidths=0, label=f"{rest} others")
    for c, class_name in enumerate(names):
        x, y = points[labels == c].T
        dots = axes.scatter(x, y, s=12, c=COLOURS[c % 10], marker=SHAPES[c // 10], linewidths=0)
        dots.set(alpha=0.6, label=class_name)


def _name_clusters(
    axes: Axes, points: np.ndarray, labels: np.ndarray, names: dict[int, str]
) -> None:
    """Writes names on the medians of their classes' points, moved apart where they overlap."""
    if not names:
        return
    side = float(np.diff(axes.get_xlim())[0])
    centres = np.stack([np.median(points[labels == c], axis=0) for c in names])
    sizes = np.array([[LETTER * len(name) + 0.01, LINE] for name in names.values()]) * side
    places = spread_apart(centres, sizes)
    halo = [withStroke(linewidth=3, foreground="white")]
    for (c, name), (x, y) in zip(names.items(), places, strict=True):
        text = axes.text(x, y, name, ha="center", va="center", fontsize=12, fontweight="bold")
        text.set(color="black", path_effects=halo, gid=f"class {c}")


def spread_apart(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Moves boxes until none overlap, as far as rounds allow; centres and sizes are (N, 2)."""
    places = centres.astype(np.float64).copy()
    for _ in range(ROUNDS):
        moved = False
        for i in range(len(places)):
            for j in range(i):
                apart = places[i] - places[j]
                lack = (sizes[i] + sizes[j]) / 2 - np.abs(apart)
                if (lack > 0).all():
                    axis = int(lack[1] <= lack[0])  # the shorter way
                    sign = 1.0 if apart[axis] >= 0 else -1.0
                    places[i, axis] += 0.51 * sign * lack[axis]
                    places[j, axis] -= 0.51 * sign * lack[axis]
                    moved = True
        if not moved:
            break
    return places
