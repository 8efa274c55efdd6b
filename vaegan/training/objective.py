"""The objective of encoder and decoder: one row of ``TERMS`` per term."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from vaegan.model.codes import kl_to_standard_normal
from vaegan.model.networks import Encoder
from vaegan.training import losses
from vaegan.training.adversaries import Critic
from vaegan.training.config import ObjectiveWeights
from vaegan.training.generation import EncodedBatch

Adversary = Literal["discriminator", "critic"]


@dataclass(frozen=True)
class TermInputs:
    """Inputs of a term in one training step.

    Attributes:
        encoder: In training mode; encodes generated images again.
        critic: Predicts the class from a style.
        batch: Real images and their codes.
        images: Generated images by name; see ``generation.IMAGES``.
        logits: The discriminator's logits of generated images by name, float32 (P,) each.
        real_target: Probability that the discriminator should assign to a real image.
    """

    encoder: Encoder
    critic: Critic
    batch: EncodedBatch
    images: dict[str, Tensor]
    logits: dict[str, Tensor]
    real_target: float


@dataclass(frozen=True)
class Term:
    """One term of the objective.

    Attributes:
        loss: Computes the term, a scalar.
        needs: Names of the generated images that it uses; see ``generation.IMAGES``.
        adversary: The player that it opposes; without such a term a player is not trained. The
            discriminator is shown the images that the term needs, as images of the other
            anchor's identity.
    """

    loss: Callable[[TermInputs], Tensor]
    needs: tuple[str, ...] = ()
    adversary: Adversary | None = None


def _style_cycle(step: TermInputs) -> Tensor:
    styles = encode_styles(step.encoder, step.images["sampled"])
    return losses.style_cycle_loss(styles, step.batch.noise)


def _cycle(step: TermInputs) -> Tensor:
    images = torch.cat([step.images["sampled"], step.images["crossed"]])
    # Detached: this term trains the encoder, not the decoder.
    return losses.cycle_loss(*encode_styles(step.encoder, images.detach()).chunk(2))


# By the names of their weights in ObjectiveWeights; summed in this order.
TERMS: dict[str, Term] = {
    "reconstruction": Term(
        lambda step: losses.reconstruction_loss(step.images["own"], step.batch.images),
        needs=("own",),
    ),
    "partner": Term(
        lambda step: losses.reconstruction_loss(step.images["partner"], step.batch.images),
        needs=("partner",),
    ),
    "specified_kl": Term(lambda step: kl_to_standard_normal(step.batch.codes.specified)),
    "unspecified_kl": Term(lambda step: kl_to_standard_normal(step.batch.codes.unspecified)),
    "adversarial": Term(
        lambda step: losses.generator_loss(step.logits["swapped"], step.real_target),
        needs=("swapped",),
        adversary="discriminator",
    ),
    "adversarial_prior": Term(
        lambda step: losses.generator_loss(step.logits["sampled"], step.real_target),
        needs=("sampled",),
        adversary="discriminator",
    ),
    "confusion": Term(
        lambda step: losses.confusion_loss(step.critic(step.batch.unspecified)),
        adversary="critic",
    ),
    "style_cycle": Term(_style_cycle, needs=("sampled",)),
    "cycle": Term(_cycle, needs=("sampled", "crossed")),
    "pair_kernel": Term(
        lambda step: losses.pair_kernel_loss(*step.batch.codes.unspecified.mean.chunk(2))
    ),
}


def active_terms(weights: ObjectiveWeights, against: Adversary | None = None) -> dict[str, Term]:
    """Selects the terms with a weight, all or those that oppose one adversary."""
    return {
        name: term
        for name, term in TERMS.items()
        if getattr(weights, name) and against in (None, term.adversary)
    }


def needed_images(weights: ObjectiveWeights, against: Adversary | None = None) -> set[str]:
    """Names the generated images that the terms of :func:`active_terms` need."""
    return {name for term in active_terms(weights, against).values() for name in term.needs}


def encode_styles(encoder: Encoder, images: Tensor) -> Tensor:
    """Encodes generated images (B, C, H, W) to the means of their unspecified codes, (B, Z).

    Normalised by the statistics of this batch. The encoder's running statistics, which
    describe real images, are not updated.
    """
    norms = [m for m in encoder.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        return encoder(images).unspecified.mean
    finally:
        for norm in norms:
            norm.track_running_stats = True
