import dataclasses

import pytest
import torch

from tests.vaegan.training.conftest import generated, moved, snapshot
from vaegan.training import objective
from vaegan.training.config import ObjectiveWeights
from vaegan.training.generation import generate
from vaegan.training.objective import (
    TERMS,
    Term,
    TermInputs,
    active_terms,
    encode_styles,
    needed_images,
)
from vaegan.training.trainer import Trainer

ZEROS = dict.fromkeys(TERMS, 0.0)


def generator_loss(trainer: Trainer, **weights: float) -> tuple[dict, torch.Tensor]:
    """Encoder and decoder's terms and loss on the next batch, under other weights."""
    trainer.config = dataclasses.replace(trainer.config, weights=ObjectiveWeights(**weights))
    loss, terms = trainer._generator_loss(*generated(trainer))
    return terms, loss


class Recorded(dict):
    """A dictionary that remembers which of its keys were read."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


def test_there_is_a_row_for_each_weight_in_the_order_in_which_they_are_summed():
    assert list(TERMS) == [field.name for field in dataclasses.fields(ObjectiveWeights)]


@pytest.mark.parametrize("name", TERMS)
def test_each_term_computes_with_exactly_the_images_that_its_row_names(trainer, name):
    term = TERMS[name]
    batch, _, _ = generated(trainer)
    images = Recorded(generate(trainer.model.decoder, batch, term.needs))
    assert set(images) == set(term.needs)
    fake = images if term.adversary == "discriminator" else {}
    logits = Recorded({name: image.flatten(1).sum(1) for name, image in fake.items()})
    inputs = TermInputs(trainer.model.encoder, trainer.critic, batch, images, logits, 1.0)
    loss = term.loss(inputs)
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    assert (logits if fake else images).read == set(term.needs)
    for missing in term.needs:
        rest = {key: value for key, value in images.items() if key != missing}
        with pytest.raises(KeyError, match=missing):
            term.loss(dataclasses.replace(inputs, images=rest, logits=rest))


@pytest.mark.parametrize("name", TERMS)
def test_a_step_generates_the_images_that_its_terms_need_and_no_others(trainer, name):
    on = ObjectiveWeights(**(ZEROS | {name: 1.0}))
    trainer.config = dataclasses.replace(trainer.config, weights=on)
    assert active_terms(on) == {name: TERMS[name]}
    _, images, logits = generated(trainer)
    assert set(images) == needed_images(on) == set(TERMS[name].needs)
    if TERMS[name].adversary == "discriminator":
        assert set(logits.fake) == set(images)
    else:
        assert logits is None


def test_a_term_is_added_by_a_row_and_a_weight(trainer, monkeypatch):
    """The new term's images are generated, and its discriminator's logits computed."""
    weights = dataclasses.make_dataclass(
        "Weights", [("brightness", float)], bases=(ObjectiveWeights,), frozen=True
    )(*ZEROS.values(), brightness=2.0)
    row = Term(
        lambda step: step.images["sampled"].mean() + 0.0 * step.logits["sampled"].sum(),
        needs=("sampled",),
        adversary="discriminator",
    )
    monkeypatch.setitem(objective.TERMS, "brightness", row)
    trainer.config = dataclasses.replace(trainer.config, weights=weights, lr=1e-2)
    before = {name: snapshot(trainer, name) for name in trainer.players}
    found = [trainer.train_step() for _ in range(8)]
    assert set(found[0]) == {
        "brightness_loss",
        "generator_loss",
        "discriminator_loss",
        "discriminator_accuracy",
    }
    assert found[0]["generator_loss"].item() == pytest.approx(
        2 * found[0]["brightness_loss"].item()
    )
    assert found[-1]["brightness_loss"] < found[0]["brightness_loss"]
    changed = {name: bool(moved(before[name], snapshot(trainer, name))) for name in before}
    assert changed == {"generator": True, "discriminator": True, "critic": False}


@pytest.mark.parametrize("name", TERMS)
def test_the_loss_is_the_weighted_sum_of_the_terms_that_are_on(trainer, name):
    terms, loss = generator_loss(trainer, **(ZEROS | {name: 3.0}))
    assert loss.item() == pytest.approx(3.0 * terms[f"{name}_loss"].item(), rel=1e-6)
    code = getattr(trainer.model.config, name.removesuffix("_kl"), None)
    plain = code is not None and not code.variational  # has no divergence
    assert loss.item() == 0 if plain else loss.item() != 0
    assert loss.item() >= 0 or name == "pair_kernel"  # an unbiased estimate of what is >= 0


@pytest.mark.parametrize("name", TERMS)
def test_a_term_of_weight_zero_is_not_computed(trainer, name):
    on = "partner" if name == "reconstruction" else "reconstruction"
    terms, _ = generator_loss(trainer, **(ZEROS | {on: 1.0}))
    assert set(terms) == {f"{on}_loss", "generator_loss"}


def test_encoding_generated_images_does_not_change_batch_statistics(trainer):
    batch, images, _ = generated(trainer)
    before = snapshot(trainer, "generator")
    found = encode_styles(trainer.model.encoder, images["sampled"].detach())
    assert not moved(before, snapshot(trainer, "generator"))
    trainer.model.encoder(batch.images)
    assert moved(before, snapshot(trainer, "generator"))
    found.sum().backward()
    assert trainer.model.encoder.trunk[0].weight.grad.abs().sum() > 0


def test_the_cycle_term_updates_the_encoder_only(trainer):
    _, loss = generator_loss(trainer, **(ZEROS | {"cycle": 1.0}))
    trainer.players["generator"].backward(loss)
    assert all(p.grad is None for p in trainer.model.decoder.parameters())
    assert trainer.model.encoder.trunk[0].weight.grad.abs().sum() > 0


def test_negative_weights_and_all_zero_weights_are_rejected():
    with pytest.raises(ValueError, match="one or more above 0"):
        ObjectiveWeights(**ZEROS)
    with pytest.raises(ValueError, match=">= 0"):
        ObjectiveWeights(**(ZEROS | {"partner": -1.0, "reconstruction": 1.0}))
