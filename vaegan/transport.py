"""Class transport: what each code still tells of the other, moved into a map that can be undone.

An encoder that has to leave the class out of ``z`` pays for it in what the decoder can draw.
A map that is invertible once the class is known costs nothing: the decoder undoes it, given the
class that the specified code shows, and who has only ``z`` finds every class alike. The style
that is left in ``s``, as far as ``z`` tells it, is taken away for good: the decoder has learned to
do without it, with specified codes of other images.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.rng import derive_seed, torch_rng

LOG_SCALE = 1.5  # a coupling multiplies by no more than exp(1.5), and divides by no more
ROTATION_SEED = 0
CHANGES_PER_STEP = 4
RIDGE = 1e-3  # of the regression of s on z, per code


@dataclass(frozen=True)
class TransportConfig:
    """Size of a class transport.

    Attributes:
        layers: Coupling layers, >= 0 and even; 0 leaves the affine map alone.
        hidden: Units in each of the two hidden layers of a coupling, >= 1.
    """

    layers: int
    hidden: int


class ClassTransport(nn.Module):
    """An invertible map of both codes for each class, and a guess of the class from ``s``.

    Of ``z``: per class an affine map, then affine coupling layers (Dinh et al., 2017,
    arXiv 1605.08803)
    between fixed rotations, which see the class beside half of the code, then another affine
    map per class. Of ``s``: per class a linear function of the new ``z`` is taken away. The class
    is the one that a linear layer reads from the specified code, so it is known wherever an image
    is drawn.

    A new one maps every code to itself.

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
            z = z @ rotation if i % 2 == 0 else z
            z, stretch = coupling(z, classes)
            z = z @ rotation.T if i % 2 else z
            log_determinant = log_determinant + stretch
        z = _of_class(self.last_matrix, z - self.last_shift[labels], labels)
        return z, log_determinant + torch.linalg.slogdet(self.last_matrix)[1][labels]

    def inverse(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Undoes :meth:`forward` for the same labels, but for rounding."""
        classes = F.one_hot(labels, self.class_count).to(codes.dtype)
        z = _of_class(torch.linalg.inv(self.last_matrix), codes, labels) + self.last_shift[labels]
        for i, coupling in reversed(list(enumerate(self.couplings))):
            rotation = self.rotations[i // 2]
            z = z @ rotation if i % 2 else z
            z = coupling.inverse(z, classes)  # type: ignore[operator]
            z = z @ rotation.T if i % 2 == 0 else z
        return _of_class(torch.linalg.inv(self.matrix), z, labels) + self.shift[labels]


def _of_class(matrices: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """The matrix (K, R, Z) of its class times each code (B, Z), (B, R).

    All products and a choice: much faster than a matrix for every row, and its gradient.
    """
    products = codes @ matrices.flatten(0, 1).T  # (B, K * rows)
    rows = torch.arange(len(codes), device=codes.device)
    return products.view(len(codes), *matrices.shape[:2])[rows, labels]


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
        shift, free = self.layers(torch.cat([kept, classes], dim=1)).chunk(2, dim=1)
        return shift, LOG_SCALE * torch.tanh(free / LOG_SCALE)


@dataclass(frozen=True)
class TransportTraining:
    """How a class transport is fitted.

    Attributes:
        images: Training images, at most, whose codes it is fitted to.
        steps: Updates, >= 1.
        batch: Codes per update.
        lr: Adam's step size at the start; it falls as a cosine.
        alignment: Weight of the term that has a change of style mean one thing in all classes.
        changes: Changes of style that it is measured on, >= 1.
        images_per_change: Images that each of them is tried on, >= 2.
        seed: Of weights and batches.
    """

    images: int
    steps: int
    batch: int
    lr: float
    alignment: float
    changes: int
    images_per_change: int
    seed: int


def fit_transport(
    transport: ClassTransport,
    specified: Tensor,
    unspecified: Tensor,
    std: Tensor,
    labels: Tensor,
    changed: "ChangedCodes | None",
    config: TransportTraining,
) -> dict[str, float]:
    """Fits the map so that the codes of every class come from one normal distribution.

    Maximum likelihood, by Adam, of N(0, diag(1 - std^2)): with the posterior's noise on top
    that is the prior N(0, I), for every class. It starts from the affine map that brings
    mean and covariance of each class there with the least squared distance (optimal transport
    between normal distributions), and ends with another of the kind.

    Any such map may give a direction of style another meaning in each class (the reference
    ambiguity of Szabo et al., 2018, arXiv 1711.02245). So images are changed, the same change for
    images of all classes, and the code is asked to move alike: the term is the variance of
    T(code of the changed image) - T(code of the image) over the images of one change, summed
    over dimensions.

    Args:
        transport: Fitted in place; on the device of the codes.
        specified: Means, float32 (N, S).
        unspecified: Means, float32 (N, Z).
        std: Deviation of the posterior in each dimension, (Z,), in [0, 1).
        labels: int64 (N,).
        changed: Codes of images whose style was changed; None switches alignment off.
        config: How.

    Returns:
        ``transport_loss``, nats per code but for a constant, and ``alignment_loss``, both
        averaged over the last tenth of the steps.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    device = unspecified.device
    variance = (1 - std.square()).clamp(min=1e-3)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(config.seed, "transport-weights"))
        transport.reset()
    _match_moments(transport.matrix, transport.shift, unspecified, labels, variance)
    closed_form = ("last_", "style_in_identity")
    fitted = [p for name, p in transport.named_parameters() if not name.startswith(closed_form)]
    optimizer = torch.optim.Adam(fitted, lr=config.lr, fused=True)
    last: list[Tensor] = []
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        rng = torch_rng(config.seed, "transport-batch", step, device)
        rows = torch.randint(len(labels), (config.batch,), generator=rng, device=device)
        moved, log_determinant = transport.with_log_determinant(unspecified[rows], labels[rows])
        loss = 0.5 * (moved.square() / variance).sum(dim=1).mean() - log_determinant.mean()
        spread = torch.zeros((), device=device)
        if changed is not None and config.alignment:
            spread = _spread(transport, unspecified, labels, changed, rng)
        guess = F.cross_entropy(transport.classes(specified[rows]), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        (loss + config.alignment * spread + guess).backward()
        optimizer.step()
        if step >= 0.9 * config.steps:
            last.append(torch.stack([loss, spread]).detach())
    # What means and covariances are left over is taken out exactly.
    with torch.no_grad():
        rows = torch.arange(len(labels), device=device).split(config.batch)
        moved = torch.cat([transport(unspecified[r], labels[r]) for r in rows])
        _match_moments(transport.last_matrix, transport.last_shift, moved, labels, variance)
        guessed = torch.cat([transport.identity(specified[r]) for r in rows])
        style = torch.cat([transport(unspecified[r], guessed[r]) for r in rows])
        _regress(transport.style_in_identity, specified, style, guessed)
    means = torch.stack(last).mean(dim=0).tolist()
    losses = dict(zip(("transport_loss", "alignment_loss"), means, strict=True))
    for name, mean in losses.items():
        if not math.isfinite(mean):
            raise FloatingPointError(f"{name} is {mean} at the end of the transport's fit")
    return losses


@dataclass(frozen=True)
class ChangedCodes:
    """Codes of images after changes of style, G changes of M images each.

    Attributes:
        rows: int64 (G, M), which images were changed.
        codes: float32 (G, M, Z), the unspecified means of the changed images.
    """

    rows: Tensor
    codes: Tensor


def _spread(
    transport: ClassTransport,
    unspecified: Tensor,
    labels: Tensor,
    changed: ChangedCodes,
    rng: torch.Generator,
) -> Tensor:
    """How differently the images of one change move, for a few of the changes."""
    picked = torch.randint(
        len(changed.rows), (CHANGES_PER_STEP,), generator=rng, device=changed.rows.device
    )
    rows = changed.rows[picked].flatten()
    before = transport(unspecified[rows], labels[rows])
    after = transport(changed.codes[picked].flatten(0, 1), labels[rows])
    steps = (after - before).view(CHANGES_PER_STEP, -1, before.shape[1])
    return (steps - steps.mean(dim=1, keepdim=True)).square().sum(dim=2).mean()


@torch.no_grad()
def _match_moments(
    matrices: Tensor, shifts: Tensor, codes: Tensor, labels: Tensor, variance: Tensor
) -> None:
    """A = C^-1/2 (C^1/2 V C^1/2)^1/2 C^-1/2 and the mean, of each class with enough codes."""
    for label in range(len(shifts)):
        members = codes[labels == label].double()
        if len(members) <= codes.shape[1]:
            continue
        covariance = torch.cov(members.T) + 1e-5 * torch.eye(codes.shape[1], device=codes.device)
        root = _square_root(covariance)
        undo = torch.linalg.inv(root)
        matrix = undo @ _square_root(root @ torch.diag(variance.double()) @ root) @ undo
        matrices[label] = matrix.to(matrices.dtype)
        shifts[label] = members.mean(dim=0).to(shifts.dtype)


@torch.no_grad()
def _regress(matrices: Tensor, specified: Tensor, style: Tensor, labels: Tensor) -> None:
    """Least squares of class-centred ``s`` on ``z``, of each class with enough codes."""
    for label in range(len(matrices)):
        mine = labels == label
        s, z = specified[mine].double(), style[mine].double()
        if len(z) <= 10 * z.shape[1]:
            continue
        s, z = s - s.mean(dim=0), z - z.mean(dim=0)
        ridge = RIDGE * len(z) * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        matrices[label] = torch.linalg.solve(z.T @ z + ridge, z.T @ s).T.to(matrices.dtype)


def _square_root(matrix: Tensor) -> Tensor:
    """Of a symmetric positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=1e-12).sqrt()) @ vectors.T
