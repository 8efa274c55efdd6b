import pytest
import torch

from vaegan.rng import torch_rng
from vaegan.training.loop import TrainingLoop, autocast

CPU = torch.device("cpu")


def loop(update=None, set_rates=lambda step: None, **key) -> TrainingLoop:
    """A loop whose loss is a random number, unless it is given another step."""
    noise = update or (lambda rng: {"loss": torch.rand((), generator=rng)})
    return TrainingLoop(noise, set_rates, CPU, **({"seed": 7, "purpose": "batch"} | key))


def test_each_step_samples_from_its_own_key():
    names, losses = loop().run(5)
    expected = [torch.rand((), generator=torch_rng(7, "batch", step)) for step in range(5)]
    assert names == ["loss"]
    assert torch.equal(losses, torch.stack(expected)[:, None])
    assert not torch.equal(losses, loop(seed=8).run(5)[1])
    assert not torch.equal(losses, loop(purpose="other").run(5)[1])


def test_a_resumed_loop_equals_an_uninterrupted_one():
    _, straight = loop().run(6)
    halted, resumed = loop(), loop()
    halted.run(4)
    resumed.resume(halted.step)
    assert resumed.step == 4
    assert torch.equal(resumed.run(2)[1], straight[4:])
    assert torch.equal(halted.run(2)[1], straight[4:])


def test_learning_rates_are_set_before_the_step_that_they_are_for():
    rates = []
    looped = loop(
        lambda rng: {"rate": torch.tensor(rates[-1])}, lambda step: rates.append(10 * step)
    )
    assert looped.run(3)[1].flatten().tolist() == [0, 10, 20]
    assert rates == [0, 10, 20]


def test_losses_keep_their_names_and_order():
    names, losses = loop(lambda rng: {"b": torch.tensor(1.0), "a": torch.tensor(2.0)}).run(2)
    assert names == ["b", "a"]
    assert losses.tolist() == [[1.0, 2.0], [1.0, 2.0]]


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_the_first_non_finite_loss_stops_the_loop_at_its_step(bad):
    calls = []

    def update(rng):
        calls.append(1)
        value = float(bad) if len(calls) == 3 else 0.5
        return {"good": torch.tensor(1.0), "bad": torch.tensor(value), "sum": torch.tensor(value)}

    with pytest.raises(FloatingPointError, match=f"^bad is {bad} at step 3 of the fit$"):
        loop(update, where=" of the fit").run(5)
    assert len(calls) == 3


def test_networks_compute_in_the_configured_precision_inside_the_context_only():
    left = torch.ones(2, 2)
    for precision in ("float32", "bfloat16"):
        with autocast(CPU, precision):
            assert str((left @ left).dtype) == f"torch.{precision}"
    assert (left @ left).dtype == torch.float32


def test_on_a_device_losses_are_checked_after_the_last_step_and_the_first_bad_one_is_named():
    calls = []

    def update(rng):
        calls.append(1)
        return {"loss": torch.tensor(float("nan") if len(calls) >= 3 else 0.5)}

    looped = loop(update)
    looped.device = torch.device("cuda")  # the loop asks for the kind of device and no more
    looped.run(2)
    with pytest.raises(FloatingPointError, match="^loss is nan at step 3$"):
        looped.run(3)
    assert len(calls) == 5


def test_a_graphed_step_replaces_the_update_and_is_reset_on_resuming():
    class Graphed:
        resets = 0

        def __call__(self):
            return {"loss": torch.tensor(3.0)}

        def reset(self):
            self.resets += 1

    looped = loop()
    looped.graphed = Graphed()
    assert looped.run(2)[1].flatten().tolist() == [3.0, 3.0]
    looped.resume(1)
    assert looped.graphed.resets == 1
