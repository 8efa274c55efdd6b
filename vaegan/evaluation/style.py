"""Style measures of images, and whether style is kept when the identity is swapped.

The three measures are moments of the ink, in the spirit of Morpho-MNIST (Castro et al., 2019,
arXiv 1809.10780), which measures slant in the same way, and thickness and width on skeletons and
bounding boxes. They mean something for grey images of light strokes only.

All are *class-centred* before they are compared: how slanted an image is relative to its class.
Otherwise a style that is independent of the class could not count as kept.
"""

import numpy as np

from vaegan.evaluation.standardise import standardiser

MEASURES = ("slant", "thickness", "width")
RIDGE = 1e-2  # penalty of the ridge regression, per row
FEATURES = 500  # random Fourier features of the regression
TINY = 1e-3
CELL_IMAGES = 20  # of a pair of classes, at least, for a correlation of its own


def measure(images: np.ndarray) -> np.ndarray:
    """Measures slant, thickness and width of the shape in each image.

    With ink-weighted means E over pixels: slant = -E[dx dy] / E[dy^2], the horizontal shear of
    the ink, in pixels per pixel, positive to the right; width = sqrt(E[dx^2] - E[dx dy]^2 /
    E[dy^2]), the horizontal deviation after the shear is removed, in pixels;
    thickness = 2 ink / perimeter, in pixels, the perimeter being the total variation of the image
    (a straight stroke of length L and thickness t has ink L t and perimeter about 2 L).

    Args:
        images: float (N, C, H, W) in [0, 1], light on dark; channels are averaged.

    Returns:
        float64 (N, 3), in the order of ``MEASURES``; an empty image has slant 0.
    """
    ink = np.asarray(images, np.float32).mean(axis=1)
    rows, columns = np.indices(ink.shape[1:], dtype=np.float32)

    def mean(values: np.ndarray) -> np.ndarray:
        """Ink-weighted mean over the pixels of each image, (N,)."""
        return (ink * values).sum(axis=(1, 2)) / total

    total = ink.sum(axis=(1, 2)) + TINY
    dx = columns - mean(columns)[:, None, None]
    dy = rows - mean(rows)[:, None, None]
    xx, yy, xy = mean(dx * dx), mean(dy * dy) + TINY, mean(dx * dy)
    across = np.diff(ink, axis=2)[:, :-1]
    down = np.diff(ink, axis=1)[:, :, :-1]
    perimeter = np.sqrt(across**2 + down**2).sum(axis=(1, 2)) + TINY
    width = np.sqrt(np.maximum(xx - xy**2 / yy, 0.0))
    return np.stack([-xy / yy, 2 * total / perimeter, width], axis=1).astype(np.float64)


def class_means(measures: np.ndarray, labels: np.ndarray, class_count: int) -> np.ndarray:
    """Mean of measures (N, J) over each class, (K, J); NaN for a class without images."""
    counts = np.bincount(labels, minlength=class_count)[:, None]
    sums = np.zeros((class_count, measures.shape[1]))
    np.add.at(sums, labels, measures)
    with np.errstate(invalid="ignore"):
        return sums / counts


