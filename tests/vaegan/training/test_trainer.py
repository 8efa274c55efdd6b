import dataclasses

import numpy as np
import pytest
import torch

from tests.vaegan.training.conftest import Generated, generated, moved, snapshot
from vaegan.evaluation.leakage import leakage
from vaegan.evaluation.probes import PANEL, accuracy
from vaegan.model.config import TransportConfig
from vaegan.training.config import ObjectiveWeights, TransportFitConfig
from vaegan.training.players import learning_rate_scale
from vaegan.training.trainer import Trainer

ZEROS = dict.fromkeys((field.name for field in dataclasses.fields(ObjectiveWeights)), 0.0)
PLAYERS = ("generator", "discriminator", "critic")


def play(trainer: Trainer, name: str, step: Generated) -> None:
    """One update of one player alone."""
    batch, images, logits = step
    if name == "critic":
        trainer._update_critic(batch)
        return
    if name == "generator":
        loss, _ = trainer._generator_loss(batch, images, logits)
    else:
        loss, _ = trainer._discriminator_loss(logits)
    trainer.players[name].update(loss)


@pytest.mark.parametrize("player", PLAYERS)
def test_a_players_update_touches_that_player_only(trainer, player):
    trainer.train_step()
    step = generated(trainer)
    before = {name: snapshot(trainer, name) for name in PLAYERS}
    play(trainer, player, step)
    for name in PLAYERS:
        changed = moved(before[name], snapshot(trainer, name))
        assert bool(changed) == (name == player), f"{player}'s update moved {name}: {changed}"


@pytest.mark.parametrize("player", PLAYERS)
def test_a_players_update_leaves_no_gradient_with_another(trainer, player):
    play(trainer, player, generated(trainer))
    for name in PLAYERS:
        has_gradient = [p.grad is not None for p in trainer.players[name].parameters]
        assert any(has_gradient) == (name == player)


def test_every_parameter_of_every_player_learns(trainer):
    before = {name: snapshot(trainer, name) for name in PLAYERS}
    for _ in range(3):
        trainer.train_step()
    for name in PLAYERS:
        parameters = {
            f"{index}/{key}"
            for index, module in enumerate(trainer.players[name].modules)
            for key, _ in module.named_parameters()
        }
        assert parameters <= moved(before[name], snapshot(trainer, name))


