"""Labelled images at rest, and the sampler of pairs that training draws from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images with the class each one shows.

    Attributes:
        images: uint8 (N, C, H, W), in memory or memory-mapped.
        labels: int64 (N,), each in [0, class_count).
        class_count: Number of classes, >= 2; a class may be absent from a split.

    Raises:
        ValueError: wrong dtype or rank, lengths differ, or a label is out of range.
    """

    images: np.ndarray
    labels: np.ndarray
    class_count: int

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images must be uint8 (N, C, H, W), got {self.images.dtype} {self.images.shape}"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 ({len(self.images)},), "
                f"got {self.labels.dtype} {self.labels.shape}"
            )
        if len(self.labels) and (self.labels.min() < 0 or self.labels.max() >= self.class_count):
            raise ValueError(
                f"labels must lie in [0, {self.class_count}), "
                f"got [{self.labels.min()}, {self.labels.max()}]"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


def as_tensor(array: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """An array, in memory or memory-mapped, as a tensor on a device.

    On the CPU it is the array's own memory where that may be written to, as that of a file
    mapped copy-on-write: then nothing is read before it is used, and nothing held twice.
    """
    return torch.from_numpy(array if array.flags.writeable else np.array(array)).to(device)


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 images (..., C, H, W) in [0, 255] as float32 in [0, 1]; the same device."""
    return images.to(torch.float32).div_(255.0)


def first_per_class(labels: np.ndarray, per_class: int = 1) -> np.ndarray:
    """Positions of the first ``per_class`` images of each class that occurs.

    Args:
        labels: int64 (N,).
        per_class: How many of each class, fewer where a class has fewer.

    Returns:
        int64 (M,), sorted by class and by position within a class.
    """
    positions = [np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)]
    return np.concatenate(positions).astype(np.int64)


def stratified_subset(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of at most ``count`` images, classes in their own proportions.

    Args:
        labels: int64 (N,).
        count: Size wanted; all positions are returned when count >= N.
        rng: Source of the choice.

    Returns:
        int64 (min(count, N),), sorted, without repetition; the share of a class is exact to
        one image.
    """
    if count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(count * sizes, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    chosen = [
        rng.choice(np.flatnonzero(labels == c), size=share, replace=False)
        for c, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
