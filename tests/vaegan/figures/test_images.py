"""What the grids show, read back from their axes in the cells where it must stand."""

import io

import matplotlib.image as mpimg
import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.vaegan.figures.examples import HEIGHT, WIDTH, noise, style_parts
from vaegan.figures.images import EDGE, reconstruction_grid, style_variation, swap_grid


def cell(axes: Axes, row: float, column: float) -> np.ndarray:
    """The image that is shown in a cell, (H, W) or (H, W, 3), without its frame."""
    x, y = column + 0.5, row + 0.5
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        if left < x < right and top < y < bottom:
            picture = np.asarray(image.get_array())
            height, width = picture.shape[0] / (bottom - top), picture.shape[1] / (right - left)
            first = round((y - top) * height - HEIGHT / 2)
            start = round((x - left) * width - WIDTH / 2)
            return picture[first : first + HEIGHT, start : start + WIDTH]
    raise AssertionError(f"nothing is shown in row {row}, column {column}")


def assert_shown(axes: Axes, row: float, column: float, image: np.ndarray) -> None:
    """The cell shows ``image`` (C, H, W) and no other."""
    shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    np.testing.assert_array_equal(cell(axes, row, column), shown)


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_have_the_positions_of_their_originals(channels: int) -> None:
    originals, generated = noise(7, channels=channels), noise(7, channels=channels, seed=1)
    figure = reconstruction_grid(originals, generated, 3, "")
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("original", "generated")
    for i in range(7):
        assert_shown(left, i // 3, i % 3, originals[i])
        assert_shown(right, i // 3, i % 3, generated[i])
    assert np.ptp(cell(right, 2, 1)) == np.ptp(cell(right, 2, 2)) == 0  # two cells are empty
    figure.draw_without_rendering()
    assert left.get_position().x1 < right.get_position().x0


def test_grey_is_shown_on_the_whole_range_and_the_first_row_on_top() -> None:
    dim = np.full((2, 1, HEIGHT, WIDTH), 0.25, np.float32)
    grids = [
        reconstruction_grid(dim, dim, 1, ""),
        swap_grid(dim, dim, np.stack([dim, dim]), ""),
        style_variation(dim[0], np.stack([dim, dim]), np.arange(2), dim, dim, ""),
    ]
    for axes in (axes for figure in grids for axes in figure.axes):
        bottom, top = axes.get_ylim()
        assert top < bottom
        for image in axes.images:
            assert image.get_clim() == (0.0, 1.0)
            assert image.cmap(0.0)[:3] == (0, 0, 0)
            assert image.cmap(1.0)[:3] == (1, 1, 1)


def test_swap_has_identity_by_column_and_style_by_row() -> None:
    identities, styles, generated = noise(4, seed=1), noise(3, seed=2), noise(3, 4, seed=3)
    (axes,) = swap_grid(identities, styles, generated, "").axes
    for row in range(3):
        for column in range(4):
            assert_shown(axes, row, column, generated[row, column])
    edge = -1 - EDGE
    for column in range(4):
        assert_shown(axes, edge, column, identities[column])
    for row in range(3):
        assert_shown(axes, row, edge, styles[row])
    assert axes.get_xlabel() == "identity of ..."
    assert axes.get_ylabel() == "style of ..."
    assert axes.xaxis.get_label_position() == "top"


def test_swap_grid_has_a_gap_between_sources_and_generated_images() -> None:
    (axes,) = swap_grid(noise(4), noise(3), noise(3, 4), "").axes
    extents = [image.get_extent() for image in axes.images]  # left, right, bottom, top
    (above,) = (e for e in extents if e[3] < 0)
    (beside,) = (e for e in extents if e[0] < 0)
    (inside,) = (e for e in extents if e[0] >= 0 and e[3] >= 0)
    assert above[2] < inside[3] - 0.2
    assert beside[1] < inside[0] - 0.2


def test_style_variation_has_a_row_per_dimension_and_a_column_per_position() -> None:
    parts = style_parts()
    source, swept, whole = style_variation(**parts, title="").axes
    assert_shown(source, 0, 0, parts["source"])
    for z in range(3):
        for t in range(4):
            assert_shown(swept, z, t, parts["sweeps"][z, t])
    for k in range(6):
        assert_shown(whole, 0, k, parts["borrowed_styles"][k])
        assert_shown(whole, 1, k, parts["borrowed"][k])
    assert source.get_title() == "source"
    rows = dict(zip(swept.get_yticks(), swept.get_yticklabels(), strict=True))
    assert {y: text.get_text() for y, text in rows.items()} == {0.5: "z0", 1.5: "z1", 2.5: "z2"}
    columns = dict(zip(swept.get_xticks(), swept.get_xticklabels(), strict=True))
    values = {x: float(text.get_text()) for x, text in columns.items()}
    assert values == {0.5: -2.0, 1.5: -0.5, 2.5: 0.5, 3.5: 2.0}
    assert [text.get_text() for text in whole.get_yticklabels()] == ["style of", "generated"]
    assert swept.get_xlabel() == (
        "position along the dimension (standard deviations over the data)"
    )


def test_cells_of_both_tables_of_style_variation_are_of_one_size() -> None:
    given = noise(3, 5), np.arange(5), noise(8), noise(8)
    figure = style_variation(noise(), *given, title="")
    figure.draw_without_rendering()
    _, swept, whole = (
        np.diff(a.transData.transform([(0, 0), (1, 1)]), axis=0) for a in figure.axes
    )
    np.testing.assert_allclose(swept, whole, rtol=0.02)  # to within a pixel


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
def test_reconstruction_grid_rejects_invalid_input(
    originals: np.ndarray, generated: np.ndarray, columns: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reconstruction_grid(originals, generated, columns, "")


@pytest.mark.parametrize(
    ("identities", "styles", "generated", "message"),
    [
        (noise(4), noise(3), noise(4, 3), "generated"),  # transposed
        (noise(4), noise(3), noise(12), "generated"),
        (noise(4), noise(3, channels=3), noise(3, 4), "styles"),
        (noise(4)[0], noise(3), noise(3, 4), "identities"),
        (noise(4), noise(3), noise(3, 4) - 1, r"generated must lie in \[0, 1\]"),
    ],
)
def test_swap_grid_rejects_invalid_input(
    identities: np.ndarray, styles: np.ndarray, generated: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        swap_grid(identities, styles, generated, "")


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
def test_style_variation_rejects_invalid_input(part: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=part):
        style_variation(**(style_parts() | {part: value}), title="")


@pytest.mark.parametrize(("size", "finest"), [(8, 100), (28, 100), (64, 170), (128, 300)])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_get_a_dot_per_pixel_and_small_ones_the_usual_number(
    size: int, finest: int, channels: int
) -> None:
    """20 identities, so that a cell is 0.39 inches wide."""
    images = np.zeros((20, channels, size, size), np.float32)
    figure = swap_grid(images, images[:2], np.stack([images, images]), "")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # as the stage does
    buffer.seek(0)
    _, width = mpimg.imread(buffer).shape[:2]
    assert 100 * 9 <= width <= finest * 9
    assert width >= 21 * min(size + 2, 118)
