"""Random changes of style, the same for all images of a batch; the identity is kept.

Of strokes: shear, stretch and thickness. Of pictures: shift, zoom, brightness, contrast, and hue if
they are in colour; and a mirror image where left and right may be exchanged.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SHEAR = 0.2  # largest shear, pixels per pixel
WIDER, TALLER = 0.15, 0.10  # largest change, as a share of the size
THICKER, THINNER = 0.7, 0.5  # largest step towards the maximum, or minimum, of 3 x 3 pixels

SHIFT, ZOOM = 0.08, 0.12  # largest shift and change of size, as a share of the size
BRIGHTER = 0.5  # largest power of 2 by which the exponent of a pixel is changed
CONTRAST = 0.6  # largest step along smoothstep(x) - x
HUE = math.pi / 5  # largest turn of the colours, radians
TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def vary_style(
    images: Tensor, rng: torch.Generator, kind: str = "strokes", mirror: bool = False
) -> Tensor:
    """Changes the style of all images by the same random amounts.

    Args:
        images: float32 (N, C, H, W) in [0, 1]; strokes are light on dark.
        rng: Source of the amounts, on the device of the images.
        kind: "strokes" or "pictures".
        mirror: Whether pictures may also be mirrored, left to right.

    Returns:
        Images of the same shape and range; the identity is kept, the style changes.
    """
    return _vary_strokes(images, rng) if kind == "strokes" else _vary_pictures(images, rng, mirror)


def _amounts(count: int, images: Tensor, rng: torch.Generator) -> list[float]:
    """Samples amounts, uniform in [-1, 1]."""
    amounts: list[float] = (2 * torch.rand(count, generator=rng, device=images.device) - 1).tolist()
    return amounts


def _vary_strokes(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shears, stretches, and thickens or thins."""
    shear, wider, taller, thicker = _amounts(4, images, rng)
    matrix = torch.tensor(
        [[1 / (1 + WIDER * wider), -SHEAR * shear, 0.0], [0.0, 1 / (1 + TALLER * taller), 0.0]],
        device=images.device,
    )
    changed = _resample(images, matrix, "zeros")
    if thicker > 0:
        thick = F.max_pool2d(changed, 3, 1, 1)
        return torch.lerp(changed, thick, THICKER * thicker)
    thin = -F.max_pool2d(-changed, 3, 1, 1)
    return torch.lerp(changed, thin, -THINNER * thicker)


def _vary_pictures(images: Tensor, rng: torch.Generator, mirror: bool) -> Tensor:
    """Shifts, zooms, changes brightness and contrast, turns the hue, and perhaps mirrors.

    Black and white pixels stay black and white, so that a plain background stays one.
    """
    right, down, zoom, brighter, contrast, hue, side = _amounts(7, images, rng)
    scale = 1 / (1 + ZOOM * zoom)
    flipped = -scale if mirror and side > 0 else scale
    matrix = torch.tensor(
        [[flipped, 0.0, 2 * SHIFT * right], [0.0, scale, 2 * SHIFT * down]], device=images.device
    )
    changed = _resample(images, matrix, "border").clamp(0, 1)
    changed = changed ** (2 ** (-BRIGHTER * brighter))
    smooth = changed * changed * (3 - 2 * changed)
    changed = changed + CONTRAST * contrast * (smooth - changed)
    return _turn_hue(changed, HUE * hue) if images.shape[1] == 3 else changed


def _resample(images: Tensor, matrix: Tensor, outside: str) -> Tensor:
    """Maps images by an affine map (2, 3) of the output's to the input's coordinates."""
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def _turn_hue(images: Tensor, angle: float) -> Tensor:
    """Turns the chroma of RGB images in the plane of YIQ; grey pixels stay as they are."""
    to_yiq = torch.tensor(TO_YIQ, device=images.device)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[1.0, 0, 0], [0, cos, -sin], [0, sin, cos]], device=images.device)
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return torch.einsum("ij,njhw->nihw", matrix, images).clamp(0, 1)
