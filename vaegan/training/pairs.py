"""Sampling pairs of images of one class."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """P pairs of images of one class, and for each of the first A pairs another one.

    Attributes:
        anchor: int64 (P,), positions in the data set.
        partner: int64 (P,), positions in the data set, of the anchor's class; another image
            than the anchor if the class has more than one.
        other: int64 (A,), positions of pairs *within the first A of this batch*. If classes are
            known, of another class than the anchor's, as long as no class fills more than half of
            them. Otherwise just another pair, which is usually of another class.
    """

    anchor: Tensor
    partner: Tensor
    other: Tensor


class PairSampler:
    """Samples pairs of images of one class, by index operations on the labels' device.

    Anchors are uniform over images, partners uniform over the other images of the anchor's
    class.

    Args:
        labels: int64 (N,), on the device that the positions should be on.
        class_count: Number of classes.
        classes_known: Whether to use that pairs are of different classes. If false, only that
            the images of a pair are of one class.

    Raises:
        ValueError: fewer than two classes have images.
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

    def sample(self, pairs: int, rng: torch.Generator, others: int | None = None) -> PairBatch:
        """Samples ``pairs`` pairs.

        Args:
            pairs: P, >= 1.
            rng: Source of randomness, on the device of the labels.
            others: A, at most P, which it is by default.

        Returns:
            Positions on the device of the labels.
        """
        device = self.labels.device
        anchor = torch.randint(len(self.labels), (pairs,), generator=rng, device=device)
        label = self.labels[anchor]
        size, start = self.size[label], self.start[label]
        # A step of 1..size-1 around the ring of the class never lands on the anchor itself.
        uniform = torch.rand(pairs, generator=rng, device=device)
        step = 1 + (uniform * (size - 1)).to(torch.int64)
        partner = self.by_class[start + (self.rank[anchor] - start + step) % size]
        if self.classes_known:
            return PairBatch(anchor, partner, self._of_other_classes(label[:others]))
        return PairBatch(anchor, partner, torch.arange(pairs, device=device)[:others].roll(-1))

    def _of_other_classes(self, label: Tensor) -> Tensor:
        """Sorts pairs by class and shifts them by the largest class's size, to another class."""
        order = torch.argsort(label, stable=True)
        # Not bincount, which waits for a CUDA device.
        shift = (label[:, None] == torch.arange(self.class_count, device=label.device)).sum(0).max()
        moved = order[(torch.arange(len(label), device=label.device) + shift) % len(label)]
        other = torch.empty_like(order)
        other[order] = moved
        return other
