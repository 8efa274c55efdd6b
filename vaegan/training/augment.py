"""One small change of style for a whole batch of images, whatever they show."""

import torch
from torch import Tensor
from torch.nn import functional as F

SHEAR = 0.2  # at most, pixels per pixel
WIDER, TALLER = 0.15, 0.10  # share of the size, at most
THICKER, THINNER = 0.7, 0.5  # share of the way to the maximum, or minimum, of 3 x 3 pixels


def vary_style(images: Tensor, rng: torch.Generator) -> Tensor:
    """Images sheared, stretched, and thickened or thinned, all by the same random amounts.

    Args:
        images: float32 (N, C, H, W) in [0, 1], light on dark.
        rng: Source of the amounts, on the device of the images.

    Returns:
        The same shape and range; what a digit shows stays, how it looks changes.
    """
    shear, wider, taller, thicker = (
        2 * torch.rand(4, generator=rng, device=images.device) - 1
    ).tolist()
    matrix = torch.tensor(
        [[1 / (1 + WIDER * wider), -SHEAR * shear, 0.0], [0.0, 1 / (1 + TALLER * taller), 0.0]],
        device=images.device,
    )
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    changed = F.grid_sample(images, grid, align_corners=False)
    if thicker > 0:
        thick = F.max_pool2d(changed, 3, 1, 1)
        return torch.lerp(changed, thick, THICKER * thicker)
    thin = -F.max_pool2d(-changed, 3, 1, 1)
    return torch.lerp(changed, thin, -THINNER * thicker)
