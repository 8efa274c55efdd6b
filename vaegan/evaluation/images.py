"""What is seen in images drawn from codes: identity, style, fidelity, variety.

By the classifier, which was trained on real images only, and by the ruler of style.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaegan.data import as_tensor, to_unit_range
from vaegan.evaluation import distances, fidelity, style
from vaegan.evaluation.classifier import Classifier, Predictions, classify
from vaegan.evaluation.swaps import confusion, cross_class_pairs, draw_all
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng

Arrays = dict[str, np.ndarray]
Metrics = dict[str, float]
KINDS = ("mean", "sampled", "prior")  # of style that images are drawn in


@dataclass(frozen=True)
class Drawn:
    """Swaps and what the classifier and the ruler see in them.

    Attributes:
        identities, styles: Positions of the sources, int64 (N,).
        seen: By the classifier.
        measures: Of style, (N, 3).
    """

    identities: np.ndarray
    styles: np.ndarray
    seen: Predictions
    measures: np.ndarray


@dataclass(frozen=True)
class Real:
    """The real images that codes are of, and what the classifier and the ruler see in them.

    Attributes:
        images: float32 (N, C, H, W) in [0, 1], on the model's device.
        labels: int64 (N,).
        seen: By the classifier.
        measures: Of style, (N, 3).
    """

    images: Tensor
    labels: np.ndarray
    seen: Predictions
    measures: np.ndarray


def image_metrics(
    model: DisentanglingVAE,
    classifier: Classifier,
    images: np.ndarray,
    codes: Arrays,
    swaps: int,
    seed: int,
) -> tuple[Metrics, Arrays, Arrays]:
    """What the classifier and the ruler of style see in images drawn from codes.

    Args:
        model: In eval mode.
        classifier: On the model's device.
        images: uint8 (N, C, H, W), of which the codes are.
        codes: N of each.
        swaps: How many images of each kind to draw.
        seed: Of the choice of swaps and of all noise.

    Returns:
        Metrics; which swaps were right, by metric; confusion matrices of swaps, by kind.
    """
    device = next(model.parameters()).device
    shown = to_unit_range(as_tensor(images, device))
    real = Real(
        shown, codes["labels"], classify(classifier, shown), style.measure(shown.cpu().numpy())
    )
    drawn = draw_swaps(model, classifier, codes, swaps, seed)
    expected = real.labels[drawn["mean"].identities]
    seen = {kind: d.seen.classes for kind, d in drawn.items()}
    metrics, right = _identity_metrics(drawn, real.labels)
    metrics |= _style_metrics(drawn["mean"], real.measures, real.labels)
    metrics |= _style_read(codes, real.measures, seed)
    s, z = (as_tensor(np.array(codes[f"{c}_mean"]), device) for c in ("specified", "unspecified"))
    again = draw_all(model.decode, s, z)
    mse = fidelity.mean_squared_error(again, real.images)
    metrics |= {
        "reconstruction/mse": mse,
        "reconstruction/psnr": fidelity.peak_signal_to_noise(mse),
        "reconstruction/ssim": fidelity.structural_similarity(again, real.images),
    }
    sets = {"reconstruction": classify(classifier, again).features}
    sets |= {f"swap_{kind}": drawn[kind].seen.features for kind in ("mean", "prior")}
    metrics |= _distance_metrics(sets, real.seen.features, seed)
    for kind in ("mean", "prior"):
        ratios = distances.diversity(
            drawn[kind].seen.features, expected, real.seen.features, real.labels
        )
        metrics[f"diversity/{kind}"] = float(np.nanmean(ratios))
        metrics[f"diversity/{kind}_lowest_class"] = float(np.nanmin(ratios))
    metrics["classifier/accuracy"] = float((real.seen.classes == real.labels).mean())
    classes = int(real.labels.max()) + 1
    matrices = {kind: confusion(expected, found, classes) for kind, found in seen.items()}
    return metrics, right, matrices


def draw_swaps(
    model: DisentanglingVAE, classifier: Classifier, codes: Arrays, swaps: int, seed: int
) -> dict[str, Drawn]:
    """Swaps between classes, by kind of style: mean, sample of the posterior, or from the prior."""
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
    drawn = {}
    for kind, code in zip(KINDS, unspecified, strict=True):
        pictures = draw_all(model.decode, s[torch.from_numpy(identities)], code)
        drawn[kind] = Drawn(
            identities,
            styles,
            classify(classifier, pictures),
            style.measure(pictures.cpu().numpy()),
        )
    return drawn


def _identity_metrics(drawn: dict[str, Drawn], labels: np.ndarray) -> tuple[Metrics, Arrays]:
    seen = {kind: d.seen.classes for kind, d in drawn.items()}
    expected, source = labels[drawn["mean"].identities], labels[drawn["mean"].styles]
    right = {
        "swap/identity_accuracy": seen["mean"] == expected,
        "swap/sampled_identity_accuracy": seen["sampled"] == expected,
        "swap/prior_identity_accuracy": seen["prior"] == expected,
        "swap/style_source_rate": seen["mean"] == source,
        "swap/sampled_style_source_rate": seen["sampled"] == source,
    }
    return {name: float(values.mean()) for name, values in right.items()}, right


def _style_metrics(drawn: Drawn, real_style: np.ndarray, labels: np.ndarray) -> Metrics:
    shown = labels[drawn.identities]
    kept, cells = style.style_kept(
        real_style[drawn.styles], drawn.measures, labels[drawn.styles], shown
    )
    from_identity, _ = style.style_kept(real_style[drawn.identities], drawn.measures, shown, shown)
    metrics = {
        f"swap/style_kept_{name}": float(value)
        for name, value in zip(style.MEASURES, kept, strict=True)
    }
    if not np.isnan(cells).all():
        metrics |= {
            f"swap/style_kept_{name}_lowest_cell": float(np.nanmin(cells[..., j]))
            for j, name in enumerate(style.MEASURES)
        }
    # An identity that lends style as well: |correlation| with the identity's source.
    return metrics | {"swap/style_from_identity": float(np.abs(from_identity).max())}


def _style_read(codes: Arrays, real_style: np.ndarray, seed: int) -> Metrics:
    """R^2 of class-centred style from each code: fitted on half of the images, tested on half."""
    half = numpy_rng(seed, "style-halves").permutation(len(real_style)) % 2 == 0
    labels = codes["labels"]
    metrics = {}
    for name in ("specified", "unspecified"):
        code = codes[f"{name}_mean"]
        scores = style.readable_style(
            code[half], real_style[half], labels[half],
            code[~half], real_style[~half], labels[~half],
            numpy_rng(seed, f"style-of-{name}"),
        )  # fmt: skip
        worst = scores.max() if name == "specified" else scores.min()
        metrics[f"{name}/style_r2"] = float(worst)
        metrics |= {
            f"{name}/style_r2_{measure}": float(value)
            for measure, value in zip(style.MEASURES, scores, strict=True)
        }
    return metrics


def _distance_metrics(sets: Arrays, real: np.ndarray, seed: int) -> Metrics:
    """Each set, and one half of the real images, against the other half of them."""
    half = numpy_rng(seed, "distance-halves").permutation(len(real)) % 2 == 0
    reference = real[half]
    sets = {"real": real[~half]} | {
        # As many of each as of the real ones: these distances depend on it.
        name: features[: int((~half).sum())]
        for name, features in sets.items()
    }
    metrics = {}
    for name, features in sets.items():
        metrics[f"distance/frechet_{name}"] = distances.frechet_distance(features, reference)
        metrics[f"distance/kernel_{name}"] = distances.kernel_distance(features, reference)
    return metrics
