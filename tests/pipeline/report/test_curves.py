import re

import numpy as np

from pipeline.report.curves import COLOURS, HEIGHT, LINE_HEIGHT, Line, plot

STEPS = np.arange(1, 1001.0)


def lines(count: int, label: str = "run {}") -> list[Line]:
    return [Line(label.format(i), i, STEPS, 10 + 0.01 * i + STEPS / 1000) for i in range(count)]


def test_every_line_is_labelled_at_its_end_and_no_label_covers_another():
    picture = plot("loss", lines(len(COLOURS)))
    places = sorted(float(y) for y in re.findall(r'class="t\d" x="[\d.]+" y="([\d.]+)"', picture))
    assert len(places) == len(COLOURS)
    assert min(np.diff(places)) >= LINE_HEIGHT - 0.11
    assert places[-1] <= HEIGHT
    assert len(set(re.findall(r'stroke-dasharray="([\d ]+)"', picture))) == len(COLOURS) - 1


def test_labels_are_text_and_read_aloud():
    picture = plot("a <b>", lines(2, "<script>{}"))
    assert "<script" not in picture
    assert 'aria-label="a &lt;b&gt;: &lt;script&gt;0 ends at 11;' in picture


def test_a_line_passes_through_its_points_on_a_linear_or_logarithmic_axis():
    def heights(values: list[float]) -> list[float]:
        picture = plot("loss", [Line("a", 0, np.arange(3.0), np.array(values))])
        path = re.search(r'class="curve c0" d="M([^"]+)"', picture)[1]
        return [float(point.split()[1]) for point in path.split("L")]

    first, middle, last = heights([0.0, 1.0, 4.0])
    assert (first - middle) * 4 == (first - last)
    first, middle, last = heights([1.0, 10.0, 100.0])
    assert abs((first - middle) - (middle - last)) < 0.11


def test_gaps_are_left_out_and_long_curves_are_thinned():
    values = np.where(STEPS % 2 == 0, np.nan, STEPS)
    picture = plot("loss", [Line("a", 0, STEPS, values), Line("b", 1, STEPS, STEPS * np.nan)])
    assert "nan" not in picture
    assert picture.count('class="curve c') == 1
    assert picture.count("L") <= 200
    assert plot("loss", []) == "<p>No numbers.</p>"
    assert 'class="curve c' in plot("loss", [Line("flat", 0, STEPS[:1], STEPS[:1])])
