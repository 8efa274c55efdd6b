"""The explorer's map: some test images with their codes, their places on it and thumbnails."""

import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from pipeline.artifacts.dataset import Dataset
from vaegan.data import stratified_subset, to_unit_range
from vaegan.figures.tsne import tsne
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng

MOST, FEWEST = 1200, 200  # images on the map, if there are as many test images
PIXELS = 6_000_000  # values of all thumbnails together: large images are fewer
LOSSLESS = 1024  # values of an image, up to which its thumbnail loses nothing
PERPLEXITY = 30.0
BATCH = 100
ACROSS = 40  # thumbnails in a row of the sheet


@dataclass(frozen=True)
class Atlas:
    """Images of the map.

    Attributes:
        labels: int64 (N,).
        factors: int64 (N, F), the known style factors.
        specified, unspecified: float32 (N, S) and (N, Z), means of the codes.
        places: By code, float32 (N, 2) in [0, 1]; None where all images have the same code.
        errors: float32 (101,), percentiles of the squared error of a reconstruction per value.
        sheet: The thumbnails side by side, as WebP.
    """

    labels: np.ndarray
    factors: np.ndarray
    specified: np.ndarray
    unspecified: np.ndarray
    places: dict[str, np.ndarray | None]
    errors: np.ndarray
    sheet: bytes


def draw_atlas(model: DisentanglingVAE, dataset: Dataset, seed: int = 0) -> Atlas:
    """Chooses test images, encodes them and embeds their codes by t-SNE.

    Args:
        model: In eval mode; it was trained on the data set.
        dataset: With the images.
        seed: Seed of the choice and of the embeddings.
    """
    data = dataset.test
    size = int(np.prod(data.image_shape))
    count = int(np.clip(PIXELS // size, FEWEST, MOST))
    rows = stratified_subset(data.labels, count, numpy_rng(seed, "explorer.images"))
    numpy_rng(seed, "explorer.order").shuffle(rows)
    images = data.images[rows]
    specified, unspecified, errors = _encode(model, images)
    places = {}
    for name, codes in {"specified": specified, "unspecified": unspecified}.items():
        print(f"t-SNE of the {name} codes of {len(rows):,} images ...", file=sys.stderr, flush=True)
        perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
        places[name] = _to_unit_square(tsne(codes, perplexity, seed) if len(rows) > 3 else None)
    factors = dataset.factors["test"][rows]
    percentiles = np.percentile(errors, np.arange(101)).astype(np.float32)
    sheet = thumbnails(images)
    return Atlas(data.labels[rows], factors, specified, unspecified, places, percentiles, sheet)


def _encode(
    model: DisentanglingVAE, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of images, (N, S) and (N, Z), and the squared error per value of each one, (N,)."""
    batches: list[Iterable[np.ndarray]] = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = to_unit_range(torch.from_numpy(np.array(images[start : start + BATCH])))
            codes = model.encode(batch)
            s, z = codes.specified.mean, codes.unspecified.mean
            error = (model.decode(s, z) - batch).square().flatten(1).mean(dim=1)
            batches.append((s.numpy(), z.numpy(), error.numpy()))
    specified, unspecified, errors = map(np.concatenate, zip(*batches, strict=True))
    return specified, unspecified, errors


def _to_unit_square(points: np.ndarray | None) -> np.ndarray | None:
    """Points moved and scaled, alike in both directions, into [0, 1] x [0, 1]."""
    if points is None:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return ((points - (low + high) / 2) / max((high - low).max(), 1e-9) + 0.5).astype(np.float32)


def thumbnails(images: np.ndarray) -> bytes:
    """Images uint8 (N, C, H, W) row by row on one sheet, as WebP; large ones are compressed."""
    count, channels, height, width = images.shape
    rows = -(-count // ACROSS)
    sheet = np.zeros((rows * ACROSS, channels, height, width), np.uint8)
    sheet[:count] = images
    tiled = sheet.reshape(rows, ACROSS, channels, height, width).transpose(0, 3, 1, 4, 2)
    pixels = tiled.reshape(rows * height, ACROSS * width, channels)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    file = io.BytesIO()
    lossless = channels * height * width <= LOSSLESS
    picture.save(file, "WEBP", lossless=lossless, quality=80, method=4)
    return file.getvalue()
