"""The style measures, on strokes whose slant, thickness and width are known."""

import numpy as np
import pytest

from vaegan.evaluation.style import (
    class_means,
    measure,
    readable_style,
    style_kept,
    style_oracle,
)


def stroke(slant: float = 0.0, thickness: float = 4.0, length: float = 20.0) -> np.ndarray:
    """(1, 28, 28): a straight stroke, its edges antialiased."""
    y, x = np.mgrid[:28, :28] - 13.5
    across = np.abs(x + slant * y)
    ink = np.clip(thickness / 2 - across + 0.5, 0, 1) * np.clip(length / 2 - np.abs(y) + 0.5, 0, 1)
    return ink[None]


def test_slant_is_the_shear_and_positive_to_the_right():
    images = np.stack([stroke(slant) for slant in (-0.3, 0.0, 0.3)])
    np.testing.assert_allclose(measure(images)[:, 0], [-0.3, 0.0, 0.3], atol=0.02)
    flipped = measure(images[..., ::-1])[:, 0]
    np.testing.assert_allclose(flipped, [0.3, 0.0, -0.3], atol=0.02)


def test_thickness_is_that_of_a_stroke_in_pixels():
    images = np.stack([stroke(thickness=t, length=24) for t in (2.0, 3.0, 5.0)])
    # The two ends belong to the perimeter: t L / (L + t) rather than t.
    expected = [t * 24 / (24 + t) for t in (2.0, 3.0, 5.0)]
    np.testing.assert_allclose(measure(images)[:, 1], expected, rtol=0.1)
    # Fainter ink is not thinner ink.
    np.testing.assert_allclose(measure(images)[:, 1], measure(0.5 * images)[:, 1], rtol=0.01)


def test_width_is_measured_after_removing_the_slant():
    upright, slanted = (measure(stroke(slant, thickness=6.0)[None])[0] for slant in (0.0, 0.3))
    assert upright[2] == pytest.approx(6.0 / np.sqrt(12), rel=0.1)  # of a uniform distribution
    assert slanted[2] == pytest.approx(upright[2], rel=0.05)


def test_an_empty_image_is_measured_without_an_error():
    assert np.isfinite(measure(np.zeros((1, 1, 28, 28)))).all()


def test_class_means_equal_hand_computed_values():
    means = class_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 2]), 3)
    assert means[[0, 2], 0].tolist() == [2.0, 5.0]
    assert np.isnan(means[1, 0])


def styled(rng, keep: float):
    """Sources, and images in the same style but for noise, under another class's mean."""
    labels, shown = rng.integers(3, size=3000), rng.integers(3, size=3000)
    style, other = rng.standard_normal((2, 3000, 1))
    offsets = np.array([[0.0], [5.0], [-4.0]])
    result = keep * style + np.sqrt(1 - keep**2) * other
    return offsets[labels] + style, offsets[shown] + result, labels, shown


@pytest.mark.parametrize("keep", [0.0, 0.6, 1.0])
def test_style_is_kept_as_far_as_it_correlates_within_classes(keep):
    kept, cells = style_kept(*styled(np.random.default_rng(0), keep), 3)
    assert kept[0] == pytest.approx(keep, abs=0.05)  # not the classes' means, which differ widely
    np.testing.assert_allclose(cells[..., 0], keep, atol=0.25)


def test_a_style_reversed_in_one_class_lowers_its_cell():
    source, result, labels, shown = styled(np.random.default_rng(0), 1.0)
    centre = np.array([[0.0], [5.0], [-4.0]])[shown]
    result = np.where((shown == 2)[:, None], 2 * centre - result, result)
    _, cells = style_kept(source, result, labels, shown, 3)
    assert cells[0, 1, 0] > 0.9
    assert cells[0, 2, 0] < -0.9


