"""Class transport: removes what each code still says about the other, by a map that is undone.

An encoder that has to remove the class from ``z`` pays in the quality of what the decoder can
generate. A map that is invertible given the class costs nothing: the decoder side undoes it, given
the class that the specified code shows, while ``z`` alone looks the same for every class. Style
left in ``s``, as far as ``z`` predicts it, is subtracted for good: the decoder has learned to
generate an image from the specified code of another one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaegan.model.config import TransportConfig
from vaegan.model.flow import Affine, Coupling, Flow, InvertibleLayer, Rotation, multiply_by_class

ROTATION_SEED = 0


class ClassTransport(nn.Module):
    """Three fitted parts: a classifier of ``s``, a flow of ``z``, a regression of ``s`` on ``z``.

    The classifier is linear. It predicts the class wherever the map is applied or undone, so no
    label is needed; in a transport fitted to clusters, it predicts the cluster.

    The flow has, per class, an affine map, then affine couplings between fixed rotations, then
    another affine map.

    The regression is linear per class; its prediction is subtracted from ``s``.

    A new transport maps every code to itself. Under autocast only the networks of the couplings
    are computed in less than float32.

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

    def reset_parameters(self) -> None:
        """Makes the transport a new one, with weights from torch's global generator."""
        self.classes.reset_parameters()
        for coupling in self.couplings:
            coupling.reset_parameters()  # type: ignore[operator]
        with torch.no_grad():
            for vectors in (self.shift, self.last_shift, self.style_in_identity):
                vectors.zero_()
            for matrices in (self.matrix, self.last_matrix):
                matrices.copy_(torch.eye(matrices.shape[-1]).expand_as(matrices))

    @property
    def flow(self) -> Flow:
        """The map of ``z``; it holds the transport's own parameters."""
        layers: list[InvertibleLayer] = [Affine(self.matrix, self.shift)]
        couplings: Iterator[Any] = iter(self.couplings)  # pairs: each moves one half
        for rotation, first, second in zip(self.rotations, couplings, couplings, strict=True):
            layers += [Rotation(rotation), first, second, Rotation(rotation.T)]
        return Flow([*layers, Affine(self.last_matrix, self.last_shift)])

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Maps codes (B, Z) of classes int64 (B,) to codes (B, Z) that do not show them."""
        return self.flow.forward(codes, labels)[0]

    def classify(self, specified: Tensor) -> Tensor:
        """Predicts the class that specified codes (B, S) show, int64 (B,)."""
        return self.classes(specified).argmax(dim=1)

    def separate(self, specified: Tensor, unspecified: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes (B, S) and (B, Z) as encoded to codes that say less about each other.

        A specified code that would change its predicted class by that is kept as it is, so that
        :meth:`restore_style` predicts the class that was used here.
        """
        labels = self.classify(specified)
        style = self(unspecified, labels)
        pure = specified - multiply_by_class(self.style_in_identity, style, labels)
        same = (self.classify(pure) == labels)[:, None]
        return torch.where(same, pure, specified), style

    def restore_style(self, specified: Tensor, unspecified: Tensor) -> Tensor:
        """Inverts the flow: the style (B, Z) as encoded, for the class that (B, S) shows."""
        return self.flow.inverse(unspecified, self.classify(specified))
