"""Fidelity: how close a reconstruction, decoded from an image's own codes, is to the image."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5  # pixels, of the structural similarity
K1, K2 = 0.01, 0.03


def mean_squared_error(generated: Tensor, images: Tensor) -> float:
    """Mean squared error per pixel.

    Args:
        generated: float32 (N, C, H, W) in [0, 1].
        images: The same shape and range.

    Returns:
        In [0, 1], in units of the squared range of a pixel.

    Raises:
        ValueError: the shapes differ.
    """
    if generated.shape != images.shape:
        raise ValueError(f"shapes differ: {tuple(generated.shape)} and {tuple(images.shape)}")
    return float((generated - images).square().cpu().double().mean())


def peak_signal_to_noise(mse: float) -> float:
    """PSNR = -10 log10(MSE) in decibels, for pixels in [0, 1]; 200, its maximum, if MSE = 0."""
    return -10 * math.log10(max(mse, 1e-20))


def structural_similarity(generated: Tensor, images: Tensor, batch_size: int = 1000) -> float:
    """Mean SSIM of Wang et al. (2004) with their Gaussian window of 11 pixels, sigma 1.5.

    Args:
        generated: float32 (N, C, H, W) in [0, 1], H and W >= 11.
        images: The same shape and range.
        batch_size: Images at a time.

    Returns:
        In [-1, 1]; 1 iff the images are equal.

    Raises:
        ValueError: the images are smaller than the window.
    """
    if min(images.shape[-2:]) < WINDOW:
        raise ValueError(f"images must be at least {WINDOW} pixels wide and high")
    offset = torch.arange(WINDOW, dtype=torch.float32, device=images.device) - (WINDOW - 1) / 2
    weight = torch.exp(-0.5 * (offset / SIGMA) ** 2)
    weight = weight / weight.sum()
    channels = images.shape[1]

    def blur(x: Tensor) -> Tensor:
        """Mean over the window around each pixel that has a whole one."""
        x = F.conv2d(x, weight.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
        return F.conv2d(x, weight.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)

    total = 0.0
    for x, y in zip(generated.split(batch_size), images.split(batch_size), strict=True):
        mean_x, mean_y = blur(x), blur(y)
        var_x = blur(x * x) - mean_x**2
        var_y = blur(y * y) - mean_y**2
        covariance = blur(x * y) - mean_x * mean_y
        similarity = (2 * mean_x * mean_y + K1**2) * (2 * covariance + K2**2)
        similarity = similarity / ((mean_x**2 + mean_y**2 + K1**2) * (var_x + var_y + K2**2))
        total += float(similarity.mean(dim=(1, 2, 3)).cpu().double().sum())
    return total / len(images)
