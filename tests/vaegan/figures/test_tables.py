import numpy as np
import pytest

from vaegan.figures.tables import confusion_matrices, metric_table

ROWS = [
    ("z", "leakage", 0.2530, (0.24, 0.26)),
    ("z", "chance", 0.1135, None),
    ("s", "probe", 0.99, (0.988, 0.992)),
]


def cells(figure) -> dict[tuple[int, int], str]:
    (table,) = figure.axes[0].tables
    return {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}


def test_a_table_has_a_row_per_metric_and_names_each_group_once():
    shown = cells(metric_table(ROWS, "title"))
    assert [shown[row, 0] for row in range(1, 4)] == ["z", "", "s"]
    assert [shown[row, 1] for row in range(1, 4)] == ["leakage", "chance", "probe"]
    assert [shown[row, 2] for row in range(1, 4)] == ["0.2530", "0.1135", "0.9900"]
    assert [shown[row, 3] for row in range(1, 4)] == ["0.2400 to 0.2600", "", "0.9880 to 0.9920"]


def test_an_empty_table_is_rejected():
    with pytest.raises(ValueError, match="one row"):
        metric_table([], "")


def test_matrices_show_row_shares_and_the_accuracy():
    matrix = np.array([[30, 10], [0, 60]])
    figure = confusion_matrices({"prior": matrix}, ["a", "b"], "title")
    (axes,) = figure.axes
    assert "90.00%" in axes.get_title()
    texts = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts
    }
    assert texts == {(0, 0): "75.0", (0, 1): "25.0", (1, 1): "100"}  # rows: asked for
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])


def test_matrices_of_another_size_are_rejected():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        confusion_matrices({"prior": np.zeros((3, 3), int)}, ["a", "b"], "")


def test_a_class_that_no_swap_was_asked_for_has_a_row_that_says_so():
    matrix = np.array([[30, 0, 10], [0, 0, 0], [0, 0, 5]])
    (axes,) = confusion_matrices({"prior": matrix}, ["a", "b", "c"], "title").axes
    (said,) = [text for text in axes.texts if text.get_text() == "none asked for"]
    assert said.get_position() == (1, 1)


def test_a_title_of_more_lines_makes_a_table_higher():
    one, three = metric_table(ROWS, "title"), metric_table(ROWS, "title\nand\nmore")
    assert three.get_figheight() == pytest.approx(one.get_figheight() + 0.4)


@pytest.mark.parametrize("count", [21, 1000])
def test_matrices_of_many_classes_are_plotted_whole_without_names_and_this_is_said(count):
    matrix = np.eye(count, dtype=int) * 3
    names = [f"class {c}" for c in range(count)]
    figure = confusion_matrices({"prior": matrix}, names, "title")
    (axes,) = figure.axes
    assert axes.images[0].get_array().shape == (count, count)
    assert not axes.texts
    assert "class 0" not in [text.get_text() for text in axes.get_xticklabels()]
    assert figure.get_suptitle() == (f"title\n{count} classes: only 20 or fewer are named")


def test_long_names_of_classes_are_shortened_and_turned():
    names = ["a very long name of a class", "b"] * 10
    (axes,) = confusion_matrices({"prior": np.eye(20, dtype=int)}, names, "").axes
    first, second = axes.get_xticklabels()[:2]
    assert first.get_text() == "a very l…a class"
    assert second.get_text() == "b"
    assert first.get_rotation() == 90
    (few,) = confusion_matrices({"prior": np.eye(2, dtype=int)}, ["cat", "dog"], "").axes
    assert few.get_xticklabels()[0].get_rotation() == 0
    assert len(few.texts) == 2
    assert not axes.texts  # no room for numbers
