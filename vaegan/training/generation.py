"""Images generated in one training step, and the discriminator's logits for them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.model.codes import Codes, reparameterize
from vaegan.model.networks import Decoder, Encoder
from vaegan.training.adversaries import Discriminator


@dataclass(frozen=True)
class EncodedBatch:
    """A batch of P pairs and its codes; anchors first, then their partners in the same order.

    The first A pairs also give the images that discriminator and cycle terms need.

    Attributes:
        images: float32 (2P, C, H, W) in [0, 1].
        labels: int64 (2P,).
        other: int64 (A,), for each of the first A anchors the position of another of them, whose
            identity ``swapped`` and ``sampled`` images show. It is of another class if classes are
            known and none fills more than half of them.
        codes: Posteriors of the images.
        specified: float32 (2P, S), one sample per posterior.
        unspecified: float32 (2P, Z), one sample per posterior.
        noise: float32 (A, Z), styles sampled from the prior.
    """

    images: Tensor
    labels: Tensor
    other: Tensor
    codes: Codes
    specified: Tensor
    unspecified: Tensor
    noise: Tensor

    @property
    def pairs(self) -> int:
        """P."""
        return len(self.labels) // 2

    @property
    def adversarial_pairs(self) -> int:
        """A."""
        return len(self.other)

    @property
    def other_labels(self) -> Tensor:
        """int64 (A,), the class that ``swapped`` and ``sampled`` images show."""
        return self.labels[self.other]


# The codes, specified and unspecified, that each kind of image is decoded from. A step decodes
# the kinds that its terms need, in this order.
IMAGES: dict[str, Callable[[EncodedBatch], tuple[Tensor, Tensor]]] = {
    # Each image from its own codes, 2P.
    "own": lambda b: (b.specified, b.unspecified),
    # Each image from its own style and its partner's identity, 2P.
    "partner": lambda b: (b.specified.roll(b.pairs, 0), b.unspecified),
    # Style of each of the first A anchors, identity of the other anchor, A.
    "swapped": lambda b: (b.specified[b.other], b.unspecified[: b.adversarial_pairs]),
    # Style from the prior, identity of the other anchor, A.
    "sampled": lambda b: (b.specified[b.other], b.noise),
    # The same styles from the prior, identity of each of the first A anchors, A.
    "crossed": lambda b: (b.specified[: b.adversarial_pairs], b.noise),
}


def encode_batch(
    encoder: Encoder, images: Tensor, labels: Tensor, other: Tensor, rng: torch.Generator
) -> EncodedBatch:
    """Encodes a batch and samples its codes, and styles from the prior.

    Args:
        encoder: In training mode.
        images: As in :class:`EncodedBatch`, like ``labels`` and ``other``.
        labels: int64 (2P,).
        other: int64 (A,).
        rng: Source of all noise, on the device of the images.
    """
    codes = encoder(images)
    specified = reparameterize(codes.specified, rng)
    unspecified = reparameterize(codes.unspecified, rng)
    shape = unspecified[: len(other)].shape
    noise = torch.randn(shape, generator=rng, device=images.device)
    return EncodedBatch(images, labels, other, codes, specified, unspecified, noise)


def generate(decoder: Decoder, batch: EncodedBatch, names: Collection[str]) -> dict[str, Tensor]:
    """Decodes images of the kinds named, in one pass of the decoder.

    Args:
        decoder: In training mode.
        batch: The codes.
        names: Keys of ``IMAGES``.

    Returns:
        float32 (A or 2P, C, H, W) in [0, 1] by name, in the order of ``IMAGES``.
    """
    codes = {name: codes_of(batch) for name, codes_of in IMAGES.items() if name in names}
    if not codes:
        return {}
    specified, unspecified = (torch.cat(parts) for parts in zip(*codes.values(), strict=True))
    images = decoder(specified, unspecified).split([len(s) for s, _ in codes.values()])
    return dict(zip(codes, images, strict=True))


@dataclass(frozen=True)
class DiscriminatorLogits:
    """Logits of a step's images, float32 (A,) each.

    Attributes:
        real: Partners of the first A anchors, as images of their own identity.
        mismatched: These anchors, as images of the other anchor's identity; None if the
            discriminator is not trained on mismatched images.
        fake: Generated images by name, as images of the other anchor's identity.
    """

    real: Tensor
    mismatched: Tensor | None
    fake: dict[str, Tensor]


def discriminate(
    discriminator: Discriminator, batch: EncodedBatch, fake: dict[str, Tensor], mismatched: bool
) -> DiscriminatorLogits:
    """Computes the logits that the updates of discriminator and generator share.

    A discriminator by example is given an image of the identity: the anchor for a partner, the
    other anchor's partner for all images that should show the other anchor's identity.

    Args:
        discriminator: One pass on the real and one on the generated images.
        batch: The real images.
        fake: Generated images by name, (A, C, H, W) each; at least one.
        mismatched: Whether to compute the logits of mismatched images.
    """
    pairs, count = batch.pairs, batch.adversarial_pairs
    real = batch.images
    if count < pairs:
        real = torch.cat([real[:count], real[pairs : pairs + count]])
    anchors, partners = discriminator.features(real).chunk(2)
    features = discriminator.features(torch.cat(list(fake.values()))).chunk(len(fake))
    if discriminator.by_example:
        own, other = anchors, partners[batch.other]
    else:
        own, other = batch.labels[pairs : pairs + count], batch.other_labels
    return DiscriminatorLogits(
        discriminator.logits(partners, own),
        discriminator.logits(anchors, other) if mismatched else None,
        {name: discriminator.logits(f, other) for name, f in zip(fake, features, strict=True)},
    )
