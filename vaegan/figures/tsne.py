"""t-SNE of both codes: the embedding, and the figure of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from openTSNE import TSNE
from sklearn.preprocessing import StandardScaler

from vaegan.figures.canvas import COLOURS, MARKERS, NAMED_CLASSES, class_labels, new_figure

OTHERS = "#cccccc"  # colour of classes beyond those that are named
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

    Each of the first 20 classes has a colour and a marker of its own; the others are grey dots.

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
    spaces = {"specified code": specified, "unspecified code": unspecified}
    figure = new_figure(9.2, 4.8, title)
    panels = figure.subplots(1, 2)
    for axes, (name, points) in zip(panels, spaces.items(), strict=True):
        if points is None:
            text = "all images have the same code:\nthere is nothing to embed"
            axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
            points = np.empty((0, 2))
        elif points.shape != (len(labels), 2) or not np.isfinite(points).all():
            raise ValueError(f"{name} must be finite ({len(labels)}, 2), got {points.shape}")
        shown = labels[: len(points)]
        if rest:
            x, y = points[shown >= len(names)].T
            axes.scatter(x, y, s=5, c=OTHERS, linewidths=0, label=f"{rest} others")
        for c, class_name in enumerate(names):
            x, y = points[shown == c].T
            marker = MARKERS[(c + c // 10) % 10]  # the same colours again, on other markers
            dots = axes.scatter(x, y, s=14, c=COLOURS[c % 10], marker=marker, linewidths=0)
            dots.set(alpha=0.6, label=class_name)
        axes.set(xlabel="t-SNE 1 (arbitrary units)", ylabel="t-SNE 2 (arbitrary units)", title=name)
        axes.set_aspect("equal", adjustable="datalim")
    classes = list(panels[0].collections)  # matplotlib itself leaves out names that begin with _
    shown_names = [str(dots.get_label()) for dots in classes]
    heading = f"class ({len(names)} of {len(class_names)})" if rest else "class"
    figure.legend(classes, shown_names, loc="outside right center", markerscale=2, title=heading)
    return figure
