"""Swaps between classes that the model was not trained on, each shown to it by one image."""

import numpy as np

from vaegan.data import as_tensor, first_per_class, to_unit_range
from vaegan.evaluation import probes
from vaegan.evaluation.description import BATCH, Instruments, chunks
from vaegan.evaluation.factors import Factor, factor_swap_metrics
from vaegan.evaluation.metrics import Arrays, Metrics
from vaegan.evaluation.swaps import decode_in_batches
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng


def one_shot_pairs(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses swaps whose identities are shown by one image each, in styles of the other images.

    Args:
        labels: int64 (N,), of at least two classes, one of which has two images or more.
        count: Number of swaps.
        rng: Source of the choice.

    Returns:
        Positions of the identity and style sources, int64 (count,) each, of different classes. The
        identity source of a class is always its first image; styles are uniform over the others.

    Raises:
        ValueError: no such pair exists.
    """
    sources = first_per_class(labels)
    others = np.setdiff1d(np.arange(len(labels)), sources)
    if len(sources) < 2 or not len(others):
        raise ValueError(
            "swaps between unseen classes need two classes, and a second image of one, got "
            f"{len(labels)} images of {len(sources)}"
        )
    styles = rng.choice(others, size=count)
    # Each style gets one of the classes after its own, around the ring of classes.
    place = np.searchsorted(labels[sources], labels[styles])
    step = rng.integers(1, len(sources), size=count)
    return sources[(place + step) % len(sources)], styles


def unseen_metrics(
    model: DisentanglingVAE,
    instruments: Instruments,
    images: np.ndarray,
    codes: Arrays,
    first_class: int,
    swaps: int,
    seed: int,
    factors: dict[str, Factor],
) -> tuple[Metrics, Arrays]:
    """Measures swaps between classes that were held out of the training.

    Args:
        model: In eval mode.
        instruments: Its classifier also knows the held-out classes, from other images of them.
        images: uint8 (N, C, H, W), of held-out classes.
        codes: Their codes by name, and ``labels``, int64 (N,) in [0, U).
        first_class: Class of the classifier that the label 0 stands for.
        swaps: Number of swaps.
        seed: Seed of the choice of swaps.
        factors: Known style factors of the images.

    Returns:
        Metrics by key, and by the key of a share, which swaps it counts, bool.
    """
    device, labels = next(model.parameters()).device, codes["labels"]
    real = instruments.describe(
        to_unit_range(as_tensor(images[rows], device))
        for rows in chunks(len(images), images.shape[1:])
    )
    identities, styles = one_shot_pairs(labels, swaps, numpy_rng(seed, "unseen-swaps"))
    s = as_tensor(np.array(codes["specified_mean"][identities]), device)
    z = as_tensor(np.array(codes["unspecified_mean"][styles]), device)
    swapped = instruments.describe(
        decode_in_batches(model.decode, s[rows], z[rows], BATCH)
        for rows in chunks(swaps, images.shape[1:])
    )
    predicted = swapped.predictions.classes - first_class
    right = {
        "unseen/identity_accuracy": predicted == labels[identities],
        "unseen/style_source_rate": predicted == labels[styles],
    }
    metrics = {name: float(values.mean()) for name, values in right.items()}
    recognised = real.predictions.classes - first_class == labels
    metrics["unseen/chance"] = probes.majority_rate(labels[identities])
    metrics["unseen/classifier_accuracy"] = float(recognised.mean())
    of_factors, _ = factor_swap_metrics(real, swapped, styles, factors)
    return metrics | {_under_unseen(key): value for key, value in of_factors.items()}, right


def _under_unseen(key: str) -> str:
    """``factor/pose/swap_accuracy`` as ``unseen/pose_swap_accuracy``."""
    _, factor, what = key.split("/")
    return f"unseen/{factor}_{what}"


def describe_unseen(metrics: Metrics) -> list[str]:
    """A sentence on swaps between unseen classes; none if they were not measured."""
    if "unseen/identity_accuracy" not in metrics:
        return []
    shown, chance, real = (
        metrics[f"unseen/{what}"] for what in ("identity_accuracy", "chance", "classifier_accuracy")
    )
    return [
        f"unseen classes: {shown:.1%} of swaps show the identity asked for (chance {chance:.1%}, "
        f"{real:.1%} of real images recognised)"
    ]
