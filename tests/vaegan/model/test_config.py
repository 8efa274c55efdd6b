import json
from dataclasses import replace

import pytest

from vaegan.model.config import (
    NO_TRANSPORT,
    CodeConfig,
    ModelConfig,
    ModelStructure,
    TransportConfig,
)

CONFIG = ModelConfig(
    base_channels=8,
    specified=CodeConfig(5, variational=True, shared_variance=False),
    unspecified=CodeConfig(3, variational=True, shared_variance=True),
    transport=TransportConfig(layers=2, hidden=16),
)
STRUCTURE = ModelStructure.of(CONFIG, (1, 17, 30), 10)
# The form in which folders and registered versions hold it.
WRITTEN = {
    "image_shape": [1, 17, 30],
    "class_count": 10,
    "base_channels": 8,
    "specified": {"dim": 5, "variational": True, "shared_variance": False},
    "unspecified": {"dim": 3, "variational": True, "shared_variance": True},
    "transport": {"layers": 2, "hidden": 16},
}


def test_a_structure_is_its_configuration_and_the_sizes_of_its_data():
    assert STRUCTURE.image_shape == (1, 17, 30)
    assert STRUCTURE.class_count == 10
    assert ModelStructure.of(STRUCTURE, (3, 8, 8), 2).specified is CONFIG.specified


def test_the_format_of_a_written_structure_is_unchanged():
    assert json.dumps(STRUCTURE.to_dict()) == json.dumps(WRITTEN)


def test_a_structure_survives_json():
    assert ModelStructure.from_dict(json.loads(json.dumps(STRUCTURE.to_dict()))) == STRUCTURE


@pytest.mark.parametrize("hidden", [1, 256])
def test_no_transport_is_written_as_null_and_read_again(hidden):
    plain = replace(STRUCTURE, transport=TransportConfig(layers=0, hidden=hidden))
    assert json.dumps(plain.to_dict()) == json.dumps(WRITTEN | {"transport": None})
    assert ModelStructure.from_dict(plain.to_dict()) == replace(plain, transport=NO_TRANSPORT)


def test_a_structure_older_than_the_transport_has_none():
    old = {name: value for name, value in WRITTEN.items() if name != "transport"}
    assert ModelStructure.from_dict(old) == replace(STRUCTURE, transport=NO_TRANSPORT)


@pytest.mark.parametrize("missing", sorted(set(WRITTEN) - {"transport"}))
def test_a_structure_with_a_missing_field_is_rejected(missing):
    with pytest.raises(KeyError, match=missing):
        ModelStructure.from_dict({k: v for k, v in WRITTEN.items() if k != missing})


def test_widths_double_and_sizes_halve_rounded_up():
    assert STRUCTURE.widths == (8, 16, 32)
    assert STRUCTURE.sizes == ((17, 30), (9, 15), (5, 8), (3, 4))


@pytest.mark.parametrize(
    ("size", "multiples", "last"),
    [
        ((8, 8), (1, 2, 4), (1, 1)),
        ((28, 28), (1, 2, 4), (4, 4)),
        ((32, 20), (1, 2, 4), (4, 3)),
        ((33, 20), (1, 2, 4, 8), (3, 2)),
        ((64, 64), (1, 2, 4, 8), (4, 4)),
        ((128, 100), (1, 2, 4, 8, 8), (4, 4)),
    ],
)
def test_larger_images_get_more_convolutions_down_to_four_by_four(size, multiples, last):
    structure = replace(STRUCTURE, image_shape=(3, *size))
    assert structure.widths == tuple(8 * multiple for multiple in multiples)
    assert structure.sizes[-1] == last
