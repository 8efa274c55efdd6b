"""A normalizing flow whose layers see a class: invertible maps of a code, one after the other."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_SCALE = 1.5  # a coupling multiplies by at most exp(1.5), and divides by at most that


class InvertibleLayer(Protocol):
    """An invertible map of codes (B, Z) for each class; labels are int64 (B,) in [0, K)."""

    def forward(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | float]:
        """Returns the mapped codes (B, Z), and log |det| of the Jacobian, (B,) or 0."""

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Undoes :meth:`forward` for the same labels, up to rounding."""


class Flow:
    """Composes layers: T = T_n o ... o T_1."""

    def __init__(self, layers: Sequence[InvertibleLayer]) -> None:
        self.layers = layers

    def forward(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns T(codes), (B, Z), and log |det dT/dcodes|, (B,)."""
        log_determinant = torch.zeros((), device=codes.device)
        for layer in self.layers:
            codes, change = layer.forward(codes, labels)
            log_determinant = log_determinant + change
        return codes, log_determinant

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Returns T^-1(codes), (B, Z)."""
        for layer in reversed(self.layers):
            codes = layer.inverse(codes, labels)
        return codes


class Affine:
    """z -> A_y (z - b_y) with a matrix and a shift for each class y.

    Args:
        matrix: A, float32 (K, Z, Z).
        shift: b, float32 (K, Z).
    """

    def __init__(self, matrix: Tensor, shift: Tensor) -> None:
        self.matrix, self.shift = matrix, shift

    def forward(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mapped codes and log |det A_y|."""
        codes = multiply_by_class(self.matrix, codes - self.shift[labels], labels)
        return codes, torch.linalg.slogdet(self.matrix)[1][labels]

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Returns A_y^-1 z + b_y."""
        inverses = torch.linalg.inv(self.matrix)
        return multiply_by_class(inverses, codes, labels) + self.shift[labels]


class Rotation:
    """z -> z R, the same for all classes.

    Args:
        matrix: R, orthogonal, float32 (Z, Z).
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def forward(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        """Returns the rotated codes and 0."""
        with torch.autocast(codes.device.type, enabled=False):
            return codes @ self.matrix, 0.0

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Returns z R^T."""
        with torch.autocast(codes.device.type, enabled=False):
            return codes @ self.matrix.T


class Coupling(nn.Module):
    """Scales and shifts one half of a code, given the other half and the class.

    The affine coupling of Dinh et al. (2017, arXiv 1605.08803), equations 7 and 8. A new one is the
    identity. Under autocast only its network is computed in less than float32.

    Args:
        dim: Z.
        class_count: K.
        hidden: Units in each of the two hidden layers.
        second: Whether the second half is kept and the first one moved.
    """

    def __init__(self, dim: int, class_count: int, hidden: int, second: bool) -> None:
        super().__init__()
        self.class_count = class_count
        self.sizes = [dim // 2, dim - dim // 2]
        self.second = second
        kept, moved = reversed(self.sizes) if second else self.sizes
        self.layers = nn.Sequential(
            nn.Linear(kept + class_count, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * moved),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets random weights, and zeros in the last layer, so that nothing is moved."""
        for layer in list(self.layers.children())[::2]:
            layer.reset_parameters()  # type: ignore[operator]
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the codes with one half moved, and the sum of the log-scales."""
        kept, moved = self._split(codes)
        shift, log_scale = self._shift_and_log_scale(kept, labels)
        return self._join(kept, moved * log_scale.exp() + shift), log_scale.sum(dim=1)

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Undoes :meth:`forward`."""
        kept, moved = self._split(codes)
        shift, log_scale = self._shift_and_log_scale(kept, labels)
        return self._join(kept, (moved - shift) * (-log_scale).exp())

    def _split(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        first, second = codes.split(self.sizes, dim=1)
        return (second, first) if self.second else (first, second)

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.second else [kept, moved], dim=1)

    def _shift_and_log_scale(self, kept: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        classes = F.one_hot(labels, self.class_count).to(kept.dtype)
        shift, free = self.layers(torch.cat([kept, classes], dim=1)).float().chunk(2, dim=1)
        return shift, LOG_SCALE * torch.tanh(free / LOG_SCALE)


def multiply_by_class(matrices: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """Multiplies each code (B, Z) by its class's matrix of (K, R, Z); returns (B, R).

    Computes the products with all matrices, then selects: much faster than gathering a matrix for
    every row, and its gradient.
    """
    with torch.autocast(codes.device.type, enabled=False):
        products = codes @ matrices.flatten(0, 1).T  # (B, K * R)
    rows = torch.arange(len(codes), device=codes.device)
    return products.view(len(codes), *matrices.shape[:2])[rows, labels]
