"""Fidelity: how far an image drawn from its own codes is from the image."""

import numpy as np
import torch
from torch import Tensor

from vaegan.data import as_tensor, to_unit_range
from vaegan.evaluation.transfer import Decode


def reconstruction_mse(
    decode: Decode,
    specified: Tensor,
    unspecified: Tensor,
    images: np.ndarray,
    batch_size: int = 1000,
) -> float:
    """Mean squared error per pixel of images drawn from their own codes.

    Args:
        decode: Specified (B, S) and unspecified (B, Z) codes to images (B, C, H, W) in [0, 1].
        specified: float32 (N, S), row i of image i.
        unspecified: float32 (N, Z).
        images: uint8 (N, C, H, W); may be memory-mapped.
        batch_size: Images drawn at a time.

    Returns:
        In [0, 1], in units of the squared range of a pixel.
    """
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            target = to_unit_range(as_tensor(images[rows], specified.device))
            drawn = decode(specified[rows], unspecified[rows])
            total += float((drawn - target).square().double().sum())
    return total / images.size
