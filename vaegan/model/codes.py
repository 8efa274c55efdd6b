"""Posteriors of the latent codes: sampling, and divergence from the prior."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """q(code | image): a diagonal normal distribution, or a point if logvar is None.

    Attributes:
        mean: float32 (B, D).
        logvar: float32 (B, D), the natural logarithm of the variance; None for a
            code that is not variational.

    Raises:
        ValueError: mean is not (B, D), or logvar has another shape.
    """

    mean: Tensor
    logvar: Tensor | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 2:
            raise ValueError(f"mean must be (B, D), got {tuple(self.mean.shape)}")
        if self.logvar is not None and self.logvar.shape != self.mean.shape:
            raise ValueError(
                f"mean and logvar must both be (B, D), got {tuple(self.mean.shape)} "
                f"and {tuple(self.logvar.shape)}"
            )

    @property
    def std(self) -> Tensor:
        """Standard deviation, float32 (B, D), >= 0; zeros for a code that is not variational."""
        if self.logvar is None:
            return torch.zeros_like(self.mean)
        return torch.exp(0.5 * self.logvar)


@dataclass(frozen=True)
class Codes:
    """Posteriors of the two codes of a batch: the specified (B, S) and the unspecified (B, Z)."""

    specified: Posterior
    unspecified: Posterior


def reparameterize(posterior: Posterior, rng: torch.Generator | None = None) -> Tensor:
    """Samples one code per row: mean + std * noise with noise ~ N(0, I).

    The reparameterisation trick of Kingma & Welling (2014, arXiv 1312.6114): gradients reach
    mean and logvar. The sample of a code that is not variational is its mean.

    Args:
        posterior: B codes of D dimensions.
        rng: Source of the noise, on the device of the posterior; None uses torch's global one.

    Returns:
        float32 (B, D).
    """
    if posterior.logvar is None:
        return posterior.mean
    noise = torch.randn(
        posterior.mean.shape,
        generator=rng,
        device=posterior.mean.device,
        dtype=posterior.mean.dtype,
    )
    return posterior.mean + posterior.std * noise


def kl_to_standard_normal(posterior: Posterior) -> Tensor:
    """KL(q(code|x) || N(0, I)) in nats, summed over the code and averaged over the batch.

    KL = 1/2 sum_d (mean_d^2 + exp(logvar_d) - 1 - logvar_d), the closed form of Kingma & Welling
    (2014, arXiv 1312.6114), appendix B. Zero iff mean = 0 and logvar = 0.

    Returns:
        Scalar, >= 0; exactly 0 for a code that is not variational, which has no density.
    """
    if posterior.logvar is None:
        return posterior.mean.new_zeros(())
    terms = posterior.mean.square() + posterior.logvar.exp() - 1.0 - posterior.logvar
    return 0.5 * terms.sum(dim=1).mean()
