import pytest

from tests.vaegan.figures.examples import readings
from vaegan.figures.leakage import leakage_bars


def test_bars_go_from_chance_to_the_value_and_the_axis_to_everything():
    (axes,) = leakage_bars(readings(), 0.1, 0.35, "").axes
    assert axes.get_xlim() == (0.1, 1.0)
    bars = {
        (p.get_y() + p.get_height() / 2, round(p.get_x() + p.get_width(), 4)) for p in axes.patches
    }
    assert bars == {(0, 1.0), (0, 0.99), (1, 1.0), (1, 0.2)}
    assert [text.get_text() for text in axes.get_yticklabels()] == ["from s", "from z"]
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "chance\n10.0 %",
        "everything\n100 %",
    ]


def test_the_gate_and_what_is_published_are_marked_with_their_numbers():
    (axes,) = leakage_bars(readings(), 0.1, 0.35, "").axes
    said = {text.get_text() for text in axes.texts}
    assert said == {"99.0 %", "20 %", "gate ≤ 35.0 %", "Other 63.6 %"}
    marked = {tuple(line.get_xdata()) for line in axes.get_lines()}
    assert {(0.35, 0.35), (0.636,)} <= marked


@pytest.mark.parametrize(("given", "chance"), [([], 0.1), (readings(), 1.0), (readings(), -0.1)])
def test_leakage_without_a_scale_is_rejected(given, chance):
    with pytest.raises(ValueError, match="readings"):
        leakage_bars(given, chance, 0.35, "")
