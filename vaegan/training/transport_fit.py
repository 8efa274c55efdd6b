"""Fit of a class transport to a trained encoder: the styles of all classes to one distribution."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaegan.model.transport import ClassTransport
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import derive_seed
from vaegan.training.closed_form import match_moments, regress
from vaegan.training.config import TransportFitConfig
from vaegan.training.loop import TrainingLoop, autocast
from vaegan.training.players import adam, set_rate
from vaegan.training.transport_codes import ChangedCodes, EncodedImages, encode_images

CHANGES_PER_STEP = 4
CLOSED_FORM = ("last_", "style_in_identity")  # parameters without gradient steps


def fit_to_images(
    model: DisentanglingVAE,
    images: Tensor,
    labels: Tensor | None,
    config: TransportFitConfig,
    seed: int,
    precision: str = "float32",
) -> dict[str, float]:
    """Fits the model's class transport to its encoder's codes of training images.

    The result depends on the arguments only; repeating the fit gives the same bits.

    Args:
        model: Trained, in eval mode, with a transport, which is fitted in place.
        images: uint8 (N, C, H, W), on the model's device.
        labels: int64 (N,), on the same device. None if classes are not known: the specified
            codes are clustered, into as many clusters as the transport has classes.
        config: How to fit.
        seed: Of weights and batches.
        precision: ``"float32"`` or ``"bfloat16"``, of the couplings' layers; the rest is float32.

    Returns:
        As :func:`fit_to_codes`.

    Raises:
        ValueError: the model has no transport.
        FloatingPointError: as :func:`fit_to_codes`.
    """
    if model.transport is None:
        raise ValueError("the model has no class transport to fit")
    codes = encode_images(model.encoder, images, labels, model.transport.class_count, config, seed)
    return fit_to_codes(model.transport, *codes, config, seed, precision)


def fit_to_codes(
    transport: ClassTransport,
    encoded: EncodedImages,
    changed: ChangedCodes | None,
    config: TransportFitConfig,
    seed: int,
    precision: str = "float32",
) -> dict[str, float]:
    """Fits the transport so that the codes of every class follow one normal distribution.

    Maximum likelihood of N(0, diag(1 - std^2)), by Adam; with the posterior's noise added, that is
    the prior N(0, I) for every class. The fit starts from an affine map per class that matches
    mean and covariance, and ends with another one.

    Any such map may give a direction of the code another meaning in each class (the reference
    ambiguity of Szabo et al., 2018, arXiv 1711.02245). The alignment term prevents that: images of
    all classes get the same change of style, and their codes should move alike. The term is the
    variance of T(code of the changed image) - T(code of the image) over the images of one
    change, summed over dimensions.

    Args:
        transport: Fitted in place; on the device of the codes.
        encoded: The codes.
        changed: Codes of images whose style was changed; None switches alignment off.
        config: How to fit.
        seed: Of weights and batches.
        precision: ``"float32"`` or ``"bfloat16"``, of the couplings' layers; the rest is float32.

    Returns:
        ``transport_loss``, nats per code up to a constant, and ``alignment_loss``, both averaged
        over the last tenth of the steps, at least one.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    variance = (1 - encoded.std.square()).clamp(min=1e-3)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "transport-weights"))
        transport.reset_parameters()
    match_moments(transport.matrix, transport.shift, encoded.unspecified, encoded.labels, variance)
    losses = _maximise_likelihood(transport, encoded, variance, changed, config, seed, precision)
    _fit_closed_form(transport, encoded, variance, config.batch)
    return losses


