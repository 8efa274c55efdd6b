import pytest
import torch
from torch import nn

from pipeline.explorer import program
from tests.pipeline.explorer.conftest import make_model


def test_a_heads_rows_of_variances_are_left_out():
    model = make_model((1, 16, 16))
    arrays = program.weights(model)
    assert len(model.encoder.specified.linear.weight) == 12
    assert arrays["encoder.specified.linear.weight"].shape[0] == 6
    assert not any("logvar" in name or "tracked" in name for name in arrays)


def test_every_array_that_the_layers_name_is_packed():
    model = make_model((3, 17, 9), layers=2, variational=False)
    arrays, described = program.weights(model), program.describe(model)
    layers = [*described["encoder"], *described["heads"], *described["decoder"]]
    assert len(layers) == 3 + 2 + 4
    for layer in layers:
        assert f"{layer['name']}.weight" in arrays
        assert "norm" not in layer or f"{layer['norm']}.running_var" in arrays
    couplings = described["transport"]["couplings"]
    assert [len(names) for names in couplings] == [3, 3]
    assert all(f"{name}.bias" in arrays for names in couplings for name in names)


def test_a_layer_that_the_page_cannot_run_is_refused_by_name():
    model = make_model((1, 16, 16))
    model.decoder.trunk.insert(1, nn.Dropout())
    with pytest.raises(ValueError, match=r"cannot run decoder\.trunk\.1, a Dropout"):
        program.describe(model)


def test_describing_a_model_does_not_change_it():
    model = make_model((1, 16, 16), layers=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    program.weights(model)["decoder.linear.weight"][:0] = 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
