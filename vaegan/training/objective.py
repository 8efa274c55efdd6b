"""The objective of encoder and decoder: its terms, applied to what a step has drawn."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from vaegan.model.codes import kl_to_standard_normal
from vaegan.model.networks import Encoder
from vaegan.training import losses
from vaegan.training.adversaries import Critic
from vaegan.training.generation import Draws, Verdicts, there


def objective_terms(
    encoder: Encoder,
    critic: Critic,
    draws: Draws,
    verdicts: Verdicts | None,
    real_target: float,
) -> dict[str, Callable[[], Tensor]]:
    """Each term of ``ObjectiveWeights`` by its name, as a function that computes it.

    Args:
        encoder: In training mode; used again by the terms that encode what was drawn.
        critic: Guesses the class from a style.
        draws: What the step has drawn.
        verdicts: What the discriminator says of it.
        real_target: What it is asked to say of a real image.
    """
    codes, images, pairs = draws.codes, draws.images, len(draws.noise)
    mean = codes.unspecified.mean
    return {
        "reconstruction": lambda: losses.reconstruction_loss(there(draws.own), images),
        "partner": lambda: losses.reconstruction_loss(there(draws.partner), images),
        "specified_kl": lambda: kl_to_standard_normal(codes.specified),
        "unspecified_kl": lambda: kl_to_standard_normal(codes.unspecified),
        "adversarial": lambda: losses.generator_loss(there(there(verdicts).swapped), real_target),
        "adversarial_prior": lambda: losses.generator_loss(
            there(there(verdicts).sampled), real_target
        ),
        "confusion": lambda: losses.confusion_loss(critic(draws.unspecified)),
        "style_cycle": lambda: losses.style_cycle_loss(
            styles_of(encoder, there(draws.sampled)), draws.noise
        ),
        "cycle": lambda: losses.cycle_loss(
            *styles_of(
                # The encoder's to mend, not the decoder's.
                encoder,
                torch.cat([there(draws.sampled), there(draws.crossed)]).detach(),
            ).chunk(2)
        ),
        "pair_kernel": lambda: losses.pair_kernel_loss(mean[:pairs], mean[pairs:]),
    }


def styles_of(encoder: Encoder, images: Tensor) -> Tensor:
    """Means of the unspecified codes of drawn images (B, C, H, W), (B, Z).

    They are normalised by their own statistics, but leave those of the encoder alone, which
    are to be of real images.
    """
    norms = [m for m in encoder.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        return encoder(images).unspecified.mean
    finally:
        for norm in norms:
            norm.track_running_stats = True
