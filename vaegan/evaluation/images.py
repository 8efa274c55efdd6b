"""Metrics of generated images: identity, style, fidelity, distance, diversity.

Measured with the evaluation's classifier, which was trained on real images only, and with the style
measures.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaegan.data import as_tensor, to_unit_range
from vaegan.evaluation import distances, fidelity, style
from vaegan.evaluation.classifier import Classifier, Predictions, classify
from vaegan.evaluation.metrics import Arrays, Metrics
from vaegan.evaluation.swaps import confusion, cross_class_pairs, decode_in_batches
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng

KINDS = ("mean", "sampled", "prior")  # sources of the style code that swaps are decoded with


@dataclass(frozen=True)
class GeneratedSwaps:
    """Swapped images, as the classifier and the style measures describe them.

    Attributes:
        identities, styles: Positions of the sources, int64 (N,).
        predictions: Output of the classifier.
        measures: Style measures, (N, 3).
    """

    identities: np.ndarray
    styles: np.ndarray
    predictions: Predictions
    measures: np.ndarray


@dataclass(frozen=True)
class RealImages:
    """The real images whose codes are evaluated, with predictions and style measures.

    Attributes:
        images: float32 (N, C, H, W) in [0, 1], on the model's device.
        labels: int64 (N,).
        predictions: Output of the classifier.
        measures: Style measures, (N, 3).
    """

    images: Tensor
    labels: np.ndarray
    predictions: Predictions
    measures: np.ndarray


def image_metrics(
    model: DisentanglingVAE,
    classifier: Classifier,
    images: np.ndarray,
    codes: Arrays,
    swaps: int,
    seed: int,
) -> tuple[Metrics, Arrays, Arrays]:
    """Evaluates the reconstructions and swaps that a model generates from codes.

    Args:
        model: In eval mode.
        classifier: On the model's device; it knows the classes of the data set.
        images: uint8 (N, C, H, W), the images that were encoded.
        codes: Their codes by name, N of each, and ``labels``.
        swaps: Number of images of each kind to generate.
        seed: Seed of the choice of swaps and of all noise.

    Returns:
        Metrics; which swaps were right, by metric; confusion matrices of swaps, int64 (K, K), by
        kind.
    """
    device = next(model.parameters()).device
    originals = to_unit_range(as_tensor(images, device))
    real = RealImages(
        originals,
        codes["labels"],
        classify(classifier, originals),
        style.measure(originals.cpu().numpy()),
    )
    generated = generate_swaps(model, classifier, codes, swaps, seed)
    metrics, right = _identity_metrics(generated, real.labels)
    class_count = classifier.class_count
    metrics |= _style_metrics(generated["mean"], real.measures, real.labels, class_count)
    metrics |= _readable_style_metrics(codes, real.measures, class_count, seed)
    s, z = (as_tensor(np.array(codes[f"{c}_mean"]), device) for c in ("specified", "unspecified"))
    reconstructions = decode_in_batches(model.decode, s, z)
    metrics |= _oracle_metrics(reconstructions, generated["mean"], real, class_count)
    metrics |= _fidelity_metrics(reconstructions, real.images)
    sets = {"reconstruction": classify(classifier, reconstructions).features}
    sets |= {f"swap_{kind}": generated[kind].predictions.features for kind in ("mean", "prior")}
    metrics |= _distance_metrics(sets, real.predictions.features, seed)
    metrics |= _diversity_metrics(generated, real, class_count)
    metrics["classifier/accuracy"] = float((real.predictions.classes == real.labels).mean())
    expected = real.labels[generated["mean"].identities]
    matrices = {
        kind: confusion(expected, swapped.predictions.classes, class_count)
        for kind, swapped in generated.items()
    }
    return metrics, right, matrices


def generate_swaps(
    model: DisentanglingVAE, classifier: Classifier, codes: Arrays, swaps: int, seed: int
) -> dict[str, GeneratedSwaps]:
    """Generates and classifies swaps between classes, by the kind of their style code.

    ``mean`` takes the mean of the style source's posterior, ``sampled`` a sample of that posterior
    and ``prior`` a sample of the prior.
    """
    device = next(model.parameters()).device
    labels = codes["labels"]
    s, z, std = (
        as_tensor(np.array(codes[name]), device)
        for name in ("specified_mean", "unspecified_mean", "unspecified_std")
    )
    identities, styles = cross_class_pairs(labels, swaps, numpy_rng(seed, "swaps"))
    rng = numpy_rng(seed, "swap-noise")
    noise, prior = (
        as_tensor(rng.standard_normal((swaps, z.shape[1]), dtype=np.float32), device)
        for _ in range(2)
    )
    rows = torch.from_numpy(styles)
    unspecified = (z[rows], z[rows] + std[rows] * noise, prior)
    generated = {}
    for kind, code in zip(KINDS, unspecified, strict=True):
        images = decode_in_batches(model.decode, s[torch.from_numpy(identities)], code)
        generated[kind] = GeneratedSwaps(
            identities,
            styles,
            classify(classifier, images),
            style.measure(images.cpu().numpy()),
        )
    return generated


def _identity_metrics(
    generated: dict[str, GeneratedSwaps], labels: np.ndarray
) -> tuple[Metrics, Arrays]:
    """Shares of swaps that show the identity's or the style source's class; which ones do."""
    predicted = {kind: swaps.predictions.classes for kind, swaps in generated.items()}
    expected, source = labels[generated["mean"].identities], labels[generated["mean"].styles]
    right = {
        "swap/identity_accuracy": predicted["mean"] == expected,
        "swap/sampled_identity_accuracy": predicted["sampled"] == expected,
        "swap/prior_identity_accuracy": predicted["prior"] == expected,
        "swap/style_source_rate": predicted["mean"] == source,
        "swap/sampled_style_source_rate": predicted["sampled"] == source,
    }
    return {name: float(values.mean()) for name, values in right.items()}, right


def _style_metrics(
    swaps: GeneratedSwaps, measures: np.ndarray, labels: np.ndarray, class_count: int
) -> Metrics:
    """Correlation of the style of swaps with their style sources and their identity sources."""
    expected = labels[swaps.identities]
    kept, cells = style.style_kept(
        measures[swaps.styles], swaps.measures, labels[swaps.styles], expected, class_count
    )
    from_identity, _ = style.style_kept(
        measures[swaps.identities], swaps.measures, expected, expected, class_count
    )
    metrics = {
        f"swap/style_kept_{name}": float(value)
        for name, value in zip(style.MEASURES, kept, strict=True)
    }
    if not np.isnan(cells).all():
        metrics |= {
            f"swap/style_kept_{name}_lowest_cell": float(np.nanmin(cells[..., j]))
            for j, name in enumerate(style.MEASURES)
        }
    # Style that comes from the identity source instead: |correlation| with its measures.
    return metrics | {"swap/style_from_identity": float(np.abs(from_identity).max())}


def _readable_style_metrics(
    codes: Arrays, measures: np.ndarray, class_count: int, seed: int
) -> Metrics:
    """R^2 of class-centred style from each code: fitted on half of the images, tested on half."""
    half = numpy_rng(seed, "style-halves").permutation(len(measures)) % 2 == 0
    labels = codes["labels"]
    metrics = {}
    for name in ("specified", "unspecified"):
        code = codes[f"{name}_mean"]
        scores = style.readable_style(
            code[half], measures[half], labels[half],
            code[~half], measures[~half], labels[~half],
            class_count,
            numpy_rng(seed, f"style-of-{name}"),
        )  # fmt: skip
        worst = scores.max() if name == "specified" else scores.min()
        metrics[f"{name}/style_r2"] = float(worst)
        metrics |= {
            f"{name}/style_r2_{measure}": float(value)
            for measure, value in zip(style.MEASURES, scores, strict=True)
        }
    return metrics


def _oracle_metrics(
    reconstructions: Tensor, swaps: GeneratedSwaps, real: RealImages, class_count: int
) -> Metrics:
    """Style kept by an oracle in the same swaps, see :func:`style.style_oracle`."""
    rendered = style.measure(reconstructions.cpu().numpy())
    kept = style.style_oracle(
        real.measures, rendered, real.labels, swaps.styles, swaps.identities, class_count
    )
    return {
        f"swap/style_oracle_{name}": float(value)
        for name, value in zip(style.MEASURES, kept, strict=True)
    }


def _fidelity_metrics(reconstructions: Tensor, images: Tensor) -> Metrics:
    """Errors and similarity of reconstructions."""
    mse = fidelity.mean_squared_error(reconstructions, images)
    return {
        "reconstruction/mse": mse,
        "reconstruction/psnr": fidelity.peak_signal_to_noise(mse),
        "reconstruction/ssim": fidelity.structural_similarity(reconstructions, images),
    }


def _diversity_metrics(
    generated: dict[str, GeneratedSwaps], real: RealImages, class_count: int
) -> Metrics:
    """Variance of swaps within classes, relative to real images."""
    shown, metrics = real.labels[generated["mean"].identities], {}
    for kind in ("mean", "prior"):
        features = generated[kind].predictions.features, real.predictions.features
        ratios = distances.diversity(features[0], shown, features[1], real.labels, class_count)
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
