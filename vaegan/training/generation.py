"""What a training step draws, and what the discriminator says of it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from vaegan.model.codes import Codes, reparameterize
from vaegan.model.vae import DisentanglingVAE
from vaegan.training.adversaries import Discriminator
from vaegan.training.config import ObjectiveWeights

Kept = TypeVar("Kept")
ADVERSARIAL = {"swapped": "adversarial", "sampled": "adversarial_prior"}  # its term, by image


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
        other: int64 (P,), position among the anchors of the image whose identity ``swapped`` and
            ``sampled`` should show.
        identity: int64 (P,), its class; not the anchor's, as long as classes are known and none
            fills more than half of the batch.
        own: Images drawn from their own codes, (2P, C, H, W).
        partner: From their own style and their partner's specified code, (2P, C, H, W).
        swapped: Style of each anchor, identity of image ``other``, (P, C, H, W).
        sampled: Style ``noise``, the same identities, (P, C, H, W).
        crossed: Style ``noise``, identities of the anchors, (P, C, H, W).
    """

    images: Tensor
    labels: Tensor
    codes: Codes
    unspecified: Tensor
    noise: Tensor
    other: Tensor
    identity: Tensor
    own: Tensor | None = None
    partner: Tensor | None = None
    swapped: Tensor | None = None
    sampled: Tensor | None = None
    crossed: Tensor | None = None


def draw(
    model: DisentanglingVAE,
    images: Tensor,
    labels: Tensor,
    other: Tensor,
    weights: ObjectiveWeights,
    rng: torch.Generator,
    autocast: AbstractContextManager,
) -> Draws:
    """Draws all images of a step, in one pass of each network.

    Args:
        model: In training mode.
        images: float32 (2P, C, H, W) in [0, 1], anchors then partners.
        labels: int64 (2P,).
        other: As :class:`Draws` has it.
        weights: They say which images are wanted.
        rng: Source of all noise, on the device of the images.
        autocast: Context in which the networks run.
    """
    pairs = len(images) // 2
    with autocast:
        codes = model.encoder(images)
        s = reparameterize(codes.specified, rng)
        z = reparameterize(codes.unspecified, rng)
        noise = torch.randn(z[:pairs].shape, generator=rng, device=images.device)
        drawn = _drawn(model, s, z, noise, other, weights)
    return Draws(images, labels, codes, z, noise, other, labels[other], **drawn)


def _drawn(
    model: DisentanglingVAE,
    s: Tensor,
    z: Tensor,
    noise: Tensor,
    other: Tensor,
    weights: ObjectiveWeights,
) -> dict[str, Tensor]:
    """The images that some term looks at, by name, in one pass of the decoder."""
    pairs = len(noise)
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
    drawn = model.decoder(specified, unspecified).split(sizes)
    return dict(zip(wanted, drawn, strict=True))


@dataclass(frozen=True)
class Verdicts:
    """What the discriminator says of a step's images: logits, float32 (P,) each.

    Attributes:
        real: Partners as images of their own identity.
        mismatched: Anchors as images of the identity of image ``other``; None where the
            discriminator is not shown any.
        swapped: ``Draws.swapped`` as images of that identity; None where there are none.
        sampled: ``Draws.sampled`` likewise.
    """

    real: Tensor
    mismatched: Tensor | None
    swapped: Tensor | None
    sampled: Tensor | None


def judge_draws(
    discriminator: Discriminator, draws: Draws, weights: ObjectiveWeights, mismatched: bool
) -> Verdicts | None:
    """One pass of the discriminator, for its own update and for the generator's.

    A discriminator that knows no classes is told an identity by an image: for a partner that is
    its anchor, for what should show the identity of image ``other`` that image's partner.

    Returns:
        None where no term with a weight asks the discriminator.
    """
    judged = {
        name: images
        for name, images in (("swapped", draws.swapped), ("sampled", draws.sampled))
        if images is not None and getattr(weights, ADVERSARIAL[name])
    }
    if not judged:
        return None
    anchors, partners = discriminator.features(draws.images).chunk(2)
    drawn = discriminator.features(torch.cat(list(judged.values())))
    fake = dict(zip(judged, drawn.chunk(len(judged)), strict=True))
    if discriminator.by_example:
        own, asked = anchors, partners[draws.other]
    else:
        own, asked = draws.labels[len(anchors) :], draws.identity
    return Verdicts(
        discriminator.verdict(partners, own),
        discriminator.verdict(anchors, asked) if mismatched else None,
        *(
            discriminator.verdict(fake[name], asked) if name in fake else None
            for name in ("swapped", "sampled")
        ),
    )


def there(value: Kept | None) -> Kept:
    """What a term with a weight has had drawn or judged."""
    if value is None:
        raise AssertionError("a term with a weight looks at an image that was not drawn")
    return value