def test_one_pass_of_the_discriminator_gives_both_players_the_gradients_of_their_own(
    model_config, training_config, bars
):
    """The step that shares a pass collects what two passes, each on its own, would give."""
    together, apart = (Trainer(model_config, training_config, bars) for _ in range(2))
    together.train_step()
    batch, images, logits = generated(apart)
    generator, _ = apart._generator_loss(batch, images, logits)
    discriminator, _ = apart._discriminator_loss(apart._discriminate(batch, images))
    for name, loss in (("discriminator", discriminator), ("generator", generator)):
        wanted = torch.autograd.grad(loss, apart.players[name].parameters, retain_graph=True)
        for parameter, gradient in zip(together.players[name].parameters, wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_without_adversarial_terms_there_is_no_discriminator_to_train(trainer):
    weights = ObjectiveWeights(**(ZEROS | {"partner": 1.0, "confusion": 1.0}))
    trainer.config = dataclasses.replace(trainer.config, weights=weights)
    before = snapshot(trainer, "discriminator")
    terms = trainer.train_step()
    assert not moved(before, snapshot(trainer, "discriminator"))
    assert "discriminator_loss" not in terms
    assert "critic_loss" in terms


def test_equal_seeds_give_equal_bits_and_another_seed_others(model_config, training_config, bars):
    def result(seed: int) -> dict[str, torch.Tensor]:
        trainer = Trainer(model_config, dataclasses.replace(training_config, seed=seed), bars)
        for _ in trainer.run():
            pass
        return trainer.state()

    first, again, other = result(1), result(1), result(2)
    assert not moved(first, again)
    assert "generator/module/0/trunk.0.weight" in moved(first, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_training_equals_the_uninterrupted_one_bit_for_bit(
    model_config, training_config, bars, precision
):
    config = dataclasses.replace(training_config, precision=precision)
    straight = Trainer(model_config, config, bars)
    reports = list(straight.run())
    halted = Trainer(model_config, config, bars)
    next(halted.run())
    resumed = Trainer(model_config, config, bars)
    resumed.restore(halted.state())
    assert resumed.step == 4
    last = list(resumed.run())[-1]
    assert not moved(straight.state(), resumed.state())
    timeless = {k: v for k, v in last.metrics.items() if k != "images_per_second"}
    assert timeless == {k: reports[-1].metrics[k] for k in timeless}


def test_reports_come_every_so_many_steps_and_at_the_end(model_config, training_config, bars):
    config = dataclasses.replace(training_config, steps=10)
    assert [r.step for r in Trainer(model_config, config, bars).run()] == [4, 8, 10]


def test_training_does_not_change_torchs_global_random_state(trainer):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trainer.train_step()
    assert torch.equal(torch.rand(3), expected)


def test_a_non_finite_loss_stops_training_and_is_named(trainer):
    with torch.no_grad():
        next(trainer.critic.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"^confusion_loss is nan at step 1$"):
        next(trainer.run())


def test_a_weight_that_is_not_finite_after_the_last_step_stops_and_is_named(trainer, monkeypatch):
    run = trainer.loop.run

    def overflow(steps):
        losses = run(steps)
        trainer.model.encoder.specified.linear.bias.data[0] = float("inf")
        return losses

    monkeypatch.setattr(trainer.loop, "run", overflow)
    said = "the model's encoder.specified.linear.bias is not finite at step 4"
    with pytest.raises(FloatingPointError, match=said):
        list(trainer.run())


def test_the_networks_take_the_images_shape_and_number_of_classes_from_the_data(
    model_config, training_config, bars
):
    other = dataclasses.replace(model_config, image_shape=(1, 28, 28), class_count=7)
    assert Trainer(other, training_config, bars).model.config == model_config


def test_learning_rate_rises_then_falls_to_zero():
    scale = [learning_rate_scale(step, 100, 10) for step in range(101)]
    assert scale[0] == pytest.approx(0.1)
    assert scale[9] == scale[10] == 1.0
    assert scale[55] == pytest.approx(0.5)
    assert scale[100] == pytest.approx(0.0)
    assert learning_rate_scale(0, 10, 0) == 1.0


def test_training_puts_the_class_into_the_specified_code(model_config, training_config, bars):
    config = dataclasses.replace(training_config, steps=250, pairs=32, lr=3e-3, report_every=50)
    trainer = Trainer(model_config, config, bars)
    losses = [report.metrics["reconstruction_loss"] for report in trainer.run()]
    assert losses[-1] < 0.5 * losses[0]
    trainer.model.eval()
    with torch.inference_mode():
        codes = trainer.model.encode(trainer.images.float() / 255)
    s, labels = codes.specified.mean.numpy(), bars.labels
    read = PANEL["logistic"](s[:128], labels[:128], 4, 0)
    assert accuracy(read(s[128:]), labels[128:]) > 0.9


def test_the_class_transport_is_fitted_at_the_end_and_undone_before_an_image_is_decoded(
    model_config, training_config, bars
):
    style = dataclasses.replace(model_config.unspecified, shared_variance=True)
    structure = dataclasses.replace(
        model_config, unspecified=style, transport=TransportConfig(2, 16)
    )
    config = dataclasses.replace(
        training_config,
        steps=100,
        report_every=100,
        lr=3e-3,
        transport=TransportFitConfig(1000, 2, 200, 64, 5e-3, 0.1, 4, 16, "strokes", False),
    )
    trainer = Trainer(structure, config, bars)
    list(trainer.run())
    images = trainer.images.float() / 255
    trainer.model.eval()
    with torch.no_grad():
        plain = trainer.model.encoder(images)
    game = {name: snapshot(trainer, name) for name in PLAYERS}
    found = trainer.fit_transport()
    first = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    assert set(found) == {"transport_loss", "alignment_loss"}
    assert all(not moved(game[name], snapshot(trainer, name)) for name in PLAYERS)
    trainer.model.eval()
    with torch.no_grad():
        codes = trainer.model.encode(images)
    undone = trainer.model.transport.restore_style(codes.specified.mean, codes.unspecified.mean)
    torch.testing.assert_close(undone, plain.unspecified.mean, rtol=1e-3, atol=1e-3)
    panel = {"quadratic": PANEL["quadratic"]}
    z, labels = codes.unspecified.mean.numpy(), bars.labels
    before = plain.unspecified.mean.numpy()
    leaks = [
        leakage(c, labels, c, labels, bars.class_count, 0, panel).accuracy for c in (before, z)
    ]
    assert leaks[1] < leaks[0]
    trainer.fit_transport()  # what a kill in the fit costs is the fit, not the bits
    assert not moved(first, trainer.model.state_dict())


def test_a_model_without_transport_has_nothing_to_fit(trainer):
    before = snapshot(trainer, "generator")
    assert trainer.fit_transport() == {}
    assert not moved(before, snapshot(trainer, "generator"))


PAIRS = ObjectiveWeights(**(ZEROS | {"partner": 1.0, "adversarial": 1.0, "adversarial_prior": 1.0}))


@pytest.fixture
def pairs_only(model_config, training_config, bars) -> Trainer:
    config = dataclasses.replace(training_config, weights=PAIRS, supervision="pairs")
    return Trainer(model_config, config, bars)


def test_training_on_pairs_does_not_read_labels(pairs_only, training_config, bars):
    """Renaming the classes changes nothing, though each pair is of one of them."""
    renamed = dataclasses.replace(bars, labels=np.array([2, 0, 3, 1])[bars.labels])
    other = Trainer(pairs_only.model.config, pairs_only.config, renamed)
    # The sampler's own bookkeeping is by label; the pairs that it gives are set to be the same.
    other.sampler = pairs_only.sampler
    for trainer in (pairs_only, other):
        for _ in range(3):
            trainer.train_step()
    assert not moved(pairs_only.state(), other.state())


def test_a_critic_without_labels_is_rejected(training_config):
    with pytest.raises(ValueError, match="weights.confusion: 5.0, expected 0 with"):
        dataclasses.replace(training_config, supervision="pairs")


def test_mismatched_images_are_fakes_only_if_configured(model_config, training_config, bars):
    config = dataclasses.replace(training_config, mismatched=False)
    trainer = Trainer(model_config, config, bars)
    _, _, logits = generated(trainer)
    assert logits.mismatched is None
    loss, _ = trainer._discriminator_loss(logits)
    fake = torch.cat([logits.fake["swapped"], logits.fake["sampled"]])
    expected = -0.5 * (torch.sigmoid(logits.real).log().mean() + torch.sigmoid(-fake).log().mean())
    torch.testing.assert_close(loss, expected)


def test_the_transport_uses_clusters_in_place_of_classes(model_config, training_config, bars):
    style = dataclasses.replace(model_config.unspecified, shared_variance=True)
    structure = dataclasses.replace(
        model_config, unspecified=style, transport=TransportConfig(2, 8)
    )
    config = dataclasses.replace(training_config, weights=PAIRS, supervision="pairs")
    renamed = dataclasses.replace(bars, labels=np.array([2, 0, 3, 1])[bars.labels])
    fitted = []
    for data in (bars, renamed):
        trainer = Trainer(structure, config, data)
        trainer.fit_transport()
        fitted.append(trainer.model.state_dict())
    assert not moved(*fitted)


def test_a_model_of_few_images_per_class_gets_no_transport(model_config, training_config, bars):
    transport = TransportConfig(layers=2, hidden=8)
    structure = dataclasses.replace(model_config, transport=transport)
    mean = len(bars) // bars.class_count
    for least, has in ((mean, True), (mean + 1, False)):
        fit = dataclasses.replace(training_config.transport, images_per_class=least)
        config = dataclasses.replace(training_config, transport=fit)
        trainer = Trainer(structure, config, bars)
        assert (trainer.model.transport is not None) is has
    assert trainer.fit_transport() == {}
