"""The embedding keeps clusters apart and repeats; its figure names every class."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.vaegan.figures.examples import points
from vaegan.figures.tsne import embedding_figure, spread_apart, tsne


def test_tsne_keeps_clusters_apart_in_the_order_of_the_codes_and_repeats():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], 30))
    codes = 100.0 * labels[:, None] + rng.standard_normal((90, 4))
    codes[:, 3] = 7.0  # a dimension that does not vary
    points = tsne(codes, perplexity=10, seed=1)
    assert points.shape == (90, 2)
    assert points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).all()
    assert np.array_equal(points, tsne(codes, perplexity=10, seed=1))
    # Standardised: units of the dimensions do not matter.
    assert np.array_equal(points, tsne(codes * [1, 2, 0.5, 1], perplexity=10, seed=1))


def test_tsne_of_many_codes_repeats_under_two_threads():
    """From 1,000 codes on, openTSNE searches neighbours in random trees, built by all threads."""
    codes = np.random.default_rng(0).standard_normal((1100, 3)).astype(np.float32)
    first, again = (tsne(codes, perplexity=5, seed=2**32 - 1, threads=2) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("count", [2, 6])
def test_tsne_accepts_its_minimum_number_of_codes(count):
    points = tsne(np.random.default_rng(0).standard_normal((count, 3)), perplexity=30, seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_perplexity_is_a_third_of_the_codes_at_most():
    codes = np.random.default_rng(0).standard_normal((31, 3))
    assert np.array_equal(tsne(codes, perplexity=30, seed=0), tsne(codes, perplexity=10, seed=0))
    assert not np.array_equal(tsne(codes, perplexity=9, seed=0), tsne(codes, perplexity=10, seed=0))


def clusters(count: int, size: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Points of classes that lie apart from each other, and their labels."""
    labels = np.arange(count * size) % count
    corners = 50.0 * np.stack([labels % 5, labels // 5], axis=1)
    return corners + np.random.default_rng(0).normal(size=(len(labels), 2)), labels


def test_each_class_is_named_on_its_points_where_they_gather() -> None:
    gathered, labels = clusters(4)
    mixed = np.random.default_rng(1).normal(size=(len(labels), 2))
    names = ["zero", "_one", "two", "three", "absent"]
    left, right = embedding_figure(gathered, mixed, labels, names, "").axes
    assert left.get_title() == "specified code"
    assert right.get_title() == "unspecified code"
    said = {text.get_text(): text.get_position() for text in left.texts}
    assert set(said) == set(names[:4])
    for c, name in enumerate(names[:4]):
        np.testing.assert_allclose(said[name], np.median(gathered[labels == c], axis=0))
    assert [text.get_text() for text in right.texts] == ["no class gathers: the classes mix"]
    for axes, space in ((left, gathered), (right, mixed)):
        assert len(axes.get_xticks()) == len(axes.get_yticks()) == 0
        plotted = {c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections}
        for c, name in enumerate(names):
            np.testing.assert_array_equal(plotted[name], space[labels == c])


def test_a_legend_names_only_classes_that_gather_in_neither_panel() -> None:
    gathered, labels = clusters(4)
    assert not embedding_figure(gathered, None, labels, list("abcd"), "").legends
    gathered[labels == 2] = np.random.default_rng(0).uniform(0, 150, (10, 2))
    (legend,) = embedding_figure(gathered, None, labels, list("abcd"), "").legends
    assert [text.get_text() for text in legend.get_texts()] == ["c"]
    assert embedding_figure(None, gathered, labels, list("abcd"), "").legends


@pytest.mark.parametrize("count", [2, 8])
def test_names_at_one_place_are_moved_apart(count: int) -> None:
    sizes = np.full((count, 2), [3.0, 1.0])
    places = spread_apart(np.zeros((count, 2)), sizes)
    apart = np.abs(places[:, None] - places[None]) + np.eye(count)[..., None] * 9
    assert ((apart >= sizes[0] - 1e-9).any(axis=2)).all()
    assert np.array_equal(places, spread_apart(np.zeros((count, 2)), sizes))


def test_names_that_do_not_overlap_stay() -> None:
    centres = np.array([[0.0, 0.0], [0.0, 1.5]])
    assert np.array_equal(spread_apart(centres, np.full((2, 2), [3.0, 1.0])), centres)


def test_classes_differ_in_colour_or_shape_and_keep_both_across_panels() -> None:
    specified, unspecified, _ = points()
    labels = np.arange(30) % 15
    figure = embedding_figure(specified, unspecified, labels, [str(c) for c in range(15)], "")
    looks = [
        [
            (to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes())
            for c in axes.collections
        ]
        for axes in figure.axes
    ]
    assert looks[0] == looks[1]
    assert len(set(looks[0])) == 15
    assert len({colour for colour, _ in looks[0][:10]}) == 10
    assert all(0.3 <= c.get_alpha() < 1 for axes in figure.axes for c in axes.collections)


@pytest.mark.parametrize(
    ("changed", "value", "message"),
    [
        (0, np.zeros((30, 3)), "specified code"),
        (1, np.zeros((29, 2)), "unspecified code"),
        (0, np.full((30, 2), np.nan), "specified code must be finite"),
        (2, np.arange(30), "labels"),
        (2, np.full(30, -1), "labels"),
        (2, np.arange(0), "labels"),
    ],
)
def test_embedding_rejects_invalid_input(changed: int, value: np.ndarray, message: str) -> None:
    given = list(points())
    given[changed] = value
    with pytest.raises(ValueError, match=message):
        embedding_figure(*given, ["a", "b", "c"], "")


@pytest.mark.parametrize("offset", [0.0, 0.3, 1e6])
def test_codes_that_are_all_the_same_have_no_embedding(offset):
    codes = np.full((60, 4), offset, np.float32)
    assert tsne(codes, perplexity=10, seed=0) is None
    codes[:, 1] += np.float32(1e-9) * np.arange(60)  # rounding
    assert tsne(codes + np.float32(0.1), perplexity=10, seed=0) is None


@pytest.mark.parametrize(
    "codes",
    [
        np.arange(60.0)[:, None],
        np.eye(4)[np.arange(60) % 4],
        np.eye(60)[:, :1],
        1e4 + np.random.default_rng(0).standard_normal((60, 2)),
    ],
    ids=["one dimension", "four points", "one point that differs", "far away"],
)
def test_few_different_codes_have_a_finite_embedding(codes):
    points = tsne(codes.astype(np.float32), perplexity=500, seed=0)
    assert points.shape == (60, 2)
    assert np.isfinite(points).all()


def test_a_panel_without_an_embedding_says_why():
    specified, _, labels = points()
    _, right = embedding_figure(specified, None, labels, ["a", "b", "c"], "").axes
    assert [text.get_text() for text in right.texts] == [
        "all images have the same code:\nthere is nothing to embed"
    ]
    embedding_figure(None, None, labels, ["a", "b", "c"], "").draw_without_rendering()


def test_of_many_classes_the_first_are_named_and_the_others_are_grey() -> None:
    space, labels = clusters(100, size=5)
    names = [f"c{c}" for c in range(100)]
    figure = embedding_figure(space, space, labels, names, "title")
    assert "20 of 100 classes" in figure.get_suptitle()
    assert {text.get_text() for text in figure.axes[0].texts} <= set(names[:20])
    plotted = {c.get_label(): np.asarray(c.get_offsets()) for c in figure.axes[0].collections}
    np.testing.assert_array_equal(plotted["80 others"], space[labels >= 20])
    assert sum(map(len, plotted.values())) == 500
