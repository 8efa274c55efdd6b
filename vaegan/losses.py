"""The terms of the objective: pure functions of tensors, each naming its formula.

Reconstruction and divergence are sums over one image, averaged over the batch, so
that their weights compare: a squared error is a negative log-likelihood in nats
under a variance of 1/2 per pixel.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class ObjectiveWeights:
    """The factor of each term in the loss of encoder and decoder; 0 switches a term off.

    Attributes:
        reconstruction: Squared error of an image drawn from its own codes.
        partner: Squared error of an image drawn from its own style and the specified
            code of another image of its class.
        specified_kl: KL of the specified posterior from N(0, I), nats.
        unspecified_kl: KL of the unspecified posterior from N(0, I), nats.
        adversarial: Discriminator, on images with the style of another image.
        adversarial_prior: Discriminator, on images with a style drawn from the prior.
        confusion: Critic that guesses the class from the unspecified code.

    Raises:
        ValueError: every weight is 0, or one is negative.
    """

    reconstruction: float
    partner: float
    specified_kl: float
    unspecified_kl: float
    adversarial: float
    adversarial_prior: float
    confusion: float

    def __post_init__(self) -> None:
        values = asdict(self).values()
        if min(values) < 0 or max(values) == 0:
            raise ValueError(f"weights must be >= 0 and one of them > 0, got {asdict(self)}")


def reconstruction_loss(drawn: Tensor, images: Tensor) -> Tensor:
    """Squared error ||drawn - images||^2, summed over pixels and averaged over the batch.

    The L2 term of Mathieu et al. (2016, arXiv 1611.03383), there between an image and its
    reconstruction from its own codes, and from its own style with the specified code of
    another image of its class. As -log p(x|codes) it is that of a normal distribution of
    variance 1/2 per pixel, but for a constant.

    Args:
        drawn: float32 (B, C, H, W) in [0, 1].
        images: The same shape and range.

    Returns:
        Scalar, >= 0.

    Raises:
        ValueError: the shapes differ (broadcasting would hide it).
    """
    if drawn.shape != images.shape:
        raise ValueError(f"shapes differ: {tuple(drawn.shape)} and {tuple(images.shape)}")
    return (drawn - images).square().sum() / len(images)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log D(real) - E log(1 - D(fake)), D = sigmoid(logit), averaged over each batch.

    The discriminator's side of Goodfellow et al. (2014, arXiv 1406.2661), halved so that
    a discriminator that knows nothing scores log 2 = 0.69.

    Args:
        real_logits: float32 (B,).
        fake_logits: float32 (B',).

    Returns:
        Scalar, >= 0.
    """
    return 0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-E log D(fake), the non-saturating side of Goodfellow et al. (2014, arXiv 1406.2661).

    Args:
        fake_logits: float32 (B,).

    Returns:
        Scalar, >= 0; log 2 = 0.69 where the discriminator is undecided.
    """
    return F.softplus(-fake_logits).mean()


def critic_loss(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the critic's guess of the class, in nats, averaged over the batch.

    Args:
        class_logits: float32 (B, K).
        labels: int64 (B,) in [0, K).

    Returns:
        Scalar, >= 0; log K where the critic knows no more than chance on balanced classes.
    """
    return F.cross_entropy(class_logits, labels)


def confusion_loss(class_logits: Tensor) -> Tensor:
    """KL(uniform || critic's guess) in nats, averaged over the batch.

    = -(1/K) sum_k log p_k - log K, zero iff the critic finds every class equally
    likely. Confusion, not error, is asked for: an encoder that makes the critic err
    systematically has not removed the class but relabelled it (Tzeng et al., 2015,
    arXiv 1510.02192, ask for the same cross-entropy with the uniform distribution).

    Args:
        class_logits: float32 (B, K).

    Returns:
        Scalar, >= 0.
    """
    log_probabilities = torch.log_softmax(class_logits, dim=1)
    return -log_probabilities.mean() - math.log(class_logits.shape[1])
