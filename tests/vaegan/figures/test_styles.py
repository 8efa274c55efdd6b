"""Directions are named by what changes along them, and the figure shows each image moved."""

from typing import Any

import numpy as np
import pytest

from tests.vaegan.figures.examples import assert_shown, noise, style_parts
from vaegan.figures.styles import SOURCE, Property, choose_directions, style_variation

RNG = np.random.default_rng(0)
PLACES = RNG.standard_normal((400, 4))


def names(*properties: Property, count: int = 4) -> list[str]:
    return [found.name for found in choose_directions(PLACES, properties, count)]


def test_a_direction_is_named_by_the_number_that_changes_along_it_in_its_sense():
    slant = Property("slant", -3 * PLACES[:, 2] + RNG.standard_normal(400))
    first, *_ = choose_directions(PLACES, [slant], 4)
    assert (first.place, first.name, first.sign) == (2, "slant", -1)


def test_a_direction_is_named_by_the_category_that_changes_along_it():
    pose = Property("pose", np.digitize(PLACES[:, 1], [-0.5, 0.5]))
    assert names(pose)[0] == "pose"


def test_categories_as_many_as_images_name_nothing():
    assert names(Property("number", np.arange(400))) == [f"direction {k}" for k in range(1, 5)]
    few = Property("font", np.arange(400) // 2)  # explains half of any direction by chance
    assert names(few) == [f"direction {k}" for k in range(1, 5)]


def test_named_directions_come_first_and_the_others_keep_their_numbers():
    known = [Property("slant", PLACES[:, 1]), Property("width", PLACES[:, 3])]
    assert names(*known) == ["slant", "width", "direction 1", "direction 3"]
    assert names(*known, count=3) == ["slant", "width", "direction 1"]


def test_a_direction_along_which_two_properties_change_has_both_names():
    both = [Property(name, PLACES[:, 0] + 0.5 * RNG.standard_normal(400)) for name in "ab"]
    assert names(*both)[0] in ("a and b", "b and a")


def test_a_property_or_direction_that_does_not_vary_names_nothing():
    assert names(Property("slant", np.ones(400))) == [f"direction {k}" for k in range(1, 5)]
    constant = choose_directions(np.zeros((400, 1)), [Property("a", PLACES[:, 0])], 1)
    assert constant[0].name == "direction 1"


def test_style_variation_has_a_panel_per_image_a_row_per_direction_and_a_column_per_position():
    parts = style_parts()
    panels = style_variation(**parts, title="").axes
    assert len(panels) == 4
    for m, axes in enumerate(panels):
        assert_shown(axes, 0, -SOURCE, parts["sources"][m])
        for a in range(2):
            for t in range(3):
                assert_shown(axes, a, t, parts["sweeps"][m, a, t])
    assert [text.get_text() for text in panels[0].get_yticklabels()] == parts["names"]
    assert [text.get_text() for text in panels[2].get_xticklabels()] == ["-2", "+0", "+2"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("sources", noise(4)[0]),
        ("sweeps", noise(4, 2)),
        ("sweeps", noise(4, 2, 3, channels=3)),
        ("positions", np.arange(4)),
        ("names", ["a"]),
    ],
)
def test_style_variation_rejects_invalid_input(part: str, value: Any) -> None:
    with pytest.raises(ValueError, match=part):
        style_variation(**(style_parts() | {part: value}), title="")
