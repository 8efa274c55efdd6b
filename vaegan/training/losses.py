"""Losses: pure functions of tensors, each with its formula.

Reconstruction error and KL are summed over one image and averaged over the batch, so that
their weights are comparable: the squared error is a negative log-likelihood in nats under a
variance of 1/2 per pixel.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

KERNEL_SCALES = (0.2, 0.5, 1.0, 2.0, 5.0)  # c of the kernel, per dimension


def reconstruction_loss(generated: Tensor, images: Tensor) -> Tensor:
    """Squared error ||generated - images||^2, summed over pixels and averaged over the batch.

    The L2 term of Mathieu et al. (2016, arXiv 1611.03383), who apply it to reconstructions from
    an image's own codes, and from its own style with the specified code of another image of its
    class. Up to a constant it is -log p(x|codes) of a normal distribution of variance 1/2 per
    pixel.

    Args:
        generated: float32 (B, C, H, W) in [0, 1].
        images: The same shape and range.

    Returns:
        Scalar, >= 0.

    Raises:
        ValueError: the shapes differ; broadcasting would hide that.
    """
    if generated.shape != images.shape:
        raise ValueError(f"shapes differ: {tuple(generated.shape)} and {tuple(images.shape)}")
    return (generated - images).square().sum() / len(images)


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, real_target: float = 1.0
) -> Tensor:
    """-E log D(real) - E log(1 - D(fake)), D = sigmoid(logit), averaged over each batch.

    The discriminator's loss of Goodfellow et al. (2014, arXiv 1406.2661), halved, so that an
    uninformative discriminator scores log 2 = 0.69.

    Args:
        real_logits: float32 (B,).
        fake_logits: float32 (B',).
        real_target: t in (0, 1]. Below 1 the loss of real images is label-smoothed:
            -t log D(real) - (1 - t) log(1 - D(real)), as in Mathieu et al.'s code.

    Returns:
        Scalar, >= 0.
    """
    return 0.5 * (_as_real(real_logits, real_target) + F.softplus(fake_logits).mean())


def generator_loss(fake_logits: Tensor, real_target: float = 1.0) -> Tensor:
    """-E log D(fake), the non-saturating loss of Goodfellow et al. (2014, arXiv 1406.2661).

    Args:
        fake_logits: float32 (B,).
        real_target: As in :func:`discriminator_loss`; the target for generated images, too.

    Returns:
        Scalar, >= 0; log 2 = 0.69 if the discriminator is undecided.
    """
    return _as_real(fake_logits, real_target)


def _as_real(logits: Tensor, target: float) -> Tensor:
    """-t E log D - (1 - t) E log(1 - D)."""
    loss = F.softplus(-logits).mean()
    return loss if target == 1.0 else target * loss + (1.0 - target) * F.softplus(logits).mean()


def critic_loss(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the critic's class predictions in nats, averaged over the batch.

    Args:
        class_logits: float32 (B, K).
        labels: int64 (B,) in [0, K).

    Returns:
        Scalar, >= 0; log K for an uninformative critic on balanced classes.
    """
    return F.cross_entropy(class_logits, labels)


def confusion_loss(class_logits: Tensor) -> Tensor:
    """KL(uniform || critic's prediction) in nats, averaged over the batch.

    = -(1/K) sum_k log p_k - log K, zero iff the critic finds every class equally likely (Tzeng et
    al., 2015, arXiv 1510.02192, use the same cross-entropy with the uniform distribution). The
    critic's error would be the wrong target: an encoder that makes the critic err
    systematically has relabelled the class, not removed it.

    Args:
        class_logits: float32 (B, K).

    Returns:
        Scalar, >= 0.
    """
    log_probabilities = torch.log_softmax(class_logits, dim=1)
    return -log_probabilities.mean() - math.log(class_logits.shape[1])


def style_cycle_loss(styles: Tensor, noise: Tensor) -> Tensor:
    """Squared distance ||mu(G(s, n)) - n||^2, summed over the code, averaged over the batch.

    n is a style from the prior. An image generated from it should be encoded as n whatever its
    class, so that a style means the same for every class. The latent regression of Zhu et al.
    (2017, arXiv 1711.11586), who use the absolute distance.

    Args:
        styles: Means of the generated images' unspecified codes, float32 (B, Z).
        noise: The styles that the images were generated from, the same shape.

    Returns:
        Scalar, >= 0.
    """
    return (styles - noise).square().sum(dim=1).mean()


def cycle_loss(first: Tensor, second: Tensor) -> Tensor:
    """|mu(G(s, n)) - mu(G(s', n))|, summed over the code, averaged over the batch.

    The reverse cycle of Jha et al. (2018, arXiv 1804.10469): images of two identities
    generated in one style should be encoded as one style.

    Args:
        first: Means of the first images' unspecified codes, float32 (B, Z).
        second: Means of the second images' codes; row i has the style of row i of ``first``.

    Returns:
        Scalar, >= 0.
    """
    return (first - second).abs().sum(dim=1).mean()


def pair_kernel_loss(first: Tensor, second: Tensor) -> Tensor:
    """Kernel MMD penalty: similarity of same-class styles above that of random pairs.

    E k(z, z') over pairs of one class, minus E k(z, z') over any two codes. Given the class, the
    codes of a pair are independent, so the difference is sum_y p(y) ||m_y - m||^2, with m_y the
    mean embedding of class y in the kernel's space. For a characteristic kernel it is zero iff
    the codes do not depend on the class. The classes themselves need not be known. Codes are
    standardised over the batch; k is a mean of inverse multiquadratics c / (c + ||z - z'||^2),
    as in Tolstikhin et al. (2018, arXiv 1711.01558).

    Args:
        first: float32 (P, Z).
        second: float32 (P, Z); row i has the class of row i of ``first``.

    Returns:
        Scalar; about 0, of either sign, if the codes do not depend on the class.
    """
    size, dims = first.shape
    codes = F.batch_norm(torch.cat([first, second]).float(), None, None, training=True, eps=1e-6)
    distances = torch.cdist(codes, codes).square()
    scales = dims * _kernel_scales(codes.device)
    kernel = (scales / (scales + distances)).mean(dim=0)
    pairs = kernel.diagonal(size).mean()
    any_two = (kernel.sum() - kernel.diagonal().sum()) / (2 * size * (2 * size - 1))
    return pairs - any_two


@cache
def _kernel_scales(device: torch.device) -> Tensor:
    """Returns the scales, (5, 1, 1), cached: a CUDA graph cannot capture a copy to the device."""
    return torch.tensor(KERNEL_SCALES, device=device)[:, None, None]
