"""Cost of a training step beyond its networks' own forward and backward passes.

Floor: the forward and backward passes of the same networks on as many images, in the same
precision and layout, on random tensors created beforehand; no sampling, losses, optimizer or
logging. Real: the loop of the stage ``train`` with checkpoints, sample grids and journal;
``overhead`` measures tracking. Both run in turn in one process, for equal numbers of steps.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.defaults import configured, run_stage_loop
from benchmarks.measure import Result
from pipeline.artifacts.dataset import Dataset
from vaegan.data import LabelledImages
from vaegan.training.generation import encode_batch, generate
from vaegan.training.loop import autocast
from vaegan.training.objective import needed_images
from vaegan.training.trainer import Report, Trainer

STEPS, ROUNDS, WARM_UP = 125, 12, 2
FEWER = 8  # steps of an interval, of larger images
PICTURES, WIDE = (100, 3, 64, 64), 32  # classes and shape; channels as the documents advise


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
    pairs, adversarial, weights = config.pairs, config.adversarial_pairs, config.weights
    ours, theirs, guessers = (
        [p for network in networks for p in network.parameters()]
        for networks in ((model.encoder, model.decoder), (discriminator,), (critic,))
    )

    def random(*shape: int, gradient: bool = False) -> Tensor:
        return torch.randn(shape, device=device).requires_grad_(gradient)

    images = random(2 * pairs, *structure.image_shape).sigmoid()
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(structure.class_count, (2 * pairs,), device=device)
    other, rng = torch.arange(adversarial, device=device).roll(-1), torch.Generator(device)
    batch = encode_batch(model.encoder, images, labels, other, rng)
    generated = generate(model.decoder, batch, needed_images(weights))
    fakes = adversarial * len(needed_images(weights, against="discriminator"))
    shown, real_images = labels[:adversarial], images[: 2 * adversarial]
    count = sum(map(len, generated.values()))
    s = random(count, structure.specified.dim, gradient=True)
    z = random(count, structure.unspecified.dim, gradient=True)
    own = random(2 * pairs, structure.unspecified.dim, gradient=True)
    generator, adversary, guess = Backward(), Backward(), Backward()

    def step() -> None:
        for tensor in (s, z, own, *ours, *theirs, *guessers):
            tensor.grad = None
        with autocast(device, trainer.precision):
            codes = model.encoder(images)
            decoded = model.decoder(s, z)
            real = discriminator.features(real_images).split(adversarial)
            fake = discriminator.features(decoded[-fakes:]).split(adversarial)
            logits = [discriminator.logits(features, shown) for features in (*fake, *real)]
            guesses = critic(own)
        posteriors = [codes.specified, codes.unspecified]
        moments = [m for q in posteriors for m in (q.mean, q.logvar) if m is not None]
        outputs = [*logits[: len(fake)], guesses, decoded, *moments]
        generator(outputs, [*ours, s, z, own], keep=True)
        adversary(logits, theirs)
        for _ in range(config.critic_steps):
            with autocast(device, trainer.precision):
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


def measure(paced: Paced, dataset: Dataset, words: str) -> list[Result]:
    """Runs the loop and compares the intervals after the first ones."""
    run_stage_loop(paced, dataset)
    real, bare = paced.real[WARM_UP:], paced.floor[WARM_UP:]
    images = 2 * paced.config.pairs * paced.config.report_every
    ratio = statistics.median(r / f for r, f in zip(real, bare, strict=True))
    about = f"{words} ({paced.precision})"
    return [
        Result(f"images per second, real loop, {about}", images / statistics.median(real)),
        Result(f"images per second, floor, {words}", images / statistics.median(bare)),
        Result(
            f"time of the real loop / floor, {words}, median of pairs", ratio, target=("<=", 1.2)
        ),
    ]


def pictures() -> Dataset:
    """Returns noise of the size and number of classes of PICTURES."""
    count, *shape = PICTURES
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(2 * count, *shape), dtype=np.uint8)
    split = LabelledImages(images, np.arange(2 * count) % count, count)
    arrays: dict[str, Any] = {"train": {"arrays": {}}}
    about = {"name": "noise", "class_names": list(map(str, range(count))), "url": ""}
    return Dataset({"train": split, "test": split}, {}, about | {"splits": arrays})


def run(precision: str = "auto") -> list[Result]:
    """Measures with the default's configuration, on its images and on larger ones in colour."""
    params, dataset, _ = configured()
    changes: dict[str, Any] = {"device": "cpu", "precision": precision}
    config = replace(params.train, **changes)
    schedule: dict[str, Any] = {"steps": STEPS * (ROUNDS + WARM_UP), "report_every": STEPS}
    small = Paced(params.model, replace(config, **schedule), dataset.train)
    results = measure(small, dataset, "28 x 28, gray")
    wide = replace(params.model, base_channels=WIDE)
    schedule = {"steps": FEWER * (ROUNDS + WARM_UP), "report_every": FEWER}
    noise = pictures()
    large = Paced(wide, replace(config, **schedule), noise.train)
    return results + measure(large, noise, "64 x 64, colour")
