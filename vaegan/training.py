"""Adversarial training: one update per player, the loop, and the state to go on from.

Knows no tracker and no file: it yields a report every so many steps.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vaegan import losses
from vaegan.augment import vary_style
from vaegan.data import (
    LabelledImages,
    PairSampler,
    as_tensor,
    stratified_subset,
    to_unit_range,
)
from vaegan.devices import to_channels_last
from vaegan.latents import Codes, kl_to_standard_normal, reparameterize
from vaegan.losses import ObjectiveWeights
from vaegan.model import DisentanglingVAE
from vaegan.networks import Critic, Discriminator, ModelConfig
from vaegan.players import Player, learning_rate_scale
from vaegan.rng import derive_seed, numpy_rng, torch_rng
from vaegan.transport import ChangedCodes, TransportTraining, fit_transport

Kept = TypeVar("Kept")
ADVERSARIAL = {"swapped": "adversarial", "sampled": "adversarial_prior"}  # its term, by image
ENCODED_AT_ONCE = 1000


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        seed: Of every random stream.
        steps: Updates of encoder and decoder, >= 1.
        pairs: Pairs of images per step; the encoder sees twice as many images.
        lr: Adam's step size of encoder and decoder at its highest.
        discriminator_lr: That of the discriminator.
        critic_lr: That of the critic.
        critic_steps: Updates of the critic per step, >= 1.
        warmup_steps: Steps over which the step sizes rise linearly from 0.
        report_every: Steps between reports.
        precision: ``"float32"`` or ``"bfloat16"`` (autocast; weights and losses stay float32).
        weights: Of the terms.
        transport: How to fit the class transport of a model that has one.
    """

    seed: int
    steps: int
    pairs: int
    lr: float
    discriminator_lr: float
    critic_lr: float
    critic_steps: int
    warmup_steps: int
    report_every: int
    precision: str
    weights: ObjectiveWeights
    transport: TransportTraining | None = None


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


@dataclass(frozen=True)
class Draws:
    """What the generator made of a batch of P pairs; kept for its adversaries' updates.

    Images that no term with a weight looks at are not drawn, and None here.

    Attributes:
        images: float32 (2P, C, H, W), anchors then partners.
        labels: int64 (2P,).
        codes: Posteriors of the images.
        unspecified: float32 (2P, Z), one sample of each image.
        noise: Styles from the prior, (P, Z).
        identity: int64 (P,), the class that ``swapped`` and ``sampled`` should show; not the
            anchor's, as long as no class fills more than half of the batch.
        own: Images drawn from their own codes, (2P, C, H, W).
        partner: From their own style and their partner's specified code, (2P, C, H, W).
        swapped: Style of each anchor, identity of an image of another class, (P, C, H, W).
        sampled: Style ``noise``, the same identities, (P, C, H, W).
        crossed: Style ``noise``, identities of the anchors, (P, C, H, W).
    """

    images: Tensor
    labels: Tensor
    codes: Codes
    unspecified: Tensor
    noise: Tensor
    identity: Tensor
    own: Tensor | None = None
    partner: Tensor | None = None
    swapped: Tensor | None = None
    sampled: Tensor | None = None
    crossed: Tensor | None = None


@dataclass(frozen=True)
class Verdicts:
    """What the discriminator says of a step's images: logits, float32 (P,) each.

    Attributes:
        real: Partners under their own class.
        mislabelled: Anchors under ``Draws.identity``.
        swapped: ``Draws.swapped`` under that class; None where there are none.
        sampled: ``Draws.sampled`` under it; likewise.
    """

    real: Tensor
    mislabelled: Tensor
    swapped: Tensor | None
    sampled: Tensor | None


