"""Fitting a class transport to a trained encoder: every class's styles to one distribution."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaegan.data import stratified_subset
from vaegan.model.transport import ClassTransport
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import derive_seed, numpy_rng, torch_rng
from vaegan.training.config import TransportTraining
from vaegan.training.loop import TrainingLoop, autocast
from vaegan.training.players import adam, set_rate
from vaegan.training.transport_codes import (
    ENCODED_AT_ONCE,
    ChangedCodes,
    EncodedImages,
    clusters,
    encode_means,
    style_std,
)

CHANGES_PER_STEP = 4
RIDGE = 1e-3  # of the regression of s on z, per code
CLOSED_FORM = ("last_", "style_in_identity")  # parameters that no gradient moves


def fit_to_images(
    model: DisentanglingVAE,
    images: Tensor,
    labels: Tensor | None,
    config: TransportTraining,
) -> dict[str, float]:
    """Fits the model's class transport to what its encoder makes of training images.

    Nothing is drawn that depends on what went before, so it may be done again, to the same bits.

    Args:
        model: Trained, in eval mode, with a transport, which is fitted in place.
        images: uint8 (N, C, H, W), on the model's device.
        labels: int64 (N,) there; None where classes are not known: then specified codes are
            clustered, as many clusters as the transport has classes, and these take their place.
        config: How.

    Returns:
        As :func:`fit_transport`.

    Raises:
        ValueError: the model has no transport.
        FloatingPointError: as :func:`fit_transport`.
    """
    transport, encoder, device = model.transport, model.encoder, images.device
    if transport is None:
        raise ValueError("the model has no class transport to fit")
    choice = numpy_rng(config.seed, "transport-images")
    # Without labels all images count as of one class, and the choice is just a random one.
    strata = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels.cpu()
    rows = torch.from_numpy(stratified_subset(strata.numpy(), config.images, choice)).to(device)
    # Codes go where there is room for all of them: each kept as it comes would stay between the
    # large blocks that the next images need, and the heap would grow by hundreds of megabytes.
    dims = model.config.specified.dim, model.config.unspecified.dim
    specified, unspecified = (torch.empty(len(rows), dim, device=device) for dim in dims)
    for chunk in torch.arange(len(rows), device=device).split(ENCODED_AT_ONCE):
        specified[chunk], unspecified[chunk] = encode_means(encoder, images[rows[chunk]])
    rng = torch_rng(config.seed, "changes", 0, device)
    size = config.changes, config.images_per_change
    changed_rows = torch.randint(len(rows), size, generator=rng, device=device)
    changed = torch.empty(*size, dims[1], device=device)
    for codes, picked in zip(changed, changed_rows, strict=True):
        codes.copy_(encode_means(encoder, images[rows[picked]], rng)[1])
    if labels is None:
        classes = clusters(specified, transport.class_count, config.seed)
    else:
        classes = labels[rows]
    encoded = EncodedImages(specified, unspecified, style_std(encoder, images), classes)
    return fit_transport(transport, encoded, ChangedCodes(changed_rows, changed), config)


def fit_transport(
    transport: ClassTransport,
    encoded: EncodedImages,
    changed: ChangedCodes | None,
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
        encoded: The codes.
        changed: Codes of images whose style was changed; None switches alignment off.
        config: How.

    Returns:
        ``transport_loss``, nats per code but for a constant, and ``alignment_loss``, both
        averaged over the last tenth of the steps.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    unspecified, labels = encoded.unspecified, encoded.labels
    variance = (1 - encoded.std.square()).clamp(min=1e-3)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(config.seed, "transport-weights"))
        transport.reset_parameters()
    _match_moments(transport.matrix, transport.shift, unspecified, labels, variance)
    losses = _maximise_likelihood(transport, encoded, variance, changed, config)
    _finish_in_closed_form(transport, encoded, variance, config.batch)
    return losses


def _maximise_likelihood(
    transport: ClassTransport,
    encoded: EncodedImages,
    variance: Tensor,
    changed: ChangedCodes | None,
    config: TransportTraining,
) -> dict[str, float]:
    """The gradient steps; returns their mean losses over the last tenth of them."""
    labels, device = encoded.labels, encoded.labels.device
    fitted = [p for name, p in transport.named_parameters() if not name.startswith(CLOSED_FORM)]
    optimizer = adam(fitted, config.lr)

    def update(rng: torch.Generator) -> dict[str, Tensor]:
        batch = _batch(encoded, changed if config.alignment else None, config.batch, rng)
        with autocast(device, config.precision):
            moved, log_determinant = transport.flow.forward(
                encoded.unspecified[batch.rows], labels[batch.rows]
            )
            spread = _spread(transport, moved, labels, batch)
        loss = 0.5 * (moved.square() / variance).sum(dim=1).mean() - log_determinant.mean()
        guess = F.cross_entropy(
            transport.classes(encoded.specified[batch.rows]), labels[batch.rows]
        )
        optimizer.zero_grad(set_to_none=True)
        (loss + config.alignment * spread + guess).backward()
        optimizer.step()
        return {"transport_loss": loss.detach(), "alignment_loss": spread.detach()}

    def set_rates(step: int) -> None:
        set_rate(optimizer, config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps)))

    loop = TrainingLoop(
        update, set_rates, device, config.seed, "transport-batch", " of the transport's fit"
    )
    names, losses = loop.run(config.steps)
    last = losses[math.ceil(0.9 * config.steps) :].mean(dim=0)
    return dict(zip(names, last.tolist(), strict=True))


@dataclass(frozen=True)
class _Batch:
    """Which codes a step looks at: ``rows`` (B,), of which the first are those of ``changed``."""

    rows: Tensor
    changed: Tensor | None  # (G', M, Z)


def _batch(
    encoded: EncodedImages, changed: ChangedCodes | None, size: int, rng: torch.Generator
) -> _Batch:
    """A few changes of style, and other codes up to the size of the batch."""
    device = encoded.labels.device
    if changed is None:
        return _Batch(_any(encoded, size, rng), None)
    picked = torch.randint(len(changed.rows), (CHANGES_PER_STEP,), generator=rng, device=device)
    rows = changed.rows[picked].flatten()
    rows = torch.cat([rows, _any(encoded, max(0, size - len(rows)), rng)])
    return _Batch(rows, changed.codes[picked])


def _any(encoded: EncodedImages, count: int, rng: torch.Generator) -> Tensor:
    labels = encoded.labels
    return torch.randint(len(labels), (count,), generator=rng, device=labels.device)


def _spread(transport: ClassTransport, moved: Tensor, labels: Tensor, batch: _Batch) -> Tensor:
    """How differently the images of one change move, for the changes of a batch."""
    if batch.changed is None:
        return torch.zeros((), device=moved.device)
    after = batch.changed.flatten(0, 1)
    steps = transport(after, labels[batch.rows[: len(after)]]) - moved[: len(after)]
    steps = steps.view(batch.changed.shape)
    return (steps - steps.mean(dim=1, keepdim=True)).square().sum(dim=2).mean()


@torch.no_grad()
def _finish_in_closed_form(
    transport: ClassTransport, encoded: EncodedImages, variance: Tensor, batch: int
) -> None:
    """Takes out what is left of means and covariances, and of style in the specified code."""
    unspecified, specified, labels = encoded.unspecified, encoded.specified, encoded.labels
    rows = torch.arange(len(labels), device=labels.device).split(batch)
    moved = torch.cat([transport(unspecified[r], labels[r]) for r in rows])
    _match_moments(transport.last_matrix, transport.last_shift, moved, labels, variance)
    guessed = torch.cat([transport.classify(specified[r]) for r in rows])
    style = torch.cat([transport(unspecified[r], guessed[r]) for r in rows])
    _regress(transport.style_in_identity, specified, style, guessed)


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
