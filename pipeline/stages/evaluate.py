"""Stage evaluate: measures all metrics of a model and decides the verdict on it."""

import hashlib
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import CLASSIFIER, METRICS, MODEL
from pipeline.artifacts.reports import write_swaps
from vaegan.data import LabelledImages, stratified_subset
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.codes import control_metrics, probe_metrics, rate_metrics
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.images import image_metrics
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.metrics import SINGLE_KEYS, Arrays, Metrics, headlines_first
from vaegan.evaluation.verdict import (
    UNTRUSTED,
    describe_gates,
    gate_statements,
    gates_passed,
    required_bounds,
    verdict,
)
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

PROTOCOL = 5  # to be raised whenever the same model would be given other numbers


def measure_all(
    model: DisentanglingVAE,
    classifier: Classifier,
    images: np.ndarray,
    train: Arrays,
    test: Arrays,
    params: EvaluationConfig,
) -> tuple[Metrics, Arrays, list[str]]:
    """Measures every metric.

    Returns:
        Metrics by key, all finite; the confusion matrices of swaps, by kind of style; and a
        sentence per metric that was not measured, or without some probe.
    """
    seed, class_count = params.seed, classifier.class_count
    from_images, right, matrices = image_metrics(
        model, classifier, images, test, params.swaps, seed
    )
    from_codes, right_codes, left_out = probe_metrics(
        train, test, class_count, seed, params.probe_images
    )
    controls, left_out_of_controls = control_metrics(train, test, class_count, seed)
    metrics = from_codes | controls | from_images | rate_metrics(test)
    rng = numpy_rng(seed, "bootstrap")
    for name, values in (right | right_codes).items():
        low, high = bootstrap_interval(values, rng)
        metrics |= {f"interval/{name}_low": low, f"interval/{name}_high": high}
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    missing = [name for name in dict.fromkeys([*SINGLE_KEYS, *metrics]) if name not in finite]
    left_out += left_out_of_controls + [f"{name} is not measured" for name in missing]
    return finite, matrices, left_out


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


def _load_classifier(data: LabelledImages, device: torch.device) -> tuple[Classifier, str]:
    """Loads the classifier and its digest; raises ValueError if it expects other images."""
    classifier, digest = Classifier.load(CLASSIFIER, device)
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
    return classifier, digest


def run(params: EvaluationConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``reports/metrics.json`` and ``reports/swaps.csv``.

    Returns:
        SHA-256 of the model's weights (``model``), the split (``split``), how many of its images
        were measured (``measured`` of ``images``), the verdict and its reason, and what was not
        measured (``left_out``).

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
    classifier, classifier_digest = _load_classifier(data, device)
    journal.begin(dataset, {"model": digest})
    metrics, matrices, left_out = measure_all(model, classifier, images, train, test, params)
    word, sentence = verdict(metrics, params.degenerate_below)
    if word != UNTRUSTED:
        sentence = f"{sentence}. {describe_gates(metrics, params.gates)}"
    results = (
        {"verdict": word}
        | headlines_first(metrics)
        | gate_statements(metrics, word, params.gates)
        | {
            "dataset": dataset.name,
            "split": params.split,
            "model/digest": digest,
            "classifier/digest": classifier_digest,
            "protocol": protocol(dataset, classifier_digest, params),
            "gates": gates_passed(metrics, word, required_bounds(params.gates)),
            "champion_by": params.champion_by,
            "left_out": "; ".join(left_out) or "nothing",
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
        "left_out": left_out,
    }
