"""Class transport: what each code still tells of the other, moved into a map that can be undone.

An encoder that has to leave the class out of ``z`` pays for it in what the decoder can draw.
A map that is invertible once the class is known costs nothing: the decoder undoes it, given the
class that the specified code shows, and who has only ``z`` finds every class alike. The style
that is left in ``s``, as far as ``z`` tells it, is taken away for good: the decoder has learned to
do without it, with specified codes of other images.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.model.config import TransportConfig

LOG_SCALE = 1.5  # a coupling multiplies by no more than exp(1.5), and divides by no more
ROTATION_SEED = 0


class ClassTransport(nn.Module):
    """An invertible map of both codes for each class, and a guess of the class from ``s``.

    Of ``z``: per class an affine map, then affine coupling layers (Dinh et al., 2017,
    arXiv 1605.08803) between fixed rotations, which see the class beside half of the code, then
    another affine map per class. Of ``s``: per class a linear function of the new ``z`` is taken
    away. The class is the one that a linear layer reads from the specified code, so it is known
    wherever an image is drawn; where the transport was fitted to clusters, it is the cluster.

    A new one maps every code to itself. Under autocast only the layers of the couplings are
    computed in less than float32.

    Args:
        specified: S, size of the specified code.
        unspecified: Z, size of the unspecified code.
        class_count: K.
        config: Size.

    Raises:
        ValueError: ``config.layers`` is odd or negative.
    """

    def __init__(
        self, specified: int, unspecified: int, class_count: int, config: TransportConfig
    ) -> None:
        super().__init__()
        if config.layers < 0 or config.layers % 2:
            raise ValueError(f"transport.layers: got {config.layers}, expected an even number >= 0")
        self.class_count = class_count
        self.classes = nn.Linear(specified, class_count)
        self.shift = nn.Parameter(torch.zeros(class_count, unspecified))
        self.matrix = nn.Parameter(torch.eye(unspecified).repeat(class_count, 1, 1))
        self.couplings = nn.ModuleList(
            Coupling(unspecified, class_count, config.hidden, second=i % 2 == 1)
            for i in range(config.layers)
        )
        self.style_in_identity = nn.Parameter(torch.zeros(class_count, specified, unspecified))
        self.last_shift = nn.Parameter(torch.zeros(class_count, unspecified))
        self.last_matrix = nn.Parameter(torch.eye(unspecified).repeat(class_count, 1, 1))
        rng = np.random.default_rng(ROTATION_SEED)
        normal = rng.standard_normal((config.layers // 2, unspecified, unspecified))
        rotations = np.linalg.qr(normal)[0].astype(np.float32)
        self.rotations: Tensor
        self.register_buffer("rotations", torch.from_numpy(rotations))

    def reset(self) -> None:
        """Makes it a new one again, with weights from torch's own random stream."""
        self.classes.reset_parameters()
        for coupling in self.couplings:
            coupling.reset()  # type: ignore[operator]
        with torch.no_grad():
            for vectors in (self.shift, self.last_shift, self.style_in_identity):
                vectors.zero_()
            for matrices in (self.matrix, self.last_matrix):
                matrices.copy_(torch.eye(matrices.shape[-1]).expand_as(matrices))

    def identity(self, specified: Tensor) -> Tensor:
        """The class that specified codes (B, S) show, int64 (B,)."""
        return self.classes(specified).argmax(dim=1)

    def separate(self, specified: Tensor, unspecified: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, S) and (B, Z) as encoded, to codes that tell less of each other.

        A specified code that would then show another class stays as it is, so that :meth:`undo`
        finds the class that was used here.
        """
        labels = self.identity(specified)
        style = self(unspecified, labels)
        pure = specified - _of_class(self.style_in_identity, style, labels)
        same = (self.identity(pure) == labels)[:, None]
        return torch.where(same, pure, specified), style

    def undo(self, specified: Tensor, unspecified: Tensor) -> Tensor:
        """The style (B, Z) as the encoder meant it, for the identity that (B, S) shows."""
        return self.inverse(unspecified, self.identity(specified))

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Codes (B, Z) of classes int64 (B,) to codes (B, Z) that do not show them."""
        return self.with_log_determinant(codes, labels)[0]

    def with_log_determinant(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and log |det| of the map's derivative at each code, (B,)."""
        z = _of_class(self.matrix, codes - self.shift[labels], labels)
        log_determinant = torch.linalg.slogdet(self.matrix)[1][labels]
        classes = F.one_hot(labels, self.class_count).to(z.dtype)
        for i, coupling in enumerate(self.couplings):
            rotation = self.rotations[i // 2]
            z = _rotated(z, rotation) if i % 2 == 0 else z
            z, stretch = coupling(z, classes)
            z = _rotated(z, rotation.T) if i % 2 else z
            log_determinant = log_determinant + stretch
        z = _of_class(self.last_matrix, z - self.last_shift[labels], labels)
        return z, log_determinant + torch.linalg.slogdet(self.last_matrix)[1][labels]

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Undoes :meth:`forward` for the same labels, but for rounding."""
        classes = F.one_hot(labels, self.class_count).to(codes.dtype)
        z = _of_class(torch.linalg.inv(self.last_matrix), codes, labels) + self.last_shift[labels]
        for i, coupling in reversed(list(enumerate(self.couplings))):
            rotation = self.rotations[i // 2]
            z = _rotated(z, rotation) if i % 2 else z
            z = coupling.inverse(z, classes)  # type: ignore[operator]
            z = _rotated(z, rotation.T) if i % 2 == 0 else z
        return _of_class(torch.linalg.inv(self.matrix), z, labels) + self.shift[labels]


def _of_class(matrices: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """The matrix (K, R, Z) of its class times each code (B, Z), (B, R).

    All products and a choice: much faster than a matrix for every row, and its gradient.
    """
    with torch.autocast(codes.device.type, enabled=False):
        products = codes @ matrices.flatten(0, 1).T  # (B, K * rows)
    rows = torch.arange(len(codes), device=codes.device)
    return products.view(len(codes), *matrices.shape[:2])[rows, labels]


def _rotated(codes: Tensor, rotation: Tensor) -> Tensor:
    with torch.autocast(codes.device.type, enabled=False):
        return codes @ rotation


class Coupling(nn.Module):
    """Scales and shifts one half of a code by what the other half and the class say."""

    def __init__(self, dim: int, class_count: int, hidden: int, second: bool) -> None:
        super().__init__()
        self.sizes = [dim // 2, dim - dim // 2]
        self.second = second  # whether the second part stays as it is
        kept, moved = reversed(self.sizes) if second else self.sizes
        self.layers = nn.Sequential(
            nn.Linear(kept + class_count, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * moved),
        )
        self.reset()

    def reset(self) -> None:
        """Random weights, but zeros in the last layer: nothing is moved."""
        for layer in list(self.layers.children())[::2]:
            layer.reset_parameters()  # type: ignore[operator]
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, codes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, Z) and one-hot classes (B, K) to codes and log |det|, (B,)."""
        kept, moved = self._parts(codes)
        shift, log_scale = self._move(kept, classes)
        return self._join(kept, moved * log_scale.exp() + shift), log_scale.sum(dim=1)

    def inverse(self, codes: Tensor, classes: Tensor) -> Tensor:
        """Undoes :meth:`forward`."""
        kept, moved = self._parts(codes)
        shift, log_scale = self._move(kept, classes)
        return self._join(kept, (moved - shift) * (-log_scale).exp())

    def _parts(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        first, second = codes.split(self.sizes, dim=1)
        return (second, first) if self.second else (first, second)

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.second else [kept, moved], dim=1)

    def _move(self, kept: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        shift, free = self.layers(torch.cat([kept, classes], dim=1)).float().chunk(2, dim=1)
        return shift, LOG_SCALE * torch.tanh(free / LOG_SCALE)