def _maximise_likelihood(
    transport: ClassTransport,
    encoded: EncodedImages,
    variance: Tensor,
    changed: ChangedCodes | None,
    config: TransportFitConfig,
    seed: int,
    precision: str,
) -> dict[str, float]:
    """Runs the gradient steps; returns the mean losses of the last tenth of them."""
    labels, device = encoded.labels, encoded.labels.device
    fitted = [p for name, p in transport.named_parameters() if not name.startswith(CLOSED_FORM)]
    optimizer = adam(fitted, config.lr)

    def update(rng: torch.Generator) -> dict[str, Tensor]:
        batch = _sample_batch(encoded, changed if config.alignment else None, config.batch, rng)
        with autocast(device, precision):
            mapped, log_determinant = transport.flow.forward(
                encoded.unspecified[batch.rows], labels[batch.rows]
            )
            alignment = _alignment_loss(transport, mapped, labels, batch)
        loss = 0.5 * (mapped.square() / variance).sum(dim=1).mean() - log_determinant.mean()
        class_logits = transport.classes(encoded.specified[batch.rows])
        classification = F.cross_entropy(class_logits, labels[batch.rows])
        optimizer.zero_grad(set_to_none=True)
        (loss + config.alignment * alignment + classification).backward()
        optimizer.step()
        return {"transport_loss": loss.detach(), "alignment_loss": alignment.detach()}

    def set_rates(step: int) -> None:
        set_rate(optimizer, config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps)))

    loop = TrainingLoop(
        update,
        set_rates,
        device,
        seed,
        "transport-batch",
        " of the transport's fit",
        "fitting the class transport",
    )
    names, losses = loop.run(config.steps)
    first = min(math.ceil(0.9 * config.steps), config.steps - 1)  # at least one step counts
    last = losses[first:].mean(dim=0)
    return dict(zip(names, last.tolist(), strict=True))


@dataclass(frozen=True)
class _Batch:
    """Codes of one step.

    Attributes:
        rows: int64 (B,), rows of the encoded images; those of ``changed`` come first.
        changed: Codes after changes of style, float32 (G', M, Z); None without alignment.
    """

    rows: Tensor
    changed: Tensor | None


def _sample_batch(
    encoded: EncodedImages, changed: ChangedCodes | None, size: int, rng: torch.Generator
) -> _Batch:
    """Samples a few changes of style, and other codes up to the size of the batch."""
    labels = encoded.labels
    if changed is None:
        return _Batch(_random_rows(labels, size, rng), None)
    picked = _random_rows(changed.rows, CHANGES_PER_STEP, rng)
    rows = changed.rows[picked].flatten()
    rows = torch.cat([rows, _random_rows(labels, max(0, size - len(rows)), rng)])
    return _Batch(rows, changed.codes[picked])


def _random_rows(tensor: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Samples ``count`` rows of a tensor, with repetition, int64 (count,)."""
    return torch.randint(len(tensor), (count,), generator=rng, device=tensor.device)


def _alignment_loss(
    transport: ClassTransport, mapped: Tensor, labels: Tensor, batch: _Batch
) -> Tensor:
    """Computes how differently a change of style moves the codes of its images."""
    if batch.changed is None:
        return torch.zeros((), device=mapped.device)
    after = batch.changed.flatten(0, 1)
    steps = transport(after, labels[batch.rows[: len(after)]]) - mapped[: len(after)]
    steps = steps.view(batch.changed.shape)
    return (steps - steps.mean(dim=1, keepdim=True)).square().sum(dim=2).mean()


@torch.no_grad()
def _fit_closed_form(
    transport: ClassTransport, encoded: EncodedImages, variance: Tensor, batch: int
) -> None:
    """Fits the last affine map of ``z``, then the regression of ``s`` on the new ``z``."""
    unspecified, specified, labels = encoded.unspecified, encoded.specified, encoded.labels
    rows = torch.arange(len(labels), device=labels.device).split(batch)
    mapped = torch.cat([transport(unspecified[r], labels[r]) for r in rows])
    match_moments(transport.last_matrix, transport.last_shift, mapped, labels, variance)
    predicted = torch.cat([transport.classify(specified[r]) for r in rows])
    style = torch.cat([transport(unspecified[r], predicted[r]) for r in rows])
    regress(transport.style_in_identity, specified, style, predicted)
