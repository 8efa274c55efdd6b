"""Sampling of pairs of images of one class."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