def test_rare_pairs_of_classes_have_no_cell():
    _, cells = style_kept(
        np.ones((30, 1)), np.ones((30, 1)), np.repeat([0, 1], 15), np.ones(30, np.int64), 3
    )
    assert np.isnan(cells).all()
    assert cells.shape == (3, 3, 1)  # the third class does not occur


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1.0, 1.0), (1e-3, 1.0), (0.0, 0.0)],
    ids=["plain", "in small numbers beside the class", "not at all"],
)
def test_style_is_read_from_a_code_that_contains_it(scale, expected):
    rng = np.random.default_rng(0)

    def part(count):
        labels = rng.integers(3, size=count)
        style = rng.standard_normal((count, 1))
        codes = 10.0 * np.eye(3)[labels]
        codes[:, :1] += scale * style
        return codes.astype(np.float32), 3.0 * labels[:, None] + style, labels

    score = readable_style(*part(2000), *part(1000), 4, rng)
    assert score[0] == pytest.approx(expected, abs=0.1)


def test_a_measure_that_does_not_vary_is_not_read_from_anything():
    codes, labels = np.random.default_rng(0).standard_normal((60, 2)), np.arange(60) % 2
    half = codes[:30].astype(np.float32), np.full((30, 1), 0.3), labels[:30]
    assert readable_style(*half, *half, 2, np.random.default_rng(0)).tolist() == [0.0]


def swapped_between_two_classes(spread: float, noise: float) -> float:
    """What it keeps of two classes whose deviations are 1 and ``spread``, rendered with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    measures = rng.standard_normal((4000, 1)) * np.where(labels, spread, 1.0)[:, None]
    rendered = measures + noise * rng.standard_normal((4000, 1))
    styles = rng.permutation(4000)
    identities = np.where(labels[styles] == 0, 1, 0)  # of the other class
    return style_oracle(measures, rendered, labels, styles, identities, 3)[0]


def test_an_oracle_keeps_all_style_of_classes_that_vary_alike():
    assert swapped_between_two_classes(1.0, 0.0) == pytest.approx(1, abs=0.01)


def test_the_oracle_keeps_less_where_classes_vary_differently():
    # corr = E[s t] / sqrt(E[s^2] E[t^2]), of pairs (s, t) of deviations (1, 3) and (3, 1).
    assert swapped_between_two_classes(3.0, 0.0) == pytest.approx(3 / 5, abs=0.02)


def test_the_oracle_keeps_less_where_rendering_adds_noise():
    # corr = 1 / sqrt(1 + noise^2).
    assert swapped_between_two_classes(1.0, 0.75) == pytest.approx(0.8, abs=0.02)


def test_a_class_of_which_no_training_code_is_known_says_nothing_about_style():
    """Its mean is not known, so its measures cannot be class-centred."""
    rng = np.random.default_rng(0)
    labels, style = np.arange(400) % 2, rng.standard_normal((400, 1))
    codes = style.astype(np.float32)
    train = codes[:200], style[:200] + 5 * labels[:200, None], labels[:200]
    rare = np.full(1, 2)
    with_rare = (
        np.vstack([codes[200:], [[0.0]]]).astype(np.float32),
        np.vstack([style[200:] + 5 * labels[200:, None], [[1000.0]]]),
        np.concatenate([labels[200:], rare]),
    )
    score = readable_style(*train, *with_rare, 3, np.random.default_rng(0))
    assert score[0] > 0.95
    only = tuple(array[-1:] for array in with_rare)
    assert np.isnan(readable_style(*train, *only, 3, np.random.default_rng(0))).all()


def test_pairs_of_many_classes_are_counted_without_looking_at_each():
    """A million pairs, of which two have images enough."""
    labels = np.array([0] * 40 + [999] * 40)
    shown = labels[::-1].copy()
    values = np.random.default_rng(0).standard_normal((80, 1))
    _, cells = style_kept(values, values, labels, shown, 1000)
    found = np.argwhere(~np.isnan(cells[..., 0])).tolist()
    assert found == [[0, 999], [999, 0]]
