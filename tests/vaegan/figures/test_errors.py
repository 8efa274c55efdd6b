"""The errors of swaps: the pairs of classes that are confused, with images of them only."""

import numpy as np
import pytest

from tests.vaegan.figures.examples import assert_shown, confusions, noise
from vaegan.figures.errors import BAR, EXAMPLES, ROWS, TEXT, confusion_figure, worst_confusions

MATRIX = np.array([[30, 2, 0], [10, 60, 0], [0, 1, 5]])


def test_confusions_are_sorted_by_frequency_and_leave_out_what_is_right():
    images, asked, read = noise(6), np.array([1, 0, 1, 1, 2, 1]), np.array([0, 0, 0, 2, 1, 1])
    found = worst_confusions(MATRIX, ["a", "b", "c"], images, asked, read)
    assert [(c.asked, c.read, c.count) for c in found] == [
        ("b", "a", 10),
        ("a", "b", 2),
        ("c", "b", 1),
    ]
    assert found[0].share == pytest.approx(1 / 7)
    np.testing.assert_array_equal(found[0].images, images[[0, 2]])
    assert len(found[1].images) == 0
    np.testing.assert_array_equal(found[2].images, images[[4]])


def test_only_so_many_confusions_and_images_are_shown_of_many_classes():
    count = 1000
    matrix = np.eye(count, dtype=int) + np.eye(count, k=1, dtype=int)
    names = [f"class {c}" for c in range(count)]
    asked = np.zeros(50, int)
    found = worst_confusions(matrix, names, noise(50), asked, asked + 1)
    assert len(found) == ROWS
    assert len(found[0].images) == EXAMPLES
    figure = confusion_figure(found, "")
    figure.draw_without_rendering()


def test_each_row_names_a_confusion_and_shows_its_images():
    given = confusions()
    (axes,) = confusion_figure(given, "").axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["a read as b", "b read as a"]
    assert [text.get_text() for text in axes.texts] == ["20, 25.0 %", "1, 1.0 %"]
    assert len(axes.images) == 1
    for k in range(3):
        assert_shown(axes, 0, BAR + TEXT + k, given[0].images[k])
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[0] == pytest.approx(20 * widths[1])


def test_without_errors_the_figure_says_so():
    assert worst_confusions(np.eye(2, dtype=int), ["a", "b"], *empty()) == []
    figure = confusion_figure([], "")
    assert [text.get_text() for text in figure.texts][-1] == "No swap is read as another class."


def test_a_matrix_of_another_size_is_rejected():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        worst_confusions(np.zeros((3, 3), int), ["a", "b"], *empty())


def empty() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return noise(1)[:0], np.zeros(0, int), np.zeros(0, int)
