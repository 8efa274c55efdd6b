"""Identity transfer: whether swapped images show the class that they should."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Decode = Callable[[Tensor, Tensor], Tensor]


def cross_class_pairs(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of identity sources and style sources of different classes.

    Only such pairs tell: between images of one class, a decoder that ignores the
    specified code passes as well.

    Args:
        labels: int64 (N,), of at least two classes.
        count: Number of pairs.
        rng: Source of the choice.

    Returns:
        Two int64 (count,): identities uniform over images, styles uniform over the images
        of other classes.

    Raises:
        ValueError: all labels are one class.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError("swaps between classes need images of at least two classes")
    identities = rng.integers(len(labels), size=count)
    styles = rng.integers(len(labels), size=count)
    while (same := labels[styles] == labels[identities]).any():
        styles[same] = rng.integers(len(labels), size=int(same.sum()))
    return identities, styles


def draw_all(
    decode: Decode, specified: Tensor, unspecified: Tensor, batch_size: int = 1000
) -> Tensor:
    """Images drawn from codes (N, S) and (N, Z), a batch at a time: float32 (N, C, H, W)."""
    with torch.inference_mode():
        batches = zip(specified.split(batch_size), unspecified.split(batch_size), strict=True)
        return torch.cat([decode(s, z) for s, z in batches])


def confusion(expected: np.ndarray, seen: np.ndarray, class_count: int) -> np.ndarray:
    """How often each class was seen where each was expected, int64 (K, K); rows: expected."""
    counts = np.bincount(expected * class_count + seen, minlength=class_count**2)
    return counts.reshape(class_count, class_count)
