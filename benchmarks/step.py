"""Cost of a training step beyond its networks' own forward and backward passes.

Floor: the forward and backward passes of the same networks on as many images, in the same
precision and layout, on random tensors created beforehand; no sampling, losses, optimizer or
logging. Real: the loop of the stage ``train`` with checkpoints and sample grids; ``overhead``
measures tracking. Both run in turn in one process, for equal numbers of steps.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.defaults import make_trainer, run_stage_loop
from benchmarks.measure import Result
from vaegan.training.trainer import Report, Trainer

STEPS, ROUNDS, WARM_UP = 125, 12, 2


class Backward:
    """A backward pass from some outputs, with random output gradients sampled once."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []

    def __call__(self, outputs: list[Tensor], inputs: Sequence[Tensor], keep: bool = False) -> None:
        """Accumulates the gradients of ``inputs``."""
        if not self.gradients:
            self.gradients = [torch.randn_like(output) for output in outputs]
        torch.autograd.backward(outputs, self.gradients, inputs=inputs, retain_graph=keep)


def floor(trainer: Trainer) -> Callable[[], None]:
    """Returns a function that runs one step's passes on copies of all networks."""
    model = copy.deepcopy(trainer.model)
    discriminator, critic = copy.deepcopy(trainer.discriminator), copy.deepcopy(trainer.critic)
    config, device, structure = trainer.config, trainer.device, trainer.model.config
    pairs, weights = config.pairs, config.weights
    # The default's images: with their own and their partner's identity, and, for the
    # discriminator, in another image's style and in one from the prior; these two come last.
    autoencoded = bool(weights.reconstruction) + bool(weights.partner)
    generated_count = 2 * pairs * (autoencoded + 1)
    ours, theirs, guessers = (
        [p for network in networks for p in network.parameters()]
        for networks in ((model.encoder, model.decoder), (discriminator,), (critic,))
    )

    def random(*shape: int, gradient: bool = False) -> Tensor:
        return torch.randn(shape, device=device).requires_grad_(gradient)

    images = random(2 * pairs, *structure.image_shape).sigmoid()
    images = images.contiguous(memory_format=torch.channels_last)
    s = random(generated_count, structure.specified.dim, gradient=True)
    z = random(generated_count, structure.unspecified.dim, gradient=True)
    own = random(2 * pairs, structure.unspecified.dim, gradient=True)
    labels = torch.randint(structure.class_count, (pairs,), device=device)
    generator, adversary, guess = Backward(), Backward(), Backward()

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")

    def step() -> None:
        for tensor in (s, z, own, *ours, *theirs, *guessers):
            tensor.grad = None
        with autocast():
            codes = model.encoder(images)
            generated = model.decoder(s, z)
            anchors, partners = discriminator.features(images).chunk(2)
            fake = discriminator.features(generated[-2 * pairs :])
            logits = [discriminator.verdict(x, labels) for x in (*fake.chunk(2), anchors, partners)]
            guesses = critic(own)
        posteriors = [codes.specified, codes.unspecified]
        moments = [m for q in posteriors for m in (q.mean, q.logvar) if m is not None]
        generator([*logits[:2], guesses, generated, *moments], [*ours, s, z, own], keep=True)
        adversary(logits, theirs)
        for _ in range(config.critic_steps):
            with autocast():
                guesses = critic(own.detach())
            guess([guesses], guessers)

    return step


class Paced(Trainer):
    """A trainer that runs an equal number of floor steps after each of its reports."""

    def run(self) -> Iterator[Report]:
        """Trains as usual and times each interval, checkpoint and sample grid included."""
        self.real, self.floor = list[float](), list[float]()
        reports, bare = super().run(), floor(self)
        begun = time.perf_counter()
        for report in reports:
            yield report
            self.real.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            for _ in range(self.config.report_every):
                bare()
            self.floor.append(time.perf_counter() - begun)
            begun = time.perf_counter()


def run() -> list[Result]:
    """Measures with the default's configuration."""
    paced = make_trainer(Paced, steps=STEPS * (ROUNDS + WARM_UP), report_every=STEPS)
    run_stage_loop(paced)
    real, bare = paced.real[WARM_UP:], paced.floor[WARM_UP:]
    images = 2 * paced.config.pairs * STEPS
    ratio = statistics.median(r / f for r, f in zip(real, bare, strict=True))
    return [
        Result(
            f"images per second, real loop ({paced.config.precision})",
            images / statistics.median(real),
        ),
        Result("images per second, floor", images / statistics.median(bare)),
        Result("time of the real loop / floor, median of pairs", ratio, target=("<=", 1.2)),
    ]
