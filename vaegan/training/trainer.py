"""Adversarial training: one update per player and step, reports, and the state to resume from."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vaegan.data import LabelledImages, as_tensor, to_unit_range
from vaegan.devices import resolve_device, resolve_precision, to_channels_last
from vaegan.model.config import NO_TRANSPORT, ModelConfig, ModelStructure
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import derive_seed
from vaegan.training import losses
from vaegan.training.adversaries import Critic, Discriminator
from vaegan.training.config import TrainingConfig
from vaegan.training.generation import (
    DiscriminatorLogits,
    EncodedBatch,
    discriminate,
    encode_batch,
    generate,
)
from vaegan.training.loop import TrainingLoop, autocast
from vaegan.training.objective import TermInputs, active_terms, needed_images
from vaegan.training.pairs import PairSampler
from vaegan.training.players import Player, learning_rate_scale, strip_prefix
from vaegan.training.transport_fit import fit_to_images


@dataclass(frozen=True)
class Report:
    """Metrics of the steps since the last report.

    Attributes:
        step: Steps done so far.
        metrics: The mean over these steps of each loss and accuracy; ``lr``, the generator's
            learning rate at the last step; ``images_per_second``, encoded images.
    """

    step: int
    metrics: dict[str, float]


class Trainer:
    """Trains encoder and decoder against a discriminator and a critic.

    Args:
        model_config: Structure of the model, except for the images' shape and number of classes;
            its transport is left out below ``config.transport.images_per_class``.
        config: How to train. ``threads`` concerns the process, see
            :func:`vaegan.devices.configure_torch`.
        data: Training images; on a CUDA device all are copied there as uint8, on the CPU they
            are used in place.

    Attributes:
        device: The device that ``config.device`` stands for on this machine.
        precision: The precision that ``config.precision`` stands for on this machine.

    Raises:
        ValueError: the images are of fewer than two classes, or there is no such device.
    """

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainingConfig,
        data: LabelledImages,
    ) -> None:
        self.config = config
        self.device = resolve_device(config.device)
        self.precision = resolve_precision(config.precision, self.device)
        if len(data) < config.transport.images_per_class * data.class_count:
            # Fitted to so few, it would map single images, and styles would lose their meaning.
            model_config = replace(model_config, transport=NO_TRANSPORT)
        structure = ModelStructure.of(model_config, data.image_shape, data.class_count)
        labelled = config.supervision == "labels"
        self.images = as_tensor(data.images, self.device)
        self.labels = as_tensor(data.labels, self.device)
        self.sampler = PairSampler(self.labels, data.class_count, labelled)
        with torch.random.fork_rng():  # keyed initial weights; torch's global stream is kept
            torch.manual_seed(derive_seed(config.seed, "weights"))
            self.model = DisentanglingVAE(structure)
            self.discriminator = Discriminator(structure, by_example=not labelled)
            self.critic = Critic(structure)
        self.players: dict[str, Player] = {}
        # Without the transport, which is fitted after the adversarial training.
        generator: list[nn.Module] = [self.model.encoder, self.model.decoder]
        to_channels_last(self.model.to(self.device)).train()
        sides: dict[str, tuple[list[nn.Module], float, tuple[float, float]]] = {
            "generator": (generator, config.lr, (0.9, 0.999)),
            "discriminator": ([self.discriminator], config.discriminator_lr, (0.5, 0.999)),
            "critic": ([self.critic], config.critic_lr, (0.9, 0.999)),
        }
        for name, (modules, lr, betas) in sides.items():
            for module in modules:
                to_channels_last(module.to(self.device)).train()
            self.players[name] = Player(name, modules, lr, betas)
        self.loop = TrainingLoop(self._update, self._set_rates, self.device, config.seed, "batch")

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self.loop.step

    def run(self) -> Iterator[Report]:
        """Trains from the present step to the last, and yields every ``report_every`` steps.

        Raises:
            FloatingPointError: a loss or a weight is not finite; the message has its name and
                step. Raised after that step on the CPU, at the next report on a CUDA device; for
                a weight, at the next report.
        """
        while self.step < self.config.steps:
            every = self.config.report_every
            count = min(self.config.steps - self.step, every - self.step % every)
            begun = time.perf_counter()
            names, values = self.loop.run(count)
            totals = sum(values[1:], values[0]).tolist()  # waits for the device
            seconds = time.perf_counter() - begun
            self._check_weights()
            metrics = {name: total / count for name, total in zip(names, totals, strict=True)}
            metrics["lr"] = self.config.lr * self._scale(self.step - 1)
            metrics["images_per_second"] = 2 * self.config.pairs * count / seconds
            yield Report(self.step, metrics)

    def _check_weights(self) -> None:
        """Raises an error about the first weight of the model that is not finite.

        A loss shows it one step later, which the last step of a training does not have.
        """
        for name, value in self.model.state_dict().items():
            if not torch.isfinite(value).all():
                raise FloatingPointError(f"the model's {name} is not finite at step {self.step}")

    def train_step(self) -> dict[str, Tensor]:
        """Updates each player once; returns each loss as a detached scalar on the device.

        On a CUDA device the next step overwrites them.
        """
        return self.loop.advance()

    def _update(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Runs one training step, without host-side state, so that it can be captured."""
        batch, images = self._generate(rng)
        logits = self._discriminate(batch, images)
        generator, terms = self._generator_loss(batch, images, logits)
        # Both losses share one pass of the discriminator, so both players get their
        # gradients before either takes a step.
        self.players["generator"].backward(generator, keep_graph=logits is not None)
        if logits is not None:
            discriminator, discriminator_terms = self._discriminator_loss(logits)
            self.players["discriminator"].backward(discriminator)
            terms |= discriminator_terms
        self.players["generator"].step()
        if logits is not None:
            self.players["discriminator"].step()
        if active_terms(self.config.weights, against="critic"):
            terms |= self._update_critic(batch)
        return {name: value.detach() for name, value in terms.items()}

    def _scale(self, step: int) -> float:
        return learning_rate_scale(step, self.config.steps, self.config.warmup_steps)

    def _set_rates(self, step: int) -> None:
        for player in self.players.values():
            player.set_rate(self._scale(step))

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def _generate(self, rng: torch.Generator) -> tuple[EncodedBatch, dict[str, Tensor]]:
        """Samples and encodes a batch, and generates the images that the objective needs."""
        pairs = self.sampler.sample(self.config.pairs, rng, self.config.adversarial_pairs)
        rows = torch.cat([pairs.anchor, pairs.partner])
        images = to_unit_range(self.images[rows]).contiguous(memory_format=torch.channels_last)
        labels, names = self.labels[rows], needed_images(self.config.weights)
        with self._autocast():
            batch = encode_batch(self.model.encoder, images, labels, pairs.other, rng)
            return batch, generate(self.model.decoder, batch, names)

    def _discriminate(
        self, batch: EncodedBatch, images: dict[str, Tensor]
    ) -> DiscriminatorLogits | None:
        """Computes the discriminator's logits; None if no term opposes the discriminator."""
        names = needed_images(self.config.weights, against="discriminator")
        fake = {name: generated for name, generated in images.items() if name in names}
        if not fake:
            return None
        with self._autocast():
            return discriminate(self.discriminator, batch, fake, self.config.mismatched)

    def _generator_loss(
        self, batch: EncodedBatch, images: dict[str, Tensor], logits: DiscriminatorLogits | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of encoder and decoder, and each of its terms that has a weight."""
        fake = {} if logits is None else logits.fake
        inputs = TermInputs(
            self.model.encoder, self.critic, batch, images, fake, self.config.real_target
        )
        total, found = torch.zeros((), device=self.device), {}
        for name, term in active_terms(self.config.weights).items():
            with self._autocast():
                loss = term.loss(inputs)
            total = total + getattr(self.config.weights, name) * loss
            found[f"{name}_loss"] = loss
        return total, found | {"generator_loss": total}

    def _discriminator_loss(self, logits: DiscriminatorLogits) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss on real images, against generated and mismatched ones.

        Mismatched images are real ones of another identity (Reed et al., 2016, arXiv
        1605.05396). Without them the discriminator learns what is sharp before it learns
        which class an image shows.
        """
        real, fakes = logits.real, list(logits.fake.values())
        fake = torch.cat(fakes if logits.mismatched is None else [*fakes, logits.mismatched])
        loss = losses.discriminator_loss(real, fake, self.config.real_target)
        correct = 0.5 * (real > 0).float().mean() + 0.5 * (fake < 0).float().mean()
        return loss, {"discriminator_loss": loss, "discriminator_accuracy": correct}

    def _update_critic(self, batch: EncodedBatch) -> dict[str, Tensor]:
        """Trains the critic on samples of the styles, which get no gradient."""
        codes = batch.unspecified.detach()
        for _ in range(self.config.critic_steps):
            with self._autocast():
                logits = self.critic(codes)
            loss = losses.critic_loss(logits, batch.labels)
            self.players["critic"].update(loss)
        correct = (logits.argmax(dim=1) == batch.labels).float().mean()
        return {"critic_loss": loss, "critic_accuracy": correct}

    def fit_transport(self) -> dict[str, float]:
        """Fits the class transport to the trained model, if it has one; returns its losses.

        See :func:`vaegan.training.transport_fit.fit_to_images`; repeating it gives the same bits.

        Raises:
            FloatingPointError: a loss or a weight is not finite.
        """
        if self.model.transport is None:
            return {}
        self.model.eval()
        config = self.config
        labels = self.labels if config.supervision == "labels" else None
        fitted = fit_to_images(
            self.model, self.images, labels, config.transport, config.seed, self.precision
        )
        self._check_weights()
        self.model.train()
        return fitted

    def state(self) -> dict[str, Tensor]:
        """Returns what the rest of the training depends on: weights, moments, step.

        On the CPU the tensors may share memory with the trainer's. Random streams need no state,
        because they are keyed by the step.
        """
        tensors = {"step": torch.tensor(self.step)}
        for name, player in self.players.items():
            tensors |= {f"{name}/{key}": value for key, value in player.state().items()}
        return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restores a state that :meth:`state` returned, under the same configurations and data.

        Raises:
            KeyError, RuntimeError: the state is of another structure.
        """
        for name, player in self.players.items():
            player.restore(strip_prefix(state, f"{name}/"))
        self.loop.resume(int(state["step"]))
