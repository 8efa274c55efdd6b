"""On a CUDA device: a step that is recorded and repeated is the step, to the bit."""

from dataclasses import replace

import pytest
import torch

from vaegan.devices import configure_torch
from vaegan.model.config import ModelStructure, TransportConfig
from vaegan.training import loop
from vaegan.training.config import TransportFitConfig
from vaegan.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def deterministic():
    configure_torch(torch.get_num_threads())
    yield
    torch.set_deterministic_debug_mode("default")


def trained(trainer: Trainer, steps: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    losses = [float(trainer.train_step()["generator_loss"]) for _ in range(steps)]
    return trainer.state(), losses


@pytest.fixture(params=["float32", "bfloat16"])
def made(request, model_config, training_config, bars):
    config = replace(training_config, precision=request.param, device="cuda")
    return lambda: Trainer(model_config, config, bars)


def test_captured_steps_equal_ordinary_steps(made):
    recorded, plain = made(), made()
    plain.loop.graphed = None
    (state, losses), (expected, expected_losses) = trained(recorded, 8), trained(plain, 8)
    assert recorded.loop.graphed.graph is not None
    assert losses == expected_losses
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def test_a_captured_training_resumes_to_the_same_bits(made):
    whole, begun, resumed = made(), made(), made()
    state, _ = trained(begun, 5)
    trained(resumed, 5)  # recorded, with tensors that are then replaced
    resumed.restore(state)
    expected, _ = trained(whole, 8)
    found, _ = trained(resumed, 3)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_every_term_with_a_weight_can_be_captured(made, training_config):
    everything = replace(training_config.weights, style_cycle=0.5, cycle=0.5, pair_kernel=10.0)
    trainer = made()
    trainer.config = replace(trainer.config, weights=everything)
    _, losses = trained(trainer, 8)
    assert all(torch.isfinite(torch.tensor(losses)))
    assert len(set(losses[3:])) == 5


def test_the_captured_fit_of_the_transport_equals_the_ordinary_one(
    model_config: ModelStructure, training_config, bars, monkeypatch
):
    structure = replace(model_config, transport=TransportConfig(layers=2, hidden=16))
    fit = TransportFitConfig(256, 2, 12, 64, 1e-3, 1.0, 8, 4, "strokes", False)
    trainer = Trainer(structure, replace(training_config, device="cuda", transport=fit), bars)
    losses = trainer.fit_transport()
    found = {k: v.clone() for k, v in trainer.model.transport.state_dict().items()}
    monkeypatch.setattr(loop, "GraphedStep", lambda update, rng: lambda: update(rng))
    assert trainer.fit_transport() == losses
    for name, value in trainer.model.transport.state_dict().items():
        assert torch.equal(found[name], value), name
