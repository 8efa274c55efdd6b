"""The images that went wrong: worst reconstructions, and swaps that show another class."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaegan.data import LabelledImages, to_unit_range
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.swaps import cross_class_pairs, decode_in_batches
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng

SHOWN = 50
TRIED = 2000  # swaps, and reconstructions; fewer of large images, which are kept in memory
MOST_NUMBERS = 25_000_000  # in the pixels of all that are tried, 100 MB
BATCH = 200


@dataclass(frozen=True)
class Failure:
    """An image that went wrong.

    Attributes:
        images: float32 (C, H, W) in [0, 1]: what it came from, then itself.
        words: What is wrong.
    """

    images: list[np.ndarray]
    words: str


def worst_reconstructions(
    model: DisentanglingVAE, codes: dict[str, np.ndarray], data: LabelledImages
) -> list[Failure]:
    """The reconstructions with the largest squared error, the worst first.

    Args:
        model: In eval mode.
        codes: Of all images of ``data``.
        data: Test images.
    """
    rows = _choose(len(data), _tried(data), "report.reconstructions")
    images = _images(data, rows)
    generated = decode_in_batches(model.decode, *_codes(codes, rows, rows), BATCH)
    errors = (generated - images).square().flatten(1).mean(dim=1)
    worst = torch.argsort(errors, descending=True, stable=True)[:SHOWN].tolist()
    return [
        Failure([images[i].numpy(), generated[i].numpy()], f"error {float(errors[i]):.3f}")
        for i in worst
    ]


def wrong_swaps(
    model: DisentanglingVAE,
    classifier: Classifier,
    codes: dict[str, np.ndarray],
    data: LabelledImages,
    class_names: list[str],
) -> tuple[list[Failure], int, int]:
    """The swaps that show another class than the one asked for, the surest of it first.

    Returns:
        The failures, at most 50; how many of the swaps failed; and how many were tried.
    """
    rng = numpy_rng(0, "report.swaps")
    identities, styles = cross_class_pairs(data.labels, _tried(data), rng)
    generated = decode_in_batches(model.decode, *_codes(codes, identities, styles), BATCH)
    with torch.inference_mode():
        shares = torch.cat([classifier(part).softmax(dim=1) for part in generated.split(BATCH)])
    sure, seen = (found.numpy() for found in shares.max(dim=1))
    failed = np.flatnonzero(seen != data.labels[identities])
    worst = failed[np.argsort(-sure[failed], kind="stable")][:SHOWN]
    failures = [
        Failure(
            [
                *_images(data, np.array([identities[i], styles[i]])).numpy(),
                generated[i].numpy(),
            ],
            f"{class_names[data.labels[identities[i]]]} read as {class_names[seen[i]]}",
        )
        for i in worst
    ]
    return failures, len(failed), len(identities)


def _tried(data: LabelledImages) -> int:
    return min(TRIED, max(SHOWN, MOST_NUMBERS // data.images[0].size))


def _choose(count: int, most: int, purpose: str) -> np.ndarray:
    rng = numpy_rng(0, purpose)
    return np.sort(rng.choice(count, size=min(most, count), replace=False))


def _images(data: LabelledImages, rows: np.ndarray) -> Tensor:
    return to_unit_range(torch.from_numpy(data.images[rows]))


def _codes(
    codes: dict[str, np.ndarray], identities: np.ndarray, styles: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Means of the specified codes of some images, and of the unspecified codes of others."""
    specified, unspecified = codes["specified_mean"], codes["unspecified_mean"]
    return torch.from_numpy(specified[identities]), torch.from_numpy(unspecified[styles])
