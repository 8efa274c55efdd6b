"""The codes that a class transport is fitted to, as a trained encoder gives them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data import to_unit_range
from vaegan.model.networks import Encoder
from vaegan.rng import derive_seed
from vaegan.training.augment import vary_style

ENCODED_AT_ONCE = 1000
CLUSTERINGS = 10  # random starts of k-means, of which the best counts


@dataclass(frozen=True)
class EncodedImages:
    """What a transport is fitted to: codes as the encoder gives them.

    Attributes:
        specified: Means, float32 (N, S).
        unspecified: Means, float32 (N, Z).
        std: Deviation of the unspecified posterior in each dimension, (Z,), in [0, 1).
        labels: int64 (N,), classes or clusters.
    """

    specified: Tensor
    unspecified: Tensor
    std: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ChangedCodes:
    """Codes of images after changes of style, G changes of M images each.

    Attributes:
        rows: int64 (G, M), which images were changed.
        codes: float32 (G, M, Z), the unspecified means of the changed images.
    """

    rows: Tensor
    codes: Tensor


@torch.no_grad()
def encode_means(
    encoder: Encoder, images: Tensor, change: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Means of both codes of uint8 images, after a change of style if one is asked for."""
    real = to_unit_range(images)
    real = real if change is None else vary_style(real, change)
    codes = encoder(real.contiguous(memory_format=torch.channels_last))
    return codes.specified.mean, codes.unspecified.mean


@torch.no_grad()
def style_std(encoder: Encoder, images: Tensor) -> Tensor:
    """Deviation of the unspecified posterior in each dimension, (Z,), averaged over images."""
    return encoder(to_unit_range(images[:ENCODED_AT_ONCE])).unspecified.std.mean(dim=0)


def clusters(codes: Tensor, count: int, seed: int) -> Tensor:
    """Clusters of codes (N, D) by k-means, int64 (N,) in [0, count), on the device of the codes."""
    # Imported here: a second to start, which a training that knows its classes does not wait for.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    model = KMeans(count, n_init=CLUSTERINGS, random_state=derive_seed(seed, "clusters") >> 32)
    with threadpool_limits(1):  # sums of several threads come in whatever order they end
        found = model.fit_predict(codes.cpu().numpy())
    return torch.from_numpy(found).to(codes.device, torch.int64)
