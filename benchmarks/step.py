"""Training step against the floor: what the loop costs beyond its networks' own passes.

Floor: the forward and backward passes of the same networks on as many images, in the same
precision and layout, on random tensors that are there already; no sampling, no losses, no
optimizer, no logging. Real: ``pipeline.train``'s own loop with checkpoints, sample grids and
tracking. Both run in turn in one process, as many steps of the one as of the other.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.defaults import configured, in_own_store, trainer, wait_until_logged
from benchmarks.measure import Result
from pipeline.stages.train import run_training
from vaegan.training.trainer import Report, Trainer

STEPS, ROUNDS, WARM_UP = 125, 12, 2


class Backward:
    """A backward pass from some outputs, each with a random slope that is drawn once."""

    def __init__(self) -> None:
        self.slopes: list[Tensor] = []

    def __call__(self, outputs: list[Tensor], inputs: Sequence[Tensor], keep: bool = False) -> None:
        """Runs it into ``inputs``."""
        if not self.slopes:
            self.slopes = [torch.randn_like(output) for output in outputs]
        torch.autograd.backward(outputs, self.slopes, inputs=inputs, retain_graph=keep)


def floor(trainer: Trainer) -> Callable[[], None]:
    """A function that does one step's passes of all networks, of copies, and nothing else."""
    model = copy.deepcopy(trainer.model)
    discriminator, critic = copy.deepcopy(trainer.discriminator), copy.deepcopy(trainer.critic)
    config, device, structure = trainer.config, trainer.device, trainer.model.config
    pairs, weights = config.pairs, config.weights
    # Images that some term looks at: with their own and their partner's identity, and for the
    # discriminator those in the style of another and in one from the prior, which come last.
    drawn_images = 2 * pairs * (bool(weights.reconstruction) + bool(weights.partner)) + 2 * pairs
    ours, theirs, guessers = (
        [p for network in networks for p in network.parameters()]
        for networks in ((model.encoder, model.decoder), (discriminator,), (critic,))
    )

    def random(*shape: int, gradient: bool = False) -> Tensor:
        return torch.randn(shape, device=device).requires_grad_(gradient)

    images = random(2 * pairs, *structure.image_shape).sigmoid()
    images = images.contiguous(memory_format=torch.channels_last)
    s = random(drawn_images, structure.specified.dim, gradient=True)
    z = random(drawn_images, structure.unspecified.dim, gradient=True)
    own = random(2 * pairs, structure.unspecified.dim, gradient=True)
    labels = torch.randint(structure.class_count, (pairs,), device=device)
    generator, adversary, guess = Backward(), Backward(), Backward()

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=trainer.precision == "bfloat16")

    def step() -> None:
        for tensor in (s, z, own, *ours, *theirs, *guessers):
            tensor.grad = None
        with autocast():
            codes = model.encoder(images)
            drawn = model.decoder(s, z)
            anchors, partners = discriminator.features(images).chunk(2)
            fake = discriminator.features(drawn[-2 * pairs :])
            verdicts = [
                discriminator.verdict(x, labels) for x in (*fake.chunk(2), anchors, partners)
            ]
            guesses = critic(own)
        posteriors = [codes.specified, codes.unspecified]
        moments = [m for q in posteriors for m in (q.mean, q.logvar) if m is not None]
        generator([*verdicts[:2], guesses, drawn, *moments], [*ours, s, z, own], keep=True)
        adversary(verdicts, theirs)
        for _ in range(config.critic_steps):
            with autocast():
                guesses = critic(own.detach())
            guess([guesses], guessers)

    return step


class Paced(Trainer):
    """A trainer that runs as many steps of the floor after each of its reports."""

    def run(self) -> Iterator[Report]:
        """As the trainer's, timing each interval until its report is in the store."""
        self.real, self.floor = list[float](), list[float]()
        reports, bare = super().run(), floor(self)
        begun = time.perf_counter()
        for report in reports:
            yield report
            wait_until_logged(report.step)
            self.real.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            for _ in range(self.config.report_every):
                bare()
            self.floor.append(time.perf_counter() - begun)
            begun = time.perf_counter()


def run() -> list[Result]:
    """Measures in a folder and a tracking store of its own."""
    _, dataset, _ = configured()
    paced = trainer(Paced, steps=STEPS * (ROUNDS + WARM_UP), report_every=STEPS)
    with in_own_store(dataset) as (checkpoints, samples, training):
        run_training(paced, checkpoints, samples, training)
    real, bare = paced.real[WARM_UP:], paced.floor[WARM_UP:]
    images = 2 * paced.config.pairs * STEPS
    ratio = statistics.median(r / f for r, f in zip(real, bare, strict=True))
    return [
        Result(
            f"images per second, real loop ({paced.precision})",
            images / statistics.median(real),
        ),
        Result("images per second, floor", images / statistics.median(bare)),
        Result("time of the real loop / floor, median of pairs", ratio, target=("<=", 1.2)),
    ]
