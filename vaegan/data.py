"""Labelled images as uint8 arrays, their conversion to tensors, and subsets by class."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images and their class labels.

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
    """Converts an array, in memory or memory-mapped, to a tensor on a device.

    On the CPU the tensor shares a writeable array's memory. A file that is mapped copy-on-write
    is writeable, so it is read only as far as it is used, and nothing is held twice.
    """
    return torch.from_numpy(array if array.flags.writeable else np.array(array)).to(device)


def to_unit_range(images: Tensor) -> Tensor:
    """Converts uint8 images (..., C, H, W) in [0, 255] to float32 in [0, 1] on their device."""
    return images.to(torch.float32).div_(255.0)


def first_per_class(labels: np.ndarray, per_class: int = 1) -> np.ndarray:
    """Selects the first ``per_class`` images of each class that occurs.

    Args:
        labels: int64 (N,).
        per_class: Images of each class; a class that has fewer gives all it has.

    Returns:
        Positions, int64 (M,), sorted by class and by position within a class.
    """
    positions = [np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)]
    return np.concatenate(positions).astype(np.int64)


def every_second(labels: np.ndarray) -> np.ndarray:
    """Marks the second, fourth, ... image of each class among labels (N,), bool (N,)."""
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    marked = np.empty(len(labels), bool)
    marked[order] = (np.arange(len(labels)) - np.repeat(starts, sizes)) % 2 == 1
    return marked


def stratified_subset(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Samples at most ``count`` images, with the proportions of the classes kept.

    Args:
        labels: int64 (N,).
        count: Size of the subset; all positions are returned if count >= N.
        rng: Source of randomness.

    Returns:
        Positions, int64 (min(count, N),), sorted, without repetition; each class's share is
        exact to one image.
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
