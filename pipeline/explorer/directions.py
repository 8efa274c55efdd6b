"""Directions of the unspecified code, sorted by how much they change the image."""

import numpy as np
import torch
from torch import Tensor

from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import torch_rng

SHOWN = 8  # directions
CODES = 128  # around which the change is measured, if there are few dimensions
DECODED = 2048  # images, for all dimensions together
STEP = 0.25  # standard deviations: of the finite differences


def main_directions(
    model: DisentanglingVAE, specified: np.ndarray, unspecified: np.ndarray | None, seed: int = 0
) -> np.ndarray:
    """Principal axes of the style, as the images show it.

    These are the directions of a standardised ``z`` along which decoded images change most: the
    eigenvectors of E[J^T J] with J = d image / d (z / standard deviation of z), by finite
    differences. The plain principal axes of ``z`` say little, since training and transport bring
    ``z`` close to N(0, I), which has none.

    Args:
        model: In eval mode.
        specified: float32 (K, S), codes to decode, K >= 1.
        unspecified: float32 (N, Z), codes of images; None samples from N(0, I).
        seed: Seed of the choice of codes.

    Returns:
        float32 (A, Z), A <= 8: one standard deviation along each direction; the first changes the
        image most. The signs are such that each one's largest entry is positive.
    """
    dim = model.config.unspecified.dim
    rng = torch_rng(seed, "explorer.directions")
    count = min(CODES, max(1, DECODED // (dim + 1)))
    rows = torch.randint(len(specified), (count,), generator=rng)
    identities = torch.from_numpy(specified)[rows]
    if unspecified is None:
        scale, styles = torch.ones(dim), torch.randn(count, dim, generator=rng)
    else:
        known = torch.from_numpy(unspecified)
        scale = known.std(dim=0, correction=0)
        styles = known[torch.randint(len(known), (count,), generator=rng)]
    metric = np.zeros((dim, dim))
    for identity, style in zip(identities, styles, strict=True):
        slopes = _slopes(model, identity, style, scale)
        metric += slopes @ slopes.T
    values, vectors = np.linalg.eigh(metric)
    axes = vectors[:, np.argsort(-values, kind="stable")[:SHOWN]].T * scale.numpy()
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return (axes * np.where(largest < 0, -1.0, 1.0)).astype(np.float32)


def _slopes(model: DisentanglingVAE, identity: Tensor, style: Tensor, scale: Tensor) -> np.ndarray:
    """Change of an image per standard deviation of each dimension of its style, (Z, pixels)."""
    moved = torch.cat([style[None], style + STEP * torch.diag(scale)])
    with torch.inference_mode():
        images = model.decode(identity.expand(len(moved), -1), moved).flatten(1).double()
    return ((images[1:] - images[:1]) / STEP).numpy()
