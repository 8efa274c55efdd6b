"""Stage evaluate: measures all metrics of a model and decides the verdict on it."""

import hashlib
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import CLASSIFIER, METRICS, MODEL
from pipeline.artifacts.reports import write_swaps
from vaegan.data import stratified_subset
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.codes import control_metrics, failed_controls, probe_metrics, rate_metrics
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.images import image_metrics
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.metrics import Arrays, Metrics, headlines_first
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

PASSED = "passed"
PROTOCOL = 2  # to be raised whenever the same model would be given other numbers


def verdict(metrics: Metrics, degenerate_below: float) -> tuple[str, str]:
    """Decides whether a model is sound, degenerate or untrusted; returns the word and a sentence.

    Degenerate: swapped images do not show the identity of their specified code. Untrusted: the
    probes failed their control experiments, so their leakage means nothing.
    """
    failed = failed_controls(metrics)
    if failed:
        return "untrusted", f"probes failed on controls: {', '.join(failed)}"
    transfer, source = metrics["swap/identity_accuracy"], metrics["swap/style_source_rate"]
    shown = (
        f"{transfer:.1%} of swapped images show the identity of their specified code, "
        f"{source:.1%} that of their style's source"
    )
    if transfer >= degenerate_below:
        return "sound", shown
    if source > transfer:
        return "degenerate", (
            f"{shown}: the decoder takes the class from the unspecified code and ignores the "
            "specified one. A higher train.weights.confusion, or more train.critic_steps, takes "
            "the class out of it"
        )
    return "degenerate", f"{shown}: most show neither. More train.steps may be needed"


def measure_all(
    model: DisentanglingVAE,
    classifier: Classifier,
    images: np.ndarray,
    train: Arrays,
    test: Arrays,
    params: EvaluationConfig,
) -> tuple[Metrics, Arrays]:
    """Measures every metric, by key, and the confusion matrices of swaps, by kind of style."""
    seed = params.seed
    from_images, right, matrices = image_metrics(
        model, classifier, images, test, params.swaps, seed
    )
    from_codes, right_codes = probe_metrics(train, test, seed, params.probe_images)
    metrics = from_codes | control_metrics(train, test, seed) | from_images | rate_metrics(test)
    rng = numpy_rng(seed, "bootstrap")
    for name, values in (right | right_codes).items():
        low, high = bootstrap_interval(values, rng)
        metrics |= {f"interval/{name}_low": low, f"interval/{name}_high": high}
    return metrics, matrices


def gates(params: EvaluationConfig) -> dict[str, tuple[str, float]]:
    """Bounds that a champion must meet, by metric."""
    return {
        "swap/identity_accuracy": (">=", params.gates.transfer),
        "specified/probe_accuracy": (">=", params.gates.specified),
        "leakage/mean": ("<=", params.gates.leakage),
    }


def protocol(dataset: Dataset, classifier: str, params: EvaluationConfig) -> str:
    """Digest of how a model is evaluated; only results of equal protocols can be compared."""
    how = {
        "protocol": PROTOCOL,
        "images": dataset.description["splits"][params.split]["arrays"]["images"]["sha256"],
        "judge": classifier,  # the key under which models were measured before
    }
    others = {"gates", "champion_by", "degenerate_below", "device", "threads"}
    how |= {name: value for name, value in asdict(params).items() if name not in others}
    return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]


def gates_passed(metrics: Metrics, word: str, required: dict[str, tuple[str, float]]) -> str:
    """Returns "passed", or the first gate that is not passed, in words.

    Args:
        metrics: By name.
        word: The verdict, which has to be "sound".
        required: ``(">=" or "<=", bound)`` by metric.
    """
    if word != "sound":
        return f"the verdict is {word}"
    for name, (relation, bound) in required.items():
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            return f"{name} is {value}, expected a number {relation} {bound}"
        if not (value >= bound if relation == ">=" else value <= bound):
            return f"{name} is {value:.4f}, expected {relation} {bound}"
    return PASSED


def run(params: EvaluationConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``reports/metrics.json`` and ``reports/swaps.csv``.

    Returns:
        SHA-256 of the model's weights (``model``), the split (``split``), how many of its images
        were measured (``measured`` of ``images``), the verdict and its reason.

    Raises:
        ArtifactError: an input is missing or damaged, or belongs to another model.
        ValueError: the split does not exist, or the classifier expects other images.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    device = resolve_device(params.device)
    model = DisentanglingVAE.load(MODEL, device)
    if params.split not in dataset.splits:
        raise ValueError(
            f"evaluate.split: got {params.split}, expected one of {', '.join(dataset.splits)}; "
            "prepare.validation_size > 0 makes a validation split"
        )
    digest, data = weights_digest(MODEL), dataset.splits[params.split]
    train, test = (read_codes(split, digest) for split in ("train", params.split))
    rows = stratified_subset(data.labels, params.test_images, numpy_rng(params.seed, "test-images"))
    test, images = {name: array[rows] for name, array in test.items()}, data.images[rows]
    classifier, classifier_digest = Classifier.load(CLASSIFIER, device)
    if classifier.image_shape != data.image_shape:
        raise ValueError(
            f"{CLASSIFIER} expects images of {classifier.image_shape}, got {data.image_shape}: "
            "run the stage classifier"
        )
    if classifier.class_count != data.class_count:
        raise ValueError(
            f"{CLASSIFIER} knows {classifier.class_count} classes, expected {data.class_count}: "
            "run the stage classifier"
        )
    journal.begin(dataset, {"model": digest})
    metrics, matrices = measure_all(model, classifier, images, train, test, params)
    word, sentence = verdict(metrics, params.degenerate_below)
    results = (
        {"verdict": word}
        | headlines_first(metrics)
        | {
            "dataset": dataset.name,
            "split": params.split,
            "model/digest": digest,
            "classifier/digest": classifier_digest,
            "protocol": protocol(dataset, classifier_digest, params),
            "gates": gates_passed(metrics, word, gates(params)),
            "champion_by": params.champion_by,
        }
    )
    write_swaps(matrices, dataset.description["class_names"])
    write_json(METRICS, results)
    return {
        "model": digest,
        "split": params.split,
        "images": len(data),
        "measured": len(rows),
        "verdict": word,
        "verdict_reason": sentence,
    }
