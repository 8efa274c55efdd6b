"""The default's training against a plain implementation of the same objective.

Plain: torchvision's data set and a ``DataLoader`` (batch 64, a transform per image), float32 in
contiguous layout, torch's own transposed convolutions, and for each term of the objective a
separate pass from image to loss with its own optimizer step. Networks, terms, weights and the
share of the pairs that reaches the discriminator are equal; ours uses the default's pairs per step.
The plain one runs in its own process with torch's defaults: number of threads, spinning threads,
and the C library's memory allocation.

An image counts as trained on if it is decoded from its own codes and from its partner's: the plain
implementation does so with the first image of each pair, as is usual, ours with both. The
ratio of pairs ignores this and is the stricter one.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from benchmarks.defaults import make_trainer
from benchmarks.measure import Result, side_by_side
from pipeline.artifacts.dataset import read_dataset
from pipeline.params import load_params
from vaegan.model.codes import Codes, kl_to_standard_normal, reparameterize
from vaegan.model.config import ModelStructure
from vaegan.model.networks import Decoder, Upsampling
from vaegan.model.vae import DisentanglingVAE
from vaegan.training import losses
from vaegan.training.adversaries import Critic, Discriminator
from vaegan.training.config import TrainingConfig
from vaegan.training.objective import active_terms
from vaegan.training.trainer import Trainer

ARCHIVES = Path("data/raw/MNIST/raw")
ITERATIONS, ROUNDS = 20, 7
BATCH = 64  # of the plain implementation
OWN = {"reconstruction", "specified_kl", "unspecified_kl"}  # terms computed in one pass


class Triplets(Dataset):
    """Triplets of an image, another of its class, and one of another class, each transformed."""

    def __init__(self, images: datasets.MNIST) -> None:
        self.images = images
        labels = images.targets
        self.same = [torch.nonzero(labels == c).flatten() for c in range(10)]
        self.others = [torch.nonzero(labels != c).flatten() for c in range(10)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, int, int]:
        """Returns anchor, partner, other (C, H, W), the first two's class, the third's class."""
        anchor, label = self.images[index]

        def pick(positions: Tensor) -> tuple[Tensor, int]:
            return self.images[int(positions[torch.randint(len(positions), ())])]

        (partner, _), (other, other_label) = pick(self.same[label]), pick(self.others[label])
        return anchor, partner, other, label, other_label


class PlainTrainer:
    """Trains with a pass per term; the networks are ours, in torch's default layout."""

    def __init__(self, structure: ModelStructure, config: TrainingConfig, images: Dataset) -> None:
        usual = config.supervision == "labels" and config.mismatched and config.real_target == 1.0
        if not usual:
            raise ValueError("only the default's discriminator and labels are implemented")
        self.config = config
        self.model = DisentanglingVAE(structure)
        for module in self.model.modules():
            if isinstance(module, Upsampling):
                module.__class__ = TorchUpsampling
        self.model.decoder.__class__ = PlainDecoder
        self.discriminator, self.critic = Discriminator(structure), Critic(structure)
        self.optimizers = {
            "generator": torch.optim.Adam(self.model.parameters(), config.lr),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), config.discriminator_lr, (0.5, 0.999)
            ),
            "critic": torch.optim.Adam(self.critic.parameters(), config.critic_lr),
        }
        self.loader = DataLoader(images, batch_size=BATCH, shuffle=True, drop_last=True)
        self.batches = self._endless()

    def _endless(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader

    def sampled(self, images: Tensor) -> tuple[Codes, Tensor, Tensor]:
        """Returns the posteriors of images and one sample of each code."""
        codes = self.model.encoder(images)
        return codes, reparameterize(codes.specified), reparameterize(codes.unspecified)

    def terms(self, batch: list[Tensor]) -> dict[str, Callable[[], Tensor]]:
        """Returns each term of encoder and decoder's objective as a function of nothing."""
        anchor, partner = batch[:2]
        few, _, other, _, other_label = self.adversarial(batch)
        weights = asdict(self.config.weights)

        def own() -> Tensor:
            codes, s, z = self.sampled(anchor)
            loss = weights["specified_kl"] * kl_to_standard_normal(codes.specified)
            loss = loss + weights["unspecified_kl"] * kl_to_standard_normal(codes.unspecified)
            if not weights["reconstruction"]:
                return loss
            error = losses.reconstruction_loss(self.model.decoder(s, z), anchor)
            return loss + weights["reconstruction"] * error

        def with_partner() -> Tensor:
            _, _, z = self.sampled(anchor)
            _, s, _ = self.sampled(partner)
            generated = self.model.decoder(s, z)
            return weights["partner"] * losses.reconstruction_loss(generated, anchor)

        def adversarial() -> Tensor:
            generated = self.swapped(few, other)
            logits = self.discriminator(generated, other_label)
            return weights["adversarial"] * losses.generator_loss(logits)

        def adversarial_prior() -> Tensor:
            generated, _ = self.restyled(other)
            logits = self.discriminator(generated, other_label)
            return weights["adversarial_prior"] * losses.generator_loss(logits)

        def confusion() -> Tensor:
            _, _, z = self.sampled(anchor)
            return weights["confusion"] * losses.confusion_loss(self.critic(z))

        def style_cycle() -> Tensor:
            generated, noise = self.restyled(other)
            styles = self.model.encoder(generated).unspecified.mean
            return weights["style_cycle"] * losses.style_cycle_loss(styles, noise)

        def pair_kernel() -> Tensor:
            first, second = (
                self.model.encoder(images).unspecified.mean for images in (anchor, partner)
            )
            return weights["pair_kernel"] * losses.pair_kernel_loss(first, second)

        terms = {
            "partner": with_partner,
            "adversarial": adversarial,
            "adversarial_prior": adversarial_prior,
            "confusion": confusion,
            "style_cycle": style_cycle,
            "pair_kernel": pair_kernel,
        }
        missing = active_terms(self.config.weights).keys() - terms.keys() - OWN
        if missing:
            raise ValueError(f"terms {sorted(missing)} are not implemented here")
        return {"own": own} | {name: term for name, term in terms.items() if weights[name]}

    def adversarial(self, batch: list[Tensor]) -> list[Tensor]:
        """The share of a batch that discriminator and cycle terms are given."""
        return [part[: round(self.config.adversarial_share * len(part))] for part in batch]

    def swapped(self, styles: Tensor, identities: Tensor) -> Tensor:
        """Generates images in the style of the first and with the identity of the second."""
        _, _, z = self.sampled(styles)
        _, s, _ = self.sampled(identities)
        return self.model.decoder(s, z)

    def restyled(self, identities: Tensor) -> tuple[Tensor, Tensor]:
        """Generates each image's identity in a style from the prior; returns images and styles."""
        _, s, z = self.sampled(identities)
        noise = torch.randn_like(z)
        return self.model.decoder(s, noise), noise

    def discriminator_loss(self, batch: list[Tensor]) -> Tensor:
        """Loss on real images against swapped, restyled and mismatched ones."""
        anchor, partner, other, label, other_label = self.adversarial(batch)
        with torch.no_grad():
            swapped, (restyled, _) = self.swapped(anchor, other), self.restyled(other)
        real = self.discriminator(partner, label)
        fake = [
            self.discriminator(swapped, other_label),
            self.discriminator(restyled, other_label),
            self.discriminator(anchor, other_label),
        ]
        return losses.discriminator_loss(real, torch.cat(fake))

    def critic_loss(self, batch: list[Tensor]) -> Tensor:
        """Loss of the class predicted from the style of anchors."""
        with torch.no_grad():
            _, _, z = self.sampled(batch[0])
        return losses.critic_loss(self.critic(z), batch[3])

    def iterate(self) -> None:
        """Trains on one batch: a step per term, then the adversaries' steps."""
        batch = next(self.batches)
        for term in self.terms(batch).values():
            self._step("generator", term())
        self._step("discriminator", self.discriminator_loss(batch))
        for _ in range(self.config.critic_steps):
            self._step("critic", self.critic_loss(batch))

    def _step(self, player: str, loss: Tensor) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        self.optimizers[player].step()


class TorchUpsampling(Upsampling):
    """The same layer computed by torch's own transposed convolution."""

    forward = nn.ConvTranspose2d.forward  # type: ignore[assignment]


class PlainDecoder(Decoder):
    """The same network with feature maps in torch's contiguous layout."""

    def forward(self, specified: Tensor, unspecified: Tensor) -> Tensor:
        """Decodes codes into images."""
        features = self.linear(torch.cat([specified, unspecified], dim=1))
        return torch.sigmoid(self.trunk(features.view(-1, *self.shape)))


def plain_images(root: str) -> datasets.MNIST:
    """Opens MNIST by torchvision, extracted below ``root`` from the archives in ``data/raw``.

    Raises:
        FileNotFoundError: the archives are not in ``data/raw/MNIST/raw``.
    """
    work = Path(root) / "MNIST/raw"
    work.mkdir(parents=True)
    for file, _ in datasets.MNIST.resources:
        shutil.copyfile(ARCHIVES / file, work / file)
    return datasets.MNIST(root, transform=transforms.ToTensor(), download=True)


def serve() -> None:
    """Trains some iterations for each line of standard input, and answers each with a line."""
    params, data = load_params(), read_dataset().train
    structure = ModelStructure.of(params.model, data.image_shape, data.class_count)
    with tempfile.TemporaryDirectory() as root:
        plain = PlainTrainer(structure, params.train, Triplets(plain_images(root)))
        for _ in sys.stdin:
            for _ in range(ITERATIONS):
                plain.iterate()
            print("done", flush=True)


def run(precision: str = "auto") -> list[Result]:
    """Measures on MNIST; ``precision`` is that of this project's trainer."""
    ours = make_trainer(Trainer, precision=precision)
    command = [sys.executable, "-m", "benchmarks.plain"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        asked, answers = child.stdin, child.stdout
        assert asked is not None
        assert answers is not None

        def theirs() -> None:
            asked.write("go\n")
            asked.flush()
            if answers.readline() != "done\n":
                raise RuntimeError("the plain implementation broke off")

        def these() -> None:
            for _ in range(ITERATIONS):
                ours.train_step()

        times = side_by_side({"plain": theirs, "ours": these}, ROUNDS)
        asked.close()
    sizes = {"plain": BATCH, "ours": ours.config.pairs}
    pairs = {name: sizes[name] * ITERATIONS / taken for name, taken in times.items()}
    images = {"plain": pairs["plain"], "ours": 2 * pairs["ours"]}
    return [
        Result("images trained on per second, plain implementation", images["plain"]),
        Result("images trained on per second, this one", images["ours"]),
        Result("ratio of images", images["ours"] / images["plain"], target=(">=", 6.0)),
        Result("ratio of pairs", pairs["ours"] / pairs["plain"]),
    ]


if __name__ == "__main__":
    serve()
