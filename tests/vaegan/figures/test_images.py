"""What the grids show, read back from their axes in the cells where it must stand."""

import io

import matplotlib.image as mpimg
import numpy as np
import pytest

from tests.vaegan.figures.examples import assert_shown, cell, noise
from vaegan.figures.images import (
    EDGE,
    PAIR,
    cut_to_tell_apart,
    reconstruction_grid,
    swap_grid,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_reconstruction_stands_below_its_original(channels: int) -> None:
    originals, generated = noise(7, channels=channels), noise(7, channels=channels, seed=1)
    (axes,) = reconstruction_grid(originals, generated, 3, "").axes
    for i in range(7):
        top = i // 3 * (2 + PAIR)
        assert_shown(axes, top, i % 3, originals[i])
        assert_shown(axes, top + 1, i % 3, generated[i])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["original", "generated"]
    with pytest.raises(AssertionError, match="nothing is shown"):
        cell(axes, 2 * (2 + PAIR), 1)  # two pairs of the last row are empty


def test_grey_is_shown_on_the_whole_range_and_the_first_row_on_top() -> None:
    dim = np.full((2, 1, 6, 5), 0.25, np.float32)
    grids = [
        reconstruction_grid(dim, dim, 1, ""),
        swap_grid(dim, dim, np.stack([dim, dim]), "ab", {}, ""),
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
    (axes,) = swap_grid(identities, styles, generated, ["a", "b", "c", "_d"], {}, "").axes
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
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "c", "_d"]
    assert not axes.patches


def test_the_cells_that_are_read_otherwise_are_framed_and_say_as_what() -> None:
    misread = {(2, 0): "seven", (0, 3): "$1"}
    (axes,) = swap_grid(noise(4), noise(3), noise(3, 4), "abcd", misread, "").axes
    framed = {(patch.get_y(), patch.get_x()): patch for patch in axes.patches}
    assert set(framed) == set(misread)
    assert all((p.get_width(), p.get_height()) == (1, 1) for p in framed.values())
    said = {}
    for text in axes.texts:
        x, y = text.get_position()
        said[int(y), int(x)] = text.get_text()
    assert said == {(2, 0): "seven", (0, 3): r"\$1"}


def test_swap_grid_has_a_gap_between_sources_and_generated_images() -> None:
    (axes,) = swap_grid(noise(4), noise(3), noise(3, 4), "abcd", {}, "").axes
    extents = [image.get_extent() for image in axes.images]  # left, right, bottom, top
    (above,) = (e for e in extents if e[3] < 0)
    (beside,) = (e for e in extents if e[0] < 0)
    (inside,) = (e for e in extents if e[0] >= 0 and e[3] >= 0)
    assert above[2] < inside[3] - 0.2
    assert beside[1] < inside[0] - 0.2


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
        swap_grid(identities, styles, generated, "abcd", {}, "")


def test_a_swap_grid_needs_a_name_for_each_identity() -> None:
    with pytest.raises(ValueError, match="expected 4 names, got 3"):
        swap_grid(noise(4), noise(3), noise(3, 4), "abc", {}, "")


@pytest.mark.parametrize(("size", "finest"), [(8, 100), (28, 100), (64, 170), (128, 300)])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_get_a_dot_per_pixel_and_small_ones_the_usual_number(
    size: int, finest: int, channels: int
) -> None:
    """20 identities, so that a cell is 0.42 inches wide."""
    images = np.zeros((20, channels, size, size), np.float32)
    figure = swap_grid(images, images[:2], np.stack([images, images]), "x" * 20, {}, "")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # as the stage does
    buffer.seek(0)
    _, width = mpimg.imread(buffer).shape[:2]
    assert 100 * 9 <= width <= finest * 9.5
    assert width >= 21 * min(size + 2, 118)


def test_a_long_name_is_cut_where_it_still_differs_from_the_other():
    assert cut_to_tell_apart("Sample017", "Sample007", 9) == "Sample017"
    assert cut_to_tell_apart("Sample017", "Sample007", 6) == "…le017"
    assert cut_to_tell_apart("ankle boot", "sandal", 6) == "ankle…"
