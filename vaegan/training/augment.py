"""A random change of style, the same for all images of a batch."""

import torch
from torch import Tensor
from torch.nn import functional as F

SHEAR = 0.2  # largest shear, pixels per pixel
WIDER, TALLER = 0.15, 0.10  # largest change, as a share of the size
THICKER, THINNER = 0.7, 0.5  # largest step towards the maximum, or minimum, of 3 x 3 pixels


def vary_style(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shears, stretches, and thickens or thins all images by the same random amounts.

    Args:
        images: float32 (N, C, H, W) in [0, 1], light on dark.
        rng: Source of the amounts, on the device of the images.

    Returns:
        Images of the same shape and range; the identity is kept, the style changes.
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
