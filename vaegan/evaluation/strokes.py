"""Metrics of the style of strokes: kept by swaps, kept by an oracle, and read from codes."""

import numpy as np

from vaegan.evaluation import style
from vaegan.evaluation.metrics import Arrays, Metrics
from vaegan.rng import numpy_rng


def stroke_metrics(
    codes: Arrays,
    real: np.ndarray,
    rendered: np.ndarray,
    swapped: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    class_count: int,
    seed: int,
) -> Metrics:
    """Measures how far swaps keep the style of strokes, and what codes tell of it.

    Args:
        codes: Codes of N real images by name, and ``labels``.
        real: Style measures of these images, (N, J).
        rendered: Those of their reconstructions, (N, J).
        swapped: Those of M swaps, (M, J).
        pairs: Positions of the swaps' identity and style sources, int64 (M,) each.
        class_count: Number of classes, also if some do not occur.
        seed: Seed of the regressions.
    """
    labels = codes["labels"]
    return (
        _kept(real, swapped, labels, pairs, class_count)
        | _readable(codes, real, class_count, seed)
        | _oracle(real, rendered, labels, pairs, class_count)
    )


def _kept(
    real: np.ndarray,
    swapped: np.ndarray,
    labels: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    class_count: int,
) -> Metrics:
    """Correlation of the style of swaps with their style sources and their identity sources."""
    identities, styles = pairs
    expected = labels[identities]
    kept, cells = style.style_kept(real[styles], swapped, labels[styles], expected, class_count)
    from_identity, _ = style.style_kept(real[identities], swapped, expected, expected, class_count)
    metrics = {
        f"swap/style_kept_{name}": float(value)
        for name, value in zip(style.MEASURES, kept, strict=True)
    }
    if not np.isnan(cells).all():
        metrics |= {
            f"swap/style_kept_{name}_lowest_cell": float(np.nanmin(cells[..., j]))
            for j, name in enumerate(style.MEASURES)
        }
    # Style that comes from the identity source instead: |correlation| with its measures.
    return metrics | {"swap/style_from_identity": float(np.abs(from_identity).max())}


def _readable(codes: Arrays, real: np.ndarray, class_count: int, seed: int) -> Metrics:
    """R^2 of class-centred style from each code: fitted on half of the images, tested on half."""
    half = numpy_rng(seed, "style-halves").permutation(len(real)) % 2 == 0
    labels = codes["labels"]
    metrics = {}
    for name in ("specified", "unspecified"):
        code = codes[f"{name}_mean"]
        scores = style.readable_style(
            code[half], real[half], labels[half],
            code[~half], real[~half], labels[~half],
            class_count,
            numpy_rng(seed, f"style-of-{name}"),
        )  # fmt: skip
        worst = scores.max() if name == "specified" else scores.min()
        metrics[f"{name}/style_r2"] = float(worst)
        metrics |= {
            f"{name}/style_r2_{measure}": float(value)
            for measure, value in zip(style.MEASURES, scores, strict=True)
        }
    return metrics


def _oracle(
    real: np.ndarray,
    rendered: np.ndarray,
    labels: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    class_count: int,
) -> Metrics:
    """Style kept by an oracle in the same swaps, see :func:`style.style_oracle`."""
    identities, styles = pairs
    kept = style.style_oracle(real, rendered, labels, styles, identities, class_count)
    return {
        f"swap/style_oracle_{name}": float(value)
        for name, value in zip(style.MEASURES, kept, strict=True)
    }
