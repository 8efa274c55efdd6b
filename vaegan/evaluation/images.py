"""Metrics of generated images: identity, style, fidelity, distance, diversity.

Measured with the evaluation's classifiers, which were trained on real images only, and with the
style measures where they apply.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vaegan.data import as_tensor, to_unit_range
from vaegan.evaluation import distances, fidelity
from vaegan.evaluation.description import BATCH, Description, Instruments, chunks
from vaegan.evaluation.factors import Factor, factor_swap_metrics
from vaegan.evaluation.metrics import Arrays, Metrics
from vaegan.evaluation.strokes import stroke_metrics
from vaegan.evaluation.swaps import confusion, cross_class_pairs, decode_in_batches
from vaegan.model.vae import DisentanglingVAE
from vaegan.progress import followed
from vaegan.rng import numpy_rng

KINDS = ("mean", "sampled", "prior")  # sources of the style code that swaps are decoded with


@dataclass(frozen=True)
class GeneratedSwaps:
    """N swapped images.

    Attributes:
        identities, styles: Positions of the sources, int64 (N,).
        seen: Descriptions of the images, by the kind of their style code.
    """

    identities: np.ndarray
    styles: np.ndarray
    seen: dict[str, Description]


def image_metrics(
    model: DisentanglingVAE,
    instruments: Instruments,
    images: np.ndarray,
    codes: Arrays,
    swaps: int,
    seed: int,
    factors: Mapping[str, Factor],
) -> tuple[Metrics, Arrays, Arrays]:
    """Evaluates the reconstructions and swaps that a model generates from codes.

    Args:
        model: In eval mode.
        instruments: On the model's device; the classifier knows the classes of the data set.
        images: uint8 (N, C, H, W), the images that were encoded.
        codes: Their codes by name, N of each, and ``labels``.
        swaps: Number of images of each kind to generate.
        seed: Seed of the choice of swaps and of all noise.
        factors: Known style factors of the images, by name; may be empty.

    Returns:
        Metrics; which swaps were right, by metric; confusion matrices of swaps, int64 (K, K), by
        kind.
    """
    labels, class_count = codes["labels"], instruments.classifier.class_count
    device = next(model.parameters()).device
    real = instruments.describe(
        to_unit_range(as_tensor(images[rows], device))
        for rows in chunks(len(images), images.shape[1:])
    )
    generated = generate_swaps(model, instruments, images.shape[1:], codes, swaps, seed)
    swapped, pairs = generated.seen["mean"], (generated.identities, generated.styles)
    metrics, right = _identity_metrics(generated, labels)
    reconstructions, quality = _reconstruct(model, instruments, images, codes)
    if instruments.strokes:
        measures = real.measures, reconstructions.measures, swapped.measures
        metrics |= stroke_metrics(codes, *measures, pairs, class_count, seed)
    metrics |= quality
    sets = {"reconstruction": reconstructions.predictions.features}
    for kind in ("mean", "prior"):
        sets[f"swap_{kind}"] = generated.seen[kind].predictions.features
    metrics |= _distance_metrics(sets, real.predictions.features, seed)
    metrics |= _diversity_metrics(generated, real.predictions.features, labels, class_count)
    metrics["classifier/accuracy"] = float((real.predictions.classes == labels).mean())
    of_factors, right_factors = factor_swap_metrics(real, swapped, generated.styles, factors)
    expected = labels[generated.identities]
    matrices = {
        kind: confusion(expected, seen.predictions.classes, class_count)
        for kind, seen in generated.seen.items()
    }
    return metrics | of_factors, right | right_factors, matrices


def generate_swaps(
    model: DisentanglingVAE,
    instruments: Instruments,
    image_shape: tuple[int, ...],
    codes: Arrays,
    swaps: int,
    seed: int,
) -> GeneratedSwaps:
    """Generates and describes swaps between classes, by the kind of their style code.

    ``mean`` takes the mean of the style source's posterior, ``sampled`` a sample of that posterior
    and ``prior`` a sample of the prior.
    """
    device = next(model.parameters()).device
    s, z, std = (
        as_tensor(np.array(codes[name]), device)
        for name in ("specified_mean", "unspecified_mean", "unspecified_std")
    )
    identities, styles = cross_class_pairs(codes["labels"], swaps, numpy_rng(seed, "swaps"))
    rng = numpy_rng(seed, "swap-noise")
    noise, prior = (
        as_tensor(rng.standard_normal((swaps, z.shape[1]), dtype=np.float32), device)
        for _ in range(2)
    )
    rows = torch.from_numpy(styles)
    specified = s[torch.from_numpy(identities)]
    unspecified = (z[rows], z[rows] + std[rows] * noise, prior)
    # The style of swaps is measured in the styles of images' means only.
    of_classes = replace(instruments, strokes=False, factors={})
    sources = zip(KINDS, unspecified, strict=True)
    seen = {
        kind: (instruments if kind == "mean" else of_classes).describe(
            decode_in_batches(model.decode, specified[part], code[part], BATCH)
            for part in chunks(swaps, image_shape)
        )
        for kind, code in followed(sources, "swaps by the source of their style", len(KINDS))
    }
    return GeneratedSwaps(identities, styles, seen)


def _reconstruct(
    model: DisentanglingVAE, instruments: Instruments, images: np.ndarray, codes: Arrays
) -> tuple[Description, Metrics]:
    """Describes reconstructions; measures their errors and similarity."""
    device = next(model.parameters()).device
    shape = images.shape[1:]
    similar = min(shape[1:]) >= fidelity.WINDOW
    errors: list[float] = []
    similarities: list[float] = []

    def decoded() -> Iterator[Tensor]:
        """Reconstructions, chunk by chunk, each compared with its originals."""
        for rows in chunks(len(images), shape):
            s, z = (
                as_tensor(np.array(codes[f"{name}_mean"][rows]), device)
                for name in ("specified", "unspecified")
            )
            again = decode_in_batches(model.decode, s, z, BATCH)
            originals = to_unit_range(as_tensor(images[rows], device))
            share = len(again) / len(images)
            errors.append(share * fidelity.mean_squared_error(again, originals))
            if similar:
                similarities.append(share * fidelity.structural_similarity(again, originals))
            yield again

    description = instruments.describe(decoded())
    mse = sum(errors)
    metrics = {"reconstruction/mse": mse, "reconstruction/psnr": fidelity.peak_signal_to_noise(mse)}
    return description, metrics | ({"reconstruction/ssim": sum(similarities)} if similar else {})


def _identity_metrics(generated: GeneratedSwaps, labels: np.ndarray) -> tuple[Metrics, Arrays]:
    """Shares of swaps that show the identity's or the style source's class; which ones do."""
    predicted = {kind: seen.predictions.classes for kind, seen in generated.seen.items()}
    expected, source = labels[generated.identities], labels[generated.styles]
    right = {
        "swap/identity_accuracy": predicted["mean"] == expected,
        "swap/sampled_identity_accuracy": predicted["sampled"] == expected,
        "swap/prior_identity_accuracy": predicted["prior"] == expected,
        "swap/style_source_rate": predicted["mean"] == source,
        "swap/sampled_style_source_rate": predicted["sampled"] == source,
    }
    return {name: float(values.mean()) for name, values in right.items()}, right


def _diversity_metrics(
    generated: GeneratedSwaps, real: np.ndarray, labels: np.ndarray, class_count: int
) -> Metrics:
    """Variance of swaps' features within classes, relative to those of real images."""
    shown, metrics = labels[generated.identities], {}
    for kind in ("mean", "prior"):
        features = generated.seen[kind].predictions.features
        ratios = distances.diversity(features, shown, real, labels, class_count)
        if not np.isnan(ratios).all():  # some class has two images or more in both sets
            metrics[f"diversity/{kind}"] = float(np.nanmean(ratios))
            metrics[f"diversity/{kind}_lowest_class"] = float(np.nanmin(ratios))
    return metrics


def _distance_metrics(sets: Arrays, real: np.ndarray, seed: int) -> Metrics:
    """Distance of each set, and of one half of the real images, to the other half."""
    if len(real) < 4:  # a half needs two images for a covariance
        return {}
    half = numpy_rng(seed, "distance-halves").permutation(len(real)) % 2 == 0
    reference = real[half]
    sets = {"real": real[~half]} | {
        # As many as there are real ones: both distances depend on the number of images.
        name: features[: int((~half).sum())]
        for name, features in sets.items()
    }
    metrics = {}
    for name, features in sets.items():
        metrics[f"distance/frechet_{name}"] = distances.frechet_distance(features, reference)
        metrics[f"distance/kernel_{name}"] = distances.kernel_distance(features, reference)
    return metrics
