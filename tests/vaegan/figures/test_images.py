"""What the figures show, read back from their axes in the cells where it must stand."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vaegan.figures import images as figures

HEIGHT, WIDTH = 6, 5  # not square, so that a transposed image does not pass
CURVES = (
    "discriminator_loss",
    "adversarial_loss",
    "adversarial_prior_loss",
    "discriminator_accuracy",
    "critic_loss",
    "confusion_loss",
    "critic_accuracy",
    "reconstruction_loss",
    "partner_loss",
    "specified_kl_loss",
    "unspecified_kl_loss",
)


def noise(*lead: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Images that all differ, float32 (*lead, channels, HEIGHT, WIDTH) in [0, 1)."""
    shape = (*lead, channels, HEIGHT, WIDTH)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def cell(axes: Axes, row: float, column: float) -> np.ndarray:
    """The image that is drawn in a cell, (H, W) or (H, W, 3), without its frame."""
    x, y = column + 0.5, row + 0.5
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        if left < x < right and top < y < bottom:
            picture = np.asarray(image.get_array())
            height, width = picture.shape[0] / (bottom - top), picture.shape[1] / (right - left)
            first = round((y - top) * height - HEIGHT / 2)
            start = round((x - left) * width - WIDTH / 2)
            return picture[first : first + HEIGHT, start : start + WIDTH]
    raise AssertionError(f"nothing is drawn in row {row}, column {column}")


def assert_drawn(axes: Axes, row: float, column: float, image: np.ndarray) -> None:
    """The cell shows ``image`` (C, H, W) and no other."""
    shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    np.testing.assert_array_equal(cell(axes, row, column), shown)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def style_parts() -> dict[str, np.ndarray]:
    return {
        "source": noise(seed=1),
        "sweeps": noise(3, 4, seed=2),
        "positions": np.array([-2.0, -0.5, 0.5, 2.0]),
        "borrowed_styles": noise(6, seed=3),
        "borrowed": noise(6, seed=4),
    }


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), np.arange(30) % 3


def curves(reports: int = 40) -> pd.DataFrame:
    values = np.random.default_rng(0).uniform(0.1, 0.9, (reports, len(CURVES)))
    table = pd.DataFrame(values, columns=list(CURVES))
    return table.assign(step=np.arange(1, reports + 1) * 50)


def legend_names(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text().replace("\n", " ") for text in legend.get_texts()]


def adversarial_curves(table: pd.DataFrame, title: str) -> Figure:
    return figures.adversarial_curves(table, 7, title)


