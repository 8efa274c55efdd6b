"""Identity transfer: whether swapped images show the class that they should."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Decode = Callable[[Tensor, Tensor], Tensor]
Classify = Callable[[Tensor], Tensor]


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


def identity_accuracy(
    decode: Decode,
    classify: Classify,
    specified: Tensor,
    unspecified: Tensor,
    labels: Tensor,
    batch_size: int = 1000,
) -> float:
    """Share of drawn images in which a classifier sees the class of the specified code.

    Args:
        decode: Specified (B, S) and unspecified (B, Z) codes to images (B, C, H, W).
        classify: Images to the classes seen, int64 (B,); independent of the model.
        specified: float32 (N, S), whose identities should show.
        unspecified: float32 (N, Z), from other images or from the prior.
        labels: int64 (N,), the classes of the specified codes.
        batch_size: Images drawn at a time.

    Returns:
        In [0, 1]; chance is the share of a class, about 0.1 for ten digits.
    """
    correct = 0
    with torch.inference_mode():
        for s, z, label in zip(
            specified.split(batch_size),
            unspecified.split(batch_size),
            labels.split(batch_size),
            strict=True,
        ):
            correct += int((classify(decode(s, z)) == label).sum())
    return correct / len(labels)
