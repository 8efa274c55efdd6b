"""Swaps: pairs of identity and style sources, decoding, and confusion matrices."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Decode = Callable[[Tensor, Tensor], Tensor]


def cross_class_pairs(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses pairs of an identity source and a style source of different classes.

    Only such pairs test the specified code: within one class, a decoder that ignores it would pass.

    Args:
        labels: int64 (N,), of at least two classes.
        count: Number of pairs.
        rng: Generator of the choice.

    Returns:
        Two arrays of positions, int64 (count,): identities uniform over images, styles uniform over
        the images of other classes.

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


def decode_in_batches(
    decode: Decode, specified: Tensor, unspecified: Tensor, batch_size: int = 1000
) -> Tensor:
    """Decodes codes (N, S) and (N, Z) to images float32 (N, C, H, W), a batch at a time."""
    with torch.inference_mode():
        batches = zip(specified.split(batch_size), unspecified.split(batch_size), strict=True)
        return torch.cat([decode(s, z) for s, z in batches])


def confusion(expected: np.ndarray, predicted: np.ndarray, class_count: int) -> np.ndarray:
    """Counts each pair of expected (row) and predicted (column) class, int64 (K, K).

    Args:
        expected: int (N,), each in [0, K).
        predicted: int (N,), each in [0, K).
        class_count: K, also if some class does not occur.

    Raises:
        ValueError: the lengths differ, or a class is not in [0, K).
    """
    expected, predicted = np.asarray(expected, np.int64), np.asarray(predicted, np.int64)
    if expected.ndim != 1 or expected.shape != predicted.shape:
        raise ValueError(
            f"expected and predicted classes must be (N,), got {expected.shape}, {predicted.shape}"
        )
    for name, classes in (("expected", expected), ("predicted", predicted)):
        if len(classes) and not 0 <= classes.min() <= classes.max() < class_count:
            raise ValueError(
                f"{name} classes must lie in [0, {class_count}), got "
                f"[{classes.min()}, {classes.max()}]"
            )
    counts = np.bincount(expected * class_count + predicted, minlength=class_count**2)
    return counts.reshape(class_count, class_count)