class Trainer:
    """The game between encoder-decoder, discriminator and critic.

    Args:
        model_config: Structure of the model.
        config: How to train.
        data: Training images; copied whole to a CUDA device as uint8, used where they are on the
            CPU.
        device: Where to train.

    Raises:
        ValueError: the images are not of the model's shape, or show fewer than two classes.
    """

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainingConfig,
        data: LabelledImages,
        device: str | torch.device = "cpu",
    ) -> None:
        if data.image_shape != model_config.image_shape:
            raise ValueError(
                f"images are {data.image_shape}, the model wants {model_config.image_shape}"
            )
        self.config = config
        self.device = torch.device(device)
        self.images = as_tensor(data.images, self.device)
        self.labels = as_tensor(data.labels, self.device)
        self.sampler = PairSampler(self.labels, data.class_count)
        with torch.random.fork_rng():  # initial weights are keyed too, and torch's own stream kept
            torch.manual_seed(derive_seed(config.seed, "weights"))
            self.model = DisentanglingVAE(model_config)
            self.discriminator = Discriminator(model_config)
            self.critic = Critic(model_config)
        self.players: dict[str, Player] = {}
        for name, module, lr, betas in (
            ("generator", self.model, config.lr, (0.9, 0.999)),
            ("discriminator", self.discriminator, config.discriminator_lr, (0.5, 0.999)),
            ("critic", self.critic, config.critic_lr, (0.9, 0.999)),
        ):
            to_channels_last(module.to(self.device)).train()
            # The transport is no part of the game: it is fitted when that is over.
            modules: list[nn.Module] = [module]
            if name == "generator":
                modules = [self.model.encoder, self.model.decoder]
            self.players[name] = Player(name, modules, lr, betas)
        self.step = 0

    def run(self) -> Iterator[Report]:
        """Trains to the end, from wherever the state is, and yields every ``report_every`` steps.

        Raises:
            FloatingPointError: a loss is not finite; found at the report that follows.
        """
        while self.step < self.config.steps:
            stop = min(
                self.config.steps,
                self.step + self.config.report_every - self.step % self.config.report_every,
            )
            begun, first = time.perf_counter(), self.step
            totals: dict[str, Tensor] = {}
            while self.step < stop:
                for name, value in self.train_step().items():
                    totals[name] = totals[name] + value if name in totals else value
            # The only synchronisation with the device: once per report.
            metrics = {name: float(total) / (stop - first) for name, total in totals.items()}
            for name, mean in metrics.items():
                if not math.isfinite(mean):
                    raise FloatingPointError(f"{name} is {mean} before step {stop}")
            seconds = time.perf_counter() - begun
            metrics["lr"] = self.config.lr * self._scale(stop - 1)
            metrics["images_per_second"] = 2 * self.config.pairs * (stop - first) / seconds
            yield Report(self.step, metrics)

    def train_step(self) -> dict[str, Tensor]:
        """One update of each player; returns each loss as a detached scalar on the device."""
        scale = self._scale(self.step)
        draws = self.draw()
        verdicts = self._verdicts(draws)
        generator, terms = self._generator_loss(draws, verdicts)
        # Both losses hang on one pass of the discriminator, so neither player may move
        # before both have their gradients.
        self.players["generator"].collect(generator, keep_graph=verdicts is not None)
        if verdicts is not None:
            discriminator, discriminator_terms = self._discriminator_loss(verdicts)
            self.players["discriminator"].collect(discriminator)
            terms |= discriminator_terms
        self.players["generator"].move(scale)
        if verdicts is not None:
            self.players["discriminator"].move(scale)
        if self.config.weights.confusion:
            terms |= self._update_critic(draws, scale)
        self.step += 1
        return {name: value.detach() for name, value in terms.items()}

    def _scale(self, step: int) -> float:
        return learning_rate_scale(step, self.config.steps, self.config.warmup_steps)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )

    def draw(self) -> Draws:
        """Takes the step's batch and draws all its images, in one pass of each network."""
        pairs = self.config.pairs
        rng = torch_rng(self.config.seed, "batch", self.step, self.device)
        batch = self.sampler.sample(pairs, rng)
        positions = torch.cat([batch.anchor, batch.partner])
        images = to_unit_range(self.images[positions]).contiguous(memory_format=torch.channels_last)
        labels = self.labels[positions]
        with self._autocast():
            codes = self.model.encoder(images)
            s = reparameterize(codes.specified, rng)
            z = reparameterize(codes.unspecified, rng)
            noise = torch.randn(z[:pairs].shape, generator=rng, device=self.device)
            drawn = self._drawn(s, z, noise, batch.other)
        identity = labels[batch.other]
        return Draws(images, labels, codes, z, noise, identity, **drawn)

    def _drawn(self, s: Tensor, z: Tensor, noise: Tensor, other: Tensor) -> dict[str, Tensor]:
        """The images that some term looks at, by name, in one pass of the decoder."""
        weights, pairs = self.config.weights, len(noise)
        wanted = {}
        if weights.reconstruction:
            wanted["own"] = s, z
        if weights.partner:
            wanted["partner"] = torch.cat([s[pairs:], s[:pairs]]), z
        if weights.adversarial:
            wanted["swapped"] = s[other], z[:pairs]
        if weights.adversarial_prior or weights.style_cycle or weights.cycle:
            wanted["sampled"] = s[other], noise
        if weights.cycle:
            wanted["crossed"] = s[:pairs], noise
        if not wanted:
            return {}
        specified, unspecified = (torch.cat(codes) for codes in zip(*wanted.values(), strict=True))
        sizes = [len(codes) for codes, _ in wanted.values()]
        drawn = self.model.decoder(specified, unspecified).split(sizes)
        return dict(zip(wanted, drawn, strict=True))

    def _verdicts(self, draws: Draws) -> Verdicts | None:
        """One pass of the discriminator, for its own update and for the generator's."""
        weights, verdict = self.config.weights, self.discriminator.verdict
        judged = {
            name: images
            for name, images in (("swapped", draws.swapped), ("sampled", draws.sampled))
            if images is not None and getattr(weights, ADVERSARIAL[name])
        }
        if not judged:
            return None
        with self._autocast():
            anchors, partners = self.discriminator.features(draws.images).chunk(2)
            drawn = self.discriminator.features(torch.cat(list(judged.values())))
            fake = dict(zip(judged, drawn.chunk(len(judged)), strict=True))
            return Verdicts(
                verdict(partners, draws.labels[len(anchors) :]),
                verdict(anchors, draws.identity),
                *(
                    verdict(fake[name], draws.identity) if name in fake else None
                    for name in ("swapped", "sampled")
                ),
            )

    def _generator_loss(
        self, draws: Draws, verdicts: Verdicts | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Encoder and decoder's loss, and those of its terms that have a weight."""
        codes, images, pairs = draws.codes, draws.images, len(draws.noise)
        terms: dict[str, Callable[[], Tensor]] = {
            "reconstruction": lambda: losses.reconstruction_loss(_there(draws.own), images),
            "partner": lambda: losses.reconstruction_loss(_there(draws.partner), images),
            "specified_kl": lambda: kl_to_standard_normal(codes.specified),
            "unspecified_kl": lambda: kl_to_standard_normal(codes.unspecified),
            "adversarial": lambda: losses.generator_loss(_there(_there(verdicts).swapped)),
            "adversarial_prior": lambda: losses.generator_loss(_there(_there(verdicts).sampled)),
            "confusion": lambda: losses.confusion_loss(self.critic(draws.unspecified)),
            "style_cycle": lambda: losses.style_cycle_loss(
                self._style(_there(draws.sampled)), draws.noise
            ),
            "cycle": lambda: losses.cycle_loss(
                *self._style(
                    # The encoder's to mend, not the decoder's.
                    torch.cat([_there(draws.sampled), _there(draws.crossed)]).detach()
                ).chunk(2)
            ),
            "pair_kernel": lambda: losses.pair_kernel_loss(
                codes.unspecified.mean[:pairs], codes.unspecified.mean[pairs:]
            ),
        }
        total, found = torch.zeros((), device=self.device), {}
        for name, factor in asdict(self.config.weights).items():
            if factor:
                with self._autocast():
                    found[f"{name}_loss"] = terms[name]()
                total = total + factor * found[f"{name}_loss"]
        return total, found | {"generator_loss": total}

    def _style(self, images: Tensor) -> Tensor:
        """Means of the unspecified codes of drawn images (B, C, H, W).

        They are normalised by their own statistics, but leave those of the encoder alone, which
        are to be of real images.
        """
        norms = [m for m in self.model.encoder.modules() if isinstance(m, _BatchNorm)]
        for norm in norms:
            norm.track_running_stats = False
        try:
            return self.model.encoder(images).unspecified.mean
        finally:
            for norm in norms:
                norm.track_running_stats = True

    def _discriminator_loss(self, verdicts: Verdicts) -> tuple[Tensor, dict[str, Tensor]]:
        """Real images of an identity against drawn ones, and against real ones of another.

        The latter are the mismatched pairs of Reed et al. (2016, arXiv 1605.05396): without
        them it learns what is sharp before it learns what shows the right class.
        """
        real = verdicts.real
        drawn = [logits for logits in (verdicts.swapped, verdicts.sampled) if logits is not None]
        fake = torch.cat([*drawn, verdicts.mislabelled])
        loss = losses.discriminator_loss(real, fake)
        correct = 0.5 * (real > 0).float().mean() + 0.5 * (fake < 0).float().mean()
        return loss, {"discriminator_loss": loss, "discriminator_accuracy": correct}

    def _update_critic(self, draws: Draws, scale: float) -> dict[str, Tensor]:
        """The class of each image from a sample of its style, kept constant."""
        codes = draws.unspecified.detach()
        for _ in range(self.config.critic_steps):
            with self._autocast():
                logits = self.critic(codes)
            loss = losses.critic_loss(logits, draws.labels)
            self.players["critic"].update(loss, scale)
        correct = (logits.argmax(dim=1) == draws.labels).float().mean()
        return {"critic_loss": loss, "critic_accuracy": correct}

    def finish(self) -> dict[str, float]:
        """Fits the class transport to the trained model, if it has one; returns its losses.

        Nothing is drawn that depends on what went before, so it may be done again.
        """
        transport, config = self.model.transport, self.config.transport
        if transport is None or config is None:
            return {}
        self.model.eval()
        choice = numpy_rng(config.seed, "transport-images")
        fitted = stratified_subset(self.labels.cpu().numpy(), config.images, choice)
        fitted_rows = torch.from_numpy(fitted).to(self.device)
        means = [self._encode(self.images[rows]) for rows in fitted_rows.split(ENCODED_AT_ONCE)]
        specified, unspecified = (torch.cat(parts) for parts in zip(*means, strict=True))
        rng = torch_rng(config.seed, "changes", 0, self.device)
        size = config.changes, config.images_per_change
        rows = torch.randint(len(fitted_rows), size, generator=rng, device=self.device)
        changed = [self._encode(self.images[fitted_rows[r]], rng)[1] for r in rows]
        found = fit_transport(
            transport,
            specified,
            unspecified,
            self._style_std(),
            self.labels[fitted_rows],
            ChangedCodes(rows, torch.stack(changed)),
            config,
        )
        self.model.train()
        return found

    def _encode(
        self, images: Tensor, change: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Means of both codes of uint8 images, after a change of style if one is asked for."""
        with torch.no_grad():
            real = to_unit_range(images)
            real = real if change is None else vary_style(real, change)
            codes = self.model.encoder(real.contiguous(memory_format=torch.channels_last))
        return codes.specified.mean, codes.unspecified.mean

    def _style_std(self) -> Tensor:
        """Deviation of the unspecified posterior in each dimension, (Z,), averaged over images."""
        with torch.no_grad():
            images = to_unit_range(self.images[:ENCODED_AT_ONCE])
            return self.model.encoder(images).unspecified.std.mean(dim=0)

    def state(self) -> dict[str, Tensor]:
        """All that the rest of the training depends on, flat: weights, moments, step.

        Random streams need no state: each step's is keyed by its number.
        """
        tensors = {"step": torch.tensor(self.step)}
        for name, player in self.players.items():
            for index, module in enumerate(player.modules):
                for key, value in module.state_dict().items():
                    tensors[f"{name}/module/{index}/{key}"] = value
            for index, moments in player.optimizer.state_dict()["state"].items():
                for key, value in moments.items():
                    tensors[f"{name}/optimizer/{index}/{key}"] = value
        return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on from what :meth:`state` gave, under the same configurations and data.

        Raises:
            KeyError, RuntimeError: the state is of another structure.
        """
        for name, player in self.players.items():
            for index, module in enumerate(player.modules):
                module.load_state_dict(_below(state, f"{name}/module/{index}/"))
            optimizer = player.optimizer.state_dict()
            # The fused optimizer goes through memory: moments must lie as their parameter does.
            optimizer["state"] = {
                index: {
                    key: _laid_out_as(parameter, value)
                    for key, value in _below(state, f"{name}/optimizer/{index}/").items()
                }
                for index, parameter in enumerate(player.parameters)
            }
            player.optimizer.load_state_dict(optimizer)
        self.step = int(state["step"])


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def _there(value: Kept | None) -> Kept:
    """What a term with a weight has had drawn or judged."""
    if value is None:
        raise AssertionError("a term with a weight looks at an image that was not drawn")
    return value


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    same = value.shape == parameter.shape
    return torch.empty_like(parameter, requires_grad=False).copy_(value) if same else value
