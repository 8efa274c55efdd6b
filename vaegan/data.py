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


@dataclass(frozen=True)
class PairBatch:
    """Positions of P pairs of one class each, and for each pair one of another class.

    Attributes:
        anchor: int64 (P,) positions in the data set.
        partner: int64 (P,) positions, of the anchor's class; another image
            wherever the class has more than one.
        other: int64 (P,) positions *within this batch*. Each is of another class than the
            anchor's, as long as no class fills more than half of the batch; where only pairs
            are known, of another pair, which is of another class more often than not.
    """

    anchor: Tensor
    partner: Tensor
    other: Tensor


class PairSampler:
    """Draws pairs of images of one class, by index on labels that stay on the device.

    Anchors are uniform over images, partners uniform over the other images of the
    anchor's class. No work is done per image in Python.

    Args:
        labels: int64 (N,), on the device on which the positions are wanted.
        class_count: Number of classes.
        classes_known: Whether it may be told that two images are of different classes, or only
            that two are of one.

    Raises:
        ValueError: there are fewer than two classes with images.
    """

    def __init__(self, labels: Tensor, class_count: int, classes_known: bool = True) -> None:
        self.labels = labels
        self.class_count = class_count
        self.classes_known = classes_known
        self.by_class = torch.argsort(labels, stable=True)
        self.size = torch.bincount(labels, minlength=class_count)
        if int((self.size > 0).sum()) < 2:
            raise ValueError("images of at least two classes are needed to form pairs, got one")
        self.start = torch.cumsum(self.size, 0) - self.size
        self.rank = torch.empty_like(self.by_class)  # position of an image within by_class
        self.rank[self.by_class] = torch.arange(len(labels), device=labels.device)

    def sample(self, pairs: int, rng: torch.Generator) -> PairBatch:
        """Draws ``pairs`` pairs.

        Args:
            pairs: P, >= 1.
            rng: Generator on the device of the labels.

        Returns:
            The positions, on the device of the labels.
        """
        device = self.labels.device
        anchor = torch.randint(len(self.labels), (pairs,), generator=rng, device=device)
        label = self.labels[anchor]
        size, start = self.size[label], self.start[label]
        # A step of 1..size-1 round the ring of the class never lands on the anchor itself.
        draw = torch.rand(pairs, generator=rng, device=device)
        step = 1 + (draw * (size - 1)).to(torch.int64)
        partner = self.by_class[start + (self.rank[anchor] - start + step) % size]
        if self.classes_known:
            return PairBatch(anchor, partner, self._others(label))
        return PairBatch(anchor, partner, torch.arange(pairs, device=device).roll(-1))

    def _others(self, label: Tensor) -> Tensor:
        """Pairs sorted by class and moved on by the largest class's size meet another class."""
        order = torch.argsort(label, stable=True)
        # As bincount, for which a CUDA device is waited for.
        shift = (label[:, None] == torch.arange(self.class_count, device=label.device)).sum(0).max()
        moved = order[(torch.arange(len(label), device=label.device) + shift) % len(label)]
        other = torch.empty_like(order)
        other[order] = moved
        return other
