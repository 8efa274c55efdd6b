"""Adversarial training: one update per player, the loop, and the state to go on from.

Knows no tracker and no file: it yields a report every so many steps.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from vaegan.data import LabelledImages, as_tensor, to_unit_range
from vaegan.devices import resolve_device, resolve_precision, to_channels_last
from vaegan.model.config import ModelConfig, ModelStructure
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import derive_seed
from vaegan.training import losses
from vaegan.training.adversaries import Critic, Discriminator
from vaegan.training.config import TrainingConfig
from vaegan.training.cuda_graph import Repeated
from vaegan.training.generation import Draws, Verdicts, draw, judge_draws
from vaegan.training.objective import objective_terms
from vaegan.training.pairs import PairSampler
from vaegan.training.players import Player, below, learning_rate_scale
from vaegan.training.transport_fit import fit_to_images


@dataclass(frozen=True)
class Report:
    """What happened since the last report.

    Attributes:
        step: Steps done so far.
        metrics: By name, the mean over the interval of each loss and accuracy; ``lr``, the
            generator's at the last step; ``images_per_second``, those that were encoded.
    """

    step: int
    metrics: dict[str, float]


class Trainer:
    """The game between encoder-decoder, discriminator and critic.

    Args:
        model_config: Structure of the model, but for the images' shape and number of classes.
        config: How to train. ``threads`` is the process's business, see
            :func:`vaegan.devices.configure_torch`.
        data: Training images; copied whole to a CUDA device as uint8, used where they are on the
            CPU.

    Attributes:
        device: The device that ``config.device`` stands for on this machine.
        precision: The precision that ``config.precision`` stands for there.

    Raises:
        ValueError: the images show fewer than two classes, or there is no such device.
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
        structure = ModelStructure.of(model_config, data.image_shape, data.class_count)
        labelled = config.supervision == "labels"
        self.images = as_tensor(data.images, self.device)
        self.labels = as_tensor(data.labels, self.device)
        self.sampler = PairSampler(self.labels, data.class_count, labelled)
        with torch.random.fork_rng():  # initial weights are keyed too, and torch's own stream kept
            torch.manual_seed(derive_seed(config.seed, "weights"))
            self.model = DisentanglingVAE(structure)
            self.discriminator = Discriminator(structure, by_example=not labelled)
            self.critic = Critic(structure)
        self.players: dict[str, Player] = {}
        # The transport is no part of the game: it is fitted when that is over.
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
        self.step = 0
        self.rng = torch.Generator(device=self.device)
        self.repeated = Repeated(self._update, self.rng) if self.device.type == "cuda" else None

    def run(self) -> Iterator[Report]:
        """Trains to the end, from wherever the state is, and yields every ``report_every`` steps.

        Raises:
            FloatingPointError: a loss is not finite, with its name and step; raised at once on the
                CPU, at the next report on a device, which computes while the loop goes on.
        """
        at_once = self.device.type == "cpu"
        while self.step < self.config.steps:
            stop = min(
                self.config.steps,
                self.step + self.config.report_every - self.step % self.config.report_every,
            )
            begun, first = time.perf_counter(), self.step
            totals: dict[str, Tensor | float] = {}
            kept: list[Tensor] = []
            while self.step < stop:
                found = self.train_step()
                if at_once:
                    _check_finite({name: value.item() for name, value in found.items()}, self.step)
                else:
                    kept.append(torch.stack(list(found.values())))
                for name, value in found.items():
                    totals[name] = totals.get(name, 0.0) + value
            # The only synchronisation with a device: once per report.
            metrics = {name: float(total) / (stop - first) for name, total in totals.items()}
            for step, values in enumerate(kept, start=first + 1):
                _check_finite(dict(zip(found, values.tolist(), strict=True)), step)
            seconds = time.perf_counter() - begun
            metrics["lr"] = self.config.lr * self._scale(stop - 1)
            metrics["images_per_second"] = 2 * self.config.pairs * (stop - first) / seconds
            yield Report(self.step, metrics)

    def train_step(self) -> dict[str, Tensor]:
        """One update of each player; returns each loss as a detached scalar on the device.

        On a CUDA device the next step overwrites them.
        """
        self._seed()
        for player in self.players.values():
            player.set_rate(self._scale(self.step))
        self.step += 1
        return self._update() if self.repeated is None else self.repeated()

    def _update(self) -> dict[str, Tensor]:
        """What a step computes: as nothing here depends on its number, it can be recorded."""
        draws = self._draw()
        verdicts = self._verdicts(draws)
        generator, terms = self._generator_loss(draws, verdicts)
        # Both losses hang on one pass of the discriminator, so neither player may move
        # before both have their gradients.
        self.players["generator"].collect(generator, keep_graph=verdicts is not None)
        if verdicts is not None:
            discriminator, discriminator_terms = self._discriminator_loss(verdicts)
            self.players["discriminator"].collect(discriminator)
            terms |= discriminator_terms
        self.players["generator"].move()
        if verdicts is not None:
            self.players["discriminator"].move()
        if self.config.weights.confusion:
            terms |= self._update_critic(draws)
        return {name: value.detach() for name, value in terms.items()}

    def _scale(self, step: int) -> float:
        return learning_rate_scale(step, self.config.steps, self.config.warmup_steps)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def draw(self) -> Draws:
        """What the next step will draw, gradients and all; no player moves."""
        self._seed()
        return self._draw()

    def _seed(self) -> None:
        self.rng.manual_seed(derive_seed(self.config.seed, "batch", self.step))

    def _draw(self) -> Draws:
        """Takes a batch and draws all its images, in one pass of each network."""
        config, rng = self.config, self.rng
        batch = self.sampler.sample(config.pairs, rng)
        positions = torch.cat([batch.anchor, batch.partner])
        images = to_unit_range(self.images[positions]).contiguous(memory_format=torch.channels_last)
        labels = self.labels[positions]
        return draw(self.model, images, labels, batch.other, config.weights, rng, self._autocast())

    def _verdicts(self, draws: Draws) -> Verdicts | None:
        with self._autocast():
            return judge_draws(
                self.discriminator, draws, self.config.weights, self.config.mismatched
            )

    def _generator_loss(
        self, draws: Draws, verdicts: Verdicts | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Encoder and decoder's loss, and those of its terms that have a weight."""
        terms = objective_terms(
            self.model.encoder, self.critic, draws, verdicts, self.config.real_target
        )
        total, found = torch.zeros((), device=self.device), {}
        for name, factor in asdict(self.config.weights).items():
            if factor:
                with self._autocast():
                    found[f"{name}_loss"] = terms[name]()
                total = total + factor * found[f"{name}_loss"]
        return total, found | {"generator_loss": total}

    def _discriminator_loss(self, verdicts: Verdicts) -> tuple[Tensor, dict[str, Tensor]]:
        """Real images of an identity against drawn ones, and against real ones of another.

        The latter are the mismatched pairs of Reed et al. (2016, arXiv 1605.05396): without
        them it learns what is sharp before it learns what shows the right class.
        """
        real = verdicts.real
        fakes = (verdicts.swapped, verdicts.sampled, verdicts.mismatched)
        fake = torch.cat([logits for logits in fakes if logits is not None])
        loss = losses.discriminator_loss(real, fake, self.config.real_target)
        correct = 0.5 * (real > 0).float().mean() + 0.5 * (fake < 0).float().mean()
        return loss, {"discriminator_loss": loss, "discriminator_accuracy": correct}

    def _update_critic(self, draws: Draws) -> dict[str, Tensor]:
        """The class of each image from a sample of its style, kept constant."""
        codes = draws.unspecified.detach()
        for _ in range(self.config.critic_steps):
            with self._autocast():
                logits = self.critic(codes)
            loss = losses.critic_loss(logits, draws.labels)
            self.players["critic"].update(loss)
        correct = (logits.argmax(dim=1) == draws.labels).float().mean()
        return {"critic_loss": loss, "critic_accuracy": correct}

    def finish(self) -> dict[str, float]:
        """Fits the class transport to the trained model, if it has one; returns its losses.

        See :func:`vaegan.transport_fit.fit_to_images`; it may be done again, to the same bits.
        """
        if self.model.transport is None:
            return {}
        self.model.eval()
        config = self.config
        labels = self.labels if config.supervision == "labels" else None
        found = fit_to_images(
            self.model, self.images, labels, config.transport, config.seed, self.precision
        )
        self.model.train()
        return found

    def state(self) -> dict[str, Tensor]:
        """All that the rest of the training depends on, flat: weights, moments, step.

        Random streams need no state: each step's is keyed by its number.
        """
        tensors = {"step": torch.tensor(self.step)}
        for name, player in self.players.items():
            tensors |= {f"{name}/{key}": value for key, value in player.state().items()}
        return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on from what :meth:`state` gave, under the same configurations and data.

        Raises:
            KeyError, RuntimeError: the state is of another structure.
        """
        for name, player in self.players.items():
            player.restore(below(state, f"{name}/"))
        self.step = int(state["step"])
        if self.repeated is not None:
            self.repeated.forget()


def _check_finite(values: dict[str, float], step: int) -> None:
    """Raises FloatingPointError for the first value that is not; terms come before their sum."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value} at step {step}")