def style_kept(
    source: np.ndarray,
    generated: np.ndarray,
    source_labels: np.ndarray,
    generated_labels: np.ndarray,
    class_count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of class-centred style measures between style sources and generated images.

    rho_j = corr(M_j(generated) - m_j(its class), M_j(source) - m_j(its class)), where m_j(y) is the
    mean within each of the two sets: over sources of class y, and over generated images that should
    show y.

    Args:
        source: Measures of the style sources, (N, J).
        generated: Measures of the generated images, (N, J), row i in the style of source i.
        source_labels: int64 (N,) in [0, K).
        generated_labels: int64 (N,), the identities that the generated images should show.
        class_count: K, also if some class does not occur.

    Returns:
        The correlations, (J,), and the correlations within each pair of classes (source,
        generated), (K, K, J): a low or negative cell means that a style changes its meaning there.
        NaN in cells of fewer than 20 images. A measure that does not vary has correlation 0.
    """
    a = source - class_means(source, source_labels, class_count)[source_labels]
    b = generated - class_means(generated, generated_labels, class_count)[generated_labels]
    cells = np.full((class_count, class_count, source.shape[1]), np.nan)
    pair = source_labels * class_count + generated_labels
    for i, j in zip(*np.divmod(_frequent(pair, CELL_IMAGES), class_count), strict=True):
        rows = pair == i * class_count + j
        cells[i, j] = _correlation(a[rows], b[rows])
    return _correlation(a, b), cells


def _frequent(values: np.ndarray, least: int) -> np.ndarray:
    """The values that occur ``least`` times or more, sorted."""
    found, counts = np.unique(values, return_counts=True)
    return np.asarray(found[counts >= least])


def style_oracle(
    measures: np.ndarray,
    rendered: np.ndarray,
    labels: np.ndarray,
    styles: np.ndarray,
    identities: np.ndarray,
    class_count: int,
) -> np.ndarray:
    """Correlation of :func:`style_kept` that an oracle reaches, for comparison with a model's.

    For each measure of each swap, the oracle takes the real image of the requested class whose
    measure has the same rank within its class as the source's has within its own, and renders it
    as the model renders it from its own codes. Below 1 for two reasons: a measure varies more in
    some classes than in others, and rendering adds noise to it. A model that generates images as
    varied as the real ones, from a style that is independent of the class, is not expected to keep
    more; one that makes all classes vary alike could.

    Args:
        measures: Measures of real images, (N, J).
        rendered: Measures of the same images, reconstructed, (N, J).
        labels: Classes of the images, int64 (N,) in [0, K).
        styles: Positions of the style sources among the images, int64 (M,).
        identities: Positions of the identity sources, int64 (M,).
        class_count: K, also if some class does not occur.

    Returns:
        (J,), each in [-1, 1].
    """
    shown = labels[identities]
    sizes = np.bincount(labels, minlength=class_count)
    starts = np.cumsum(sizes) - sizes  # of the classes, in positions sorted by class
    oracle = np.empty((len(styles), measures.shape[1]))
    for j in range(measures.shape[1]):
        order = np.lexsort((measures[:, j], labels))
        place = np.empty(len(labels), np.int64)
        place[order] = np.arange(len(labels))
        rank = (place - starts[labels] + 0.5) / sizes[labels]  # in (0, 1)
        counterpart = order[starts[shown] + (rank[styles] * sizes[shown]).astype(np.int64)]
        oracle[:, j] = rendered[counterpart, j]
    kept, _ = style_kept(measures[styles], oracle, labels[styles], shown, class_count)
    return kept


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.where(scale > 0, (a * b).sum(axis=0) / np.where(scale > 0, scale, 1.0), 0.0)


def readable_style(
    train_codes: np.ndarray,
    train_measures: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_measures: np.ndarray,
    test_labels: np.ndarray,
    class_count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Share of the variance of class-centred style that a code predicts, R^2 = 1 - SSE / SST.

    By ridge regression on random Fourier features, once of the standardised codes and once of codes
    that are class-centred first, which reveals variation that is small compared with the distance
    between classes. The better of both counts, for each measure.

    Args:
        train_codes: float32 (N, D), to fit on.
        train_measures: (N, J).
        train_labels: int64 (N,) in [0, K).
        test_codes: float32 (M, D).
        test_measures: (M, J).
        test_labels: int64 (M,) in [0, K).
        class_count: K, also if some class does not occur.
        rng: Generator of the features.

    Returns:
        (J,), at most 1; 0 or slightly below if the code holds nothing of a measure, and 0 if the
        measure does not vary. NaN if no test code is of a class that training codes are of; other
        test codes are left out, because their class's mean is not known.
    """
    known = np.isin(test_labels, train_labels)
    if not known.any():
        return np.full(train_measures.shape[1], np.nan)
    if not known.all():
        test_codes, test_measures, test_labels = (
            array[known] for array in (test_codes, test_measures, test_labels)
        )
    means = np.nan_to_num(class_means(train_measures, train_labels, class_count))
    target = train_measures - means[train_labels]
    expected = test_measures - means[test_labels]
    centres = np.nan_to_num(class_means(train_codes, train_labels, class_count))
    scores = []
    for train, test in (
        (train_codes, test_codes),
        (train_codes - centres[train_labels], test_codes - centres[test_labels]),
    ):
        standardise = standardiser(train)
        frequencies = rng.normal(0, 1 / np.sqrt(train.shape[1]), (train.shape[1], FEATURES))
        phases = rng.uniform(0, 2 * np.pi, FEATURES)
        x, x_test = (
            np.concatenate([np.cos(c @ frequencies + phases), c, np.ones((len(c), 1))], axis=1)
            for c in (standardise(train), standardise(test))
        )
        penalty = RIDGE * len(x) / 100 * np.eye(x.shape[1])
        weights = np.linalg.solve(x.T @ x + penalty, x.T @ target)
        errors = ((x_test @ weights - expected) ** 2).sum(axis=0)
        total = ((expected - expected.mean(axis=0)) ** 2).sum(axis=0)
        scores.append(np.where(total > 1e-12, 1 - errors / np.maximum(total, 1e-12), 0.0))
    return np.max(scores, axis=0)
