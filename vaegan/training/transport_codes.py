"""Codes that a class transport is fitted to: of training images, and of changed ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data import stratified_subset, to_unit_range
from vaegan.model.networks import Encoder
from vaegan.progress import followed
from vaegan.rng import derive_seed, numpy_rng, torch_rng
from vaegan.training.augment import vary_style
from vaegan.training.config import TransportFitConfig

ENCODE_BATCH = 1000  # images
CLUSTERINGS = 10  # random starts of k-means; the best one is used


@dataclass(frozen=True)
class EncodedImages:
    """Codes of N images, without a class transport.

    Attributes:
        specified: Means, float32 (N, S).
        unspecified: Means, float32 (N, Z).
        std: Standard deviation of the unspecified posterior in each dimension, (Z,), in [0, 1).
        labels: int64 (N,), classes or clusters.
    """

    specified: Tensor
    unspecified: Tensor
    std: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ChangedCodes:
    """Codes of images after changes of style: G changes of M images each.

    Attributes:
        rows: int64 (G, M), the images that were changed, as rows of :class:`EncodedImages`.
        codes: float32 (G, M, Z), the unspecified means of the changed images.
    """

    rows: Tensor
    codes: Tensor


def encode_images(
    encoder: Encoder,
    images: Tensor,
    labels: Tensor | None,
    class_count: int,
    config: TransportFitConfig,
    seed: int,
) -> tuple[EncodedImages, ChangedCodes | None]:
    """Encodes a subset of the training images, and random changes of style of some of them.

    Args:
        encoder: In eval mode.
        images: uint8 (N, C, H, W), on the encoder's device.
        labels: int64 (N,) on the same device; None to use clusters of the specified codes.
        class_count: Number of classes or clusters.
        config: Numbers of images and changes, and their kind; "auto" stands for strokes if the
            images are grey, and for pictures if they are in colour.
        seed: Seed of the choices and of the clusters.

    Returns:
        Codes of the images, and of changed ones; None for the latter if there are no changes.
    """
    device = images.device
    choice = numpy_rng(seed, "transport-images")
    # Without labels all images count as one class, so the subset is a random one.
    strata = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels.cpu()
    rows = torch.from_numpy(stratified_subset(strata.numpy(), config.images, choice)).to(device)
    # Allocated before any image is encoded: small results kept between the large buffers of
    # successive batches would fragment the heap and grow it by hundreds of megabytes.
    dims = encoder.config.specified.dim, encoder.config.unspecified.dim
    specified, unspecified = (torch.empty(len(rows), dim, device=device) for dim in dims)
    for chunk in torch.arange(len(rows), device=device).split(ENCODE_BATCH):
        specified[chunk], unspecified[chunk] = encode_means(encoder, images[rows[chunk]])
    changed = None
    if config.style_changes != "none":
        changed = _encode_changed(encoder, images, rows, config, seed)
    classes = cluster(specified, class_count, seed) if labels is None else labels[rows]
    encoded = EncodedImages(specified, unspecified, mean_style_std(encoder, images), classes)
    return encoded, changed


def _encode_changed(
    encoder: Encoder, images: Tensor, rows: Tensor, config: TransportFitConfig, seed: int
) -> ChangedCodes:
    """Encodes random changes of style of some of the images at ``rows``."""
    kind = config.style_changes
    if kind == "auto":
        kind = "strokes" if images.shape[1] == 1 else "pictures"
    rng = torch_rng(seed, "changes", 0, images.device)
    size = config.changes, config.images_per_change
    changed_rows = torch.randint(len(rows), size, generator=rng, device=images.device)
    changed = torch.empty(*size, encoder.config.unspecified.dim, device=images.device)
    pairs = zip(changed, changed_rows, strict=True)
    for codes, picked in followed(pairs, "encoding images in changed styles", len(changed)):
        varied = vary_style(to_unit_range(images[rows[picked]]), rng, kind, config.mirror)
        codes.copy_(_means(encoder, varied)[1])
    return ChangedCodes(changed_rows, changed)


def encode_means(encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Encodes uint8 images (B, C, H, W) as the means of both codes, by an encoder in eval mode."""
    return _means(encoder, to_unit_range(images))


@torch.no_grad()
def _means(encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """The means of both codes of images float32 (B, C, H, W) in [0, 1]."""
    codes = encoder(images.contiguous(memory_format=torch.channels_last))
    return codes.specified.mean, codes.unspecified.mean


@torch.no_grad()
def mean_style_std(encoder: Encoder, images: Tensor) -> Tensor:
    """Averages the unspecified posterior's standard deviation, (Z,), over some images."""
    return encoder(to_unit_range(images[:ENCODE_BATCH])).unspecified.std.mean(dim=0)


def cluster(codes: Tensor, count: int, seed: int) -> Tensor:
    """Clusters codes (N, D) by k-means; returns int64 (N,) in [0, count), on their device.

    Fewer codes than ``count`` are as many clusters as there are codes.
    """
    # Imported here, since it takes a second and a training that knows its classes skips it.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    count = min(count, len(codes))
    model = KMeans(count, n_init=CLUSTERINGS, random_state=derive_seed(seed, "clusters") >> 32)
    with threadpool_limits(1):  # several threads would add in no fixed order
        labels = model.fit_predict(codes.cpu().numpy())
    return torch.from_numpy(labels).to(codes.device, torch.int64)