FIGURES: dict[str, Callable[[], Figure]] = {
    "reconstruction_grid": lambda: figures.reconstruction_grid(noise(7), noise(7), 3, "title"),
    "swap_grid": lambda: figures.swap_grid(noise(4), noise(3), noise(3, 4), "title"),
    "style_variation": lambda: figures.style_variation(**style_parts(), title="title"),
    "embedding": lambda: figures.embedding(*points(), ["a", "b", "c"], "title"),
    "adversarial_curves": lambda: figures.adversarial_curves(curves(), 10, "title"),
    "reconstruction_curves": lambda: figures.reconstruction_curves(curves(), "title"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_equal_input_gives_equal_bytes_under_its_title(name: str) -> None:
    first, second = FIGURES[name](), FIGURES[name]()
    assert first.get_suptitle() == "title"
    assert png(first) == png(second)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_fits_a_page_and_its_text_is_legible_inside_it(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    assert 600 <= width <= 1000
    for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")):
        if text.get_text() and text.get_visible():
            assert text.get_fontsize() >= 9
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_stand_in_the_places_of_their_originals(channels: int) -> None:
    originals, generated = noise(7, channels=channels), noise(7, channels=channels, seed=1)
    figure = figures.reconstruction_grid(originals, generated, 3, "")
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("original", "generated")
    for i in range(7):
        assert_drawn(left, i // 3, i % 3, originals[i])
        assert_drawn(right, i // 3, i % 3, generated[i])
    assert np.ptp(cell(right, 2, 1)) == np.ptp(cell(right, 2, 2)) == 0  # two cells are empty
    figure.draw_without_rendering()
    assert left.get_position().x1 < right.get_position().x0


def test_grey_is_drawn_on_the_whole_range_and_the_first_row_on_top() -> None:
    dim = np.full((2, 1, HEIGHT, WIDTH), 0.25, np.float32)
    grids = [
        figures.reconstruction_grid(dim, dim, 1, ""),
        figures.swap_grid(dim, dim, np.stack([dim, dim]), ""),
        figures.style_variation(dim[0], np.stack([dim, dim]), np.arange(2), dim, dim, ""),
    ]
    for axes in (axes for figure in grids for axes in figure.axes):
        bottom, top = axes.get_ylim()
        assert top < bottom
        for image in axes.images:
            assert image.get_clim() == (0.0, 1.0)
            assert image.cmap(0.0)[:3] == (0, 0, 0)
            assert image.cmap(1.0)[:3] == (1, 1, 1)


def test_swap_has_identity_by_column_and_style_by_row() -> None:
    identities, styles, drawn = noise(4, seed=1), noise(3, seed=2), noise(3, 4, seed=3)
    (axes,) = figures.swap_grid(identities, styles, drawn, "").axes
    for row in range(3):
        for column in range(4):
            assert_drawn(axes, row, column, drawn[row, column])
    edge = -1 - figures.EDGE
    for column in range(4):
        assert_drawn(axes, edge, column, identities[column])
    for row in range(3):
        assert_drawn(axes, row, edge, styles[row])
    assert axes.get_xlabel() == "identity of ..."
    assert axes.get_ylabel() == "style of ..."
    assert axes.xaxis.get_label_position() == "top"


def test_swap_leaves_a_gap_between_the_sources_and_what_is_drawn() -> None:
    (axes,) = figures.swap_grid(noise(4), noise(3), noise(3, 4), "").axes
    extents = [image.get_extent() for image in axes.images]  # left, right, bottom, top
    (above,) = (e for e in extents if e[3] < 0)
    (beside,) = (e for e in extents if e[0] < 0)
    (inside,) = (e for e in extents if e[0] >= 0 and e[3] >= 0)
    assert above[2] < inside[3] - 0.2
    assert beside[1] < inside[0] - 0.2


def test_style_variation_has_a_row_per_dimension_and_a_column_per_position() -> None:
    parts = style_parts()
    source, swept, lent = figures.style_variation(**parts, title="").axes
    assert_drawn(source, 0, 0, parts["source"])
    for z in range(3):
        for t in range(4):
            assert_drawn(swept, z, t, parts["sweeps"][z, t])
    for k in range(6):
        assert_drawn(lent, 0, k, parts["borrowed_styles"][k])
        assert_drawn(lent, 1, k, parts["borrowed"][k])
    assert source.get_title() == "source"
    rows = dict(zip(swept.get_yticks(), swept.get_yticklabels(), strict=True))
    assert {y: text.get_text() for y, text in rows.items()} == {0.5: "z0", 1.5: "z1", 2.5: "z2"}
    columns = dict(zip(swept.get_xticks(), swept.get_xticklabels(), strict=True))
    values = {x: float(text.get_text()) for x, text in columns.items()}
    assert values == {0.5: -2.0, 1.5: -0.5, 2.5: 0.5, 3.5: 2.0}
    assert [text.get_text() for text in lent.get_yticklabels()] == ["style of", "drawn"]
    assert swept.get_xlabel() == (
        "position along the dimension (standard deviations over the data)"
    )


def test_cells_of_both_tables_of_style_variation_are_of_one_size() -> None:
    given = noise(3, 5), np.arange(5), noise(8), noise(8)
    figure = figures.style_variation(noise(), *given, title="")
    figure.draw_without_rendering()
    _, swept, lent = (np.diff(a.transData.transform([(0, 0), (1, 1)]), axis=0) for a in figure.axes)
    np.testing.assert_allclose(swept, lent, rtol=0.02)  # to within a pixel


def test_embedding_puts_each_class_under_its_name_in_both_panels() -> None:
    specified, unspecified, labels = points()
    names = ["zero", "one", "two", "absent"]
    figure = figures.embedding(specified, unspecified, labels, names, "")
    left, right = figure.axes
    assert "unspecified" not in left.get_title()
    assert "unspecified" in right.get_title()
    for axes, space in ((left, specified), (right, unspecified)):
        assert axes.get_xlabel() == "t-SNE 1 (arbitrary units)"
        assert axes.get_ylabel() == "t-SNE 2 (arbitrary units)"
        drawn = {c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections}
        for c, name in enumerate(names):
            np.testing.assert_array_equal(drawn[name], space[labels == c])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names


def test_classes_differ_in_colour_and_shape_and_keep_both_across_panels() -> None:
    specified, unspecified, _ = points()
    labels = np.arange(30) % 15
    figure = figures.embedding(specified, unspecified, labels, [str(c) for c in range(15)], "")
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
    assert len({shape for _, shape in looks[0][:10]}) == 10
    assert all(0.3 <= c.get_alpha() < 1 for axes in figure.axes for c in axes.collections)


def lines(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {str(x.get_label()).replace("\n", " "): x.get_data() for x in axes.get_lines()}


def assert_lines(axes: Axes, table: pd.DataFrame, names: dict[str, str]) -> None:
    """The axes draw these columns over the step and name each one in a legend."""
    drawn = lines(axes)
    for name, column in names.items():
        np.testing.assert_array_equal(drawn[name][0], table["step"])
        np.testing.assert_array_equal(drawn[name][1], table[column])
    assert set(legend_names(axes)) == set(drawn)
    assert set(names) <= set(drawn)


def test_adversarial_curves_show_both_games_and_the_accuracies() -> None:
    table = curves()
    images, latents, accuracy = figures.adversarial_curves(table, 7, "").axes
    undecided = "log 2: undecided"
    assert set(lines(images)) == {
        undecided,
        "discriminator",
        "generator, style of an image",
        "generator, style from the prior",
    }
    names = {
        "discriminator": "discriminator_loss",
        "generator, style of an image": "adversarial_loss",
        "generator, style from the prior": "adversarial_prior_loss",
    }
    assert_lines(images, table, names)
    latent_names = {"critic": "critic_loss", "confusion (encoder)": "confusion_loss"}
    assert_lines(latents, table, latent_names)
    accuracies = {"discriminator": "discriminator_accuracy", "critic": "critic_accuracy"}
    assert_lines(accuracy, table, accuracies)
    assert list(lines(images)[undecided][1]) == [np.log(2)] * 2
    assert list(lines(latents)["log 7: critic at chance"][1]) == [np.log(7)] * 2
    assert list(lines(accuracy)["critic at chance"][1]) == [1 / 7] * 2
    (level,) = (x for x in images.get_lines() if x.get_label() == undecided)
    assert level.get_linestyle() == "--"
    assert "nats" in images.get_ylabel()
    assert "nats" in latents.get_ylabel()
    assert accuracy.get_xlabel() == "step"
    assert accuracy.get_ylabel() == "accuracy"
    low, high = accuracy.get_ylim()
    assert -0.1 < low <= 0
    assert 1 <= high < 1.1


def test_reconstruction_curves_show_errors_above_and_divergences_below() -> None:
    table = curves()
    above, below = figures.reconstruction_curves(table, "").axes
    errors = {
        "from its own codes": "reconstruction_loss",
        "with the partner's specified code": "partner_loss",
    }
    assert_lines(above, table, errors)
    divergences = {"specified": "specified_kl_loss", "unspecified": "unspecified_kl_loss"}
    assert_lines(below, table, divergences)
    assert above.get_yscale() == "log"
    assert below.get_yscale() == "linear"
    assert "squared error" in above.get_ylabel()
    assert "nats" in below.get_ylabel()
    assert below.get_xlabel() == "step"


@pytest.mark.parametrize("draw", [adversarial_curves, figures.reconstruction_curves])
@pytest.mark.parametrize("reports", [1, 40, 1000])
def test_legends_stay_outside_the_data_and_one_report_is_seen(
    draw: Callable[[pd.DataFrame, str], Figure], reports: int
) -> None:
    figure = draw(curves(reports), "")
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert not legend.get_window_extent().overlaps(axes.bbox)
        for line in axes.get_lines():
            assert line.get_marker() != "None" or line.get_linestyle() == "--"


def test_curves_without_steps_are_refused() -> None:
    for draw in (adversarial_curves, figures.reconstruction_curves):
        with pytest.raises(ValueError, match="a column 'step'"):
            draw(curves().drop(columns="step"), "")


@pytest.mark.parametrize("column", CURVES)
def test_a_term_that_is_off_is_left_out_and_the_others_are_drawn(column: str) -> None:
    drawn = set()
    for draw in (adversarial_curves, figures.reconstruction_curves):
        whole, less = draw(curves(), ""), draw(curves().drop(columns=column), "")
        for before, after in zip(whole.axes, less.axes, strict=True):
            drawn |= set(lines(before)) - set(lines(after))
            assert set(lines(after)) <= set(lines(before))
    assert len(drawn) == 1


def test_a_panel_whose_terms_are_all_off_says_so() -> None:
    table = curves().drop(columns=["critic_loss", "confusion_loss"])
    figure = adversarial_curves(table, "")
    assert "terms are off" in figure.axes[1].get_title()
    figure.draw_without_rendering()


def test_curves_without_a_report_are_refused() -> None:
    for draw in (adversarial_curves, figures.reconstruction_curves):
        with pytest.raises(ValueError, match="0 rows"):
            draw(curves(0), "")


@pytest.mark.parametrize(
    ("originals", "generated", "columns", "message"),
    [
        (noise(4), noise(5), 2, "generated"),
        (noise(4)[:, 0], noise(4)[:, 0], 2, "originals"),
        (noise(4, channels=2), noise(4, channels=2), 2, "C = 1 or 3"),
        (noise(4), noise(4, channels=3), 2, "generated"),
        (noise(0), noise(0), 2, "originals"),
        (noise(4), noise(4), 0, "columns"),
        (noise(4), noise(4) * 255, 2, r"generated must lie in \[0, 1\]"),
        (noise(4) * np.nan, noise(4), 2, r"originals must lie in \[0, 1\]"),
    ],
)
def test_reconstruction_grid_refuses(
    originals: np.ndarray, generated: np.ndarray, columns: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        figures.reconstruction_grid(originals, generated, columns, "")


@pytest.mark.parametrize(
    ("identities", "styles", "drawn", "message"),
    [
        (noise(4), noise(3), noise(4, 3), "drawn"),  # transposed
        (noise(4), noise(3), noise(12), "drawn"),
        (noise(4), noise(3, channels=3), noise(3, 4), "styles"),
        (noise(4)[0], noise(3), noise(3, 4), "identities"),
        (noise(4), noise(3), noise(3, 4) - 1, r"drawn must lie in \[0, 1\]"),
    ],
)
def test_swap_grid_refuses(
    identities: np.ndarray, styles: np.ndarray, drawn: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        figures.swap_grid(identities, styles, drawn, "")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("source", noise(1)),
        ("sweeps", noise(4)),
        ("sweeps", noise(3, 4, channels=3)),
        ("positions", np.arange(3)),
        ("positions", np.zeros((4, 1))),
        ("borrowed_styles", noise(5)[:, :, :-1]),
        ("borrowed", noise(5)),
    ],
)
def test_style_variation_refuses(part: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=part):
        figures.style_variation(**(style_parts() | {part: value}), title="")


@pytest.mark.parametrize(
    ("changed", "value", "message"),
    [
        (0, np.zeros((30, 3)), "specified code"),
        (1, np.zeros((29, 2)), "unspecified code"),
        (2, np.arange(30), "labels"),
        (2, np.full(30, -1), "labels"),
        (2, np.arange(0), "labels"),
    ],
)
def test_embedding_refuses(changed: int, value: np.ndarray, message: str) -> None:
    given = list(points())
    given[changed] = value
    with pytest.raises(ValueError, match=message):
        figures.embedding(*given, ["a", "b", "c"], "")
