"""Stage evaluate: measures all metrics of a model and decides the verdict on it."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.artifacts.classifiers import factor_classifier, factor_splits, read_classifier
from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.dataset import UNSEEN, Dataset, read_dataset
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import CLASSIFIER, HEADLINE, METRICS, MODEL
from pipeline.artifacts.reports import write_swaps
from vaegan.data import every_second, stratified_subset
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.codes import control_metrics, probe_metrics, rate_metrics
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.description import Instruments
from vaegan.evaluation.factors import Factor, describe_factors, factor_probe_metrics
from vaegan.evaluation.images import image_metrics
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.metrics import Arrays, Metrics, expected_keys, headlines_first, shortened
from vaegan.evaluation.probes import PANEL, PLAIN, QUICK
from vaegan.evaluation.unseen import describe_unseen, unseen_metrics
from vaegan.evaluation.verdict import (
    NOT_APPLIED,
    UNTRUSTED,
    describe_gates,
    gate_statements,
    gates_passed,
    required_bounds,
    verdict,
)
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.progress import followed
from vaegan.rng import numpy_rng

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

WEIGHTS, FACTOR_WEIGHT = (30.0, 100.0, 12.0), 10.0  # of the parts' time, for the progress
NO_GATES = "not applied: a quick evaluation (evaluate.effort)"  # of gates, in results
PROTOCOL = 5  # to be raised whenever the same model would be given other numbers


def measure_all(
    model: DisentanglingVAE,
    instruments: Instruments,
    images: np.ndarray,
    train: Arrays,
    test: Arrays,
    params: EvaluationConfig,
    factors: dict[str, Factor],
) -> tuple[Metrics, Arrays, list[str]]:
    """Measures every metric.

    Returns:
        Metrics by key, all finite; the confusion matrices of swaps, by kind of style; and a
        sentence per metric that was not measured, or without some probe.
    """
    seed, class_count = params.seed, instruments.classifier.class_count
    panel, small_panel = (PLAIN, PLAIN) if params.quick else (PANEL, QUICK)
    parts: dict[str, Callable[[], Any]] = {
        "images": lambda: image_metrics(
            model, instruments, images, test, params.swaps, seed, factors
        ),
        "codes": lambda: probe_metrics(train, test, class_count, seed, params.probe_images, panel),
        "controls": lambda: control_metrics(train, test, class_count, seed, small_panel),
        "factors": lambda: factor_probe_metrics(train, test, factors, seed, small_panel),
    }
    weights = [*WEIGHTS, FACTOR_WEIGHT * len(factors)]
    in_order = followed(parts.items(), "measuring", len(parts), weights)
    measured = {name: measure() for name, measure in in_order}
    from_images, right, matrices = measured["images"]
    from_codes, right_codes, left_out = measured["codes"]
    controls, left_out_of_controls = measured["controls"]
    of_factors, right_factors, left_out_of_factors = measured["factors"]
    metrics = from_codes | controls | from_images | rate_metrics(test) | of_factors
    rng = numpy_rng(seed, "bootstrap")
    for name, values in (right | right_codes | right_factors).items():
        low, high = bootstrap_interval(values, rng)
        metrics |= {f"interval/{name}_low": low, f"interval/{name}_high": high}
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    expected = dict.fromkeys([*expected_keys(instruments.strokes), *metrics])
    left_out += left_out_of_controls + left_out_of_factors
    if params.quick:
        left_out.insert(0, f"all probes but {', '.join(PLAIN)}")
    left_out += [f"{name} is not measured" for name in expected if name not in finite]
    if not instruments.strokes:
        left_out.append("slant, thickness and width are not measured: only grey strokes have them")
    return finite, matrices, left_out


def protocol(dataset: Dataset, params: EvaluationConfig, classifiers: dict[str, str]) -> str:
    """Digest of how a model is evaluated; only results of equal protocols can be compared.

    Args:
        dataset: Its images are in the digest.
        params: How to evaluate.
        classifiers: Digests of the classifiers, as of :func:`_load_instruments`.
    """
    others = {name: digest for name, digest in classifiers.items() if name != str(CLASSIFIER)}
    images = {
        split: described["arrays"]["images"]["sha256"]
        for split, described in dataset.description["splits"].items()
    }
    how = {
        "protocol": PROTOCOL,
        "images": images[params.split],
        "judge": classifiers[str(CLASSIFIER)],  # the key under which models were measured before
    } | ({"classifiers": others} if others else {})
    how |= {UNSEEN: images[UNSEEN]} if UNSEEN in images else {}
    apart = {"gates", "champion_by", "degenerate_below", "device", "threads"}
    apart |= set() if params.quick else {"effort"}  # there was no other when others were measured
    how |= {name: value for name, value in asdict(params).items() if name not in apart}
    return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]


def _load_instruments(
    dataset: Dataset, split: str, device: torch.device
) -> tuple[Instruments, dict[str, str]]:
    """Loads the classifiers of a data set, and their digests by folder."""
    shape, class_count = dataset.train.image_shape, dataset.train.class_count
    classifier, digest = read_classifier(CLASSIFIER, shape, class_count, device)
    factors, digests = {}, {str(CLASSIFIER): digest}
    for word, labelled in factor_splits(dataset, split).items():
        folder, values = factor_classifier(word), labelled.class_count
        factors[word], digests[str(folder)] = read_classifier(folder, shape, values, device)
    return Instruments(classifier, dataset.strokes, factors), digests


def _load_unseen_instruments(
    dataset: Dataset, factors: Mapping[str, Classifier], device: torch.device
) -> tuple[Instruments, dict[str, str]]:
    """Loads the classifier that also knows the unseen classes, and its digest by folder."""
    folder, shape = CLASSIFIER / UNSEEN, dataset.train.image_shape
    both = dataset.train.class_count + dataset.splits[UNSEEN].class_count
    classifier, digest = read_classifier(folder, shape, both, device)
    return Instruments(classifier, strokes=False, factors=factors), {str(folder): digest}


def measure_unseen(
    model: DisentanglingVAE,
    instruments: Instruments,
    dataset: Dataset,
    codes: Arrays,
    params: EvaluationConfig,
) -> Metrics:
    """Measures swaps between unseen classes, with intervals.

    On the images of them that their classifier was not trained on, see
    :func:`vaegan.data.every_second`.
    """
    data, train = dataset.splits[UNSEEN], factor_splits(dataset, "train")
    rows = np.flatnonzero(~every_second(data.labels))
    rng = numpy_rng(params.seed, "unseen-images")
    rows = rows[stratified_subset(data.labels[rows], params.test_images, rng)]
    factors = {
        word: Factor(labelled.class_count, train[word].labels, labelled.labels[rows])
        for word, labelled in factor_splits(dataset, UNSEEN).items()
    }
    metrics, right = unseen_metrics(
        model,
        instruments,
        data.images[rows],
        {name: array[rows] for name, array in codes.items()},
        dataset.train.class_count,
        params.swaps,
        params.seed,
        factors,
    )
    rng = numpy_rng(params.seed, "bootstrap-unseen")
    for name, values in right.items():
        low, high = bootstrap_interval(values, rng)
        metrics |= {f"interval/{name}_low": low, f"interval/{name}_high": high}
    return metrics


def _judge(
    metrics: Metrics, params: EvaluationConfig, strokes: bool
) -> tuple[str, str, dict[str, str], str]:
    """Returns the verdict, its reason, a statement for each gate and one for all of them."""
    word, sentence = verdict(metrics, params.degenerate_below)
    statements = gate_statements(metrics, word, params.gates, strokes)
    gates = gates_passed(metrics, word, required_bounds(params.gates, strokes))
    if params.quick:
        statements, gates = dict.fromkeys(statements, NOT_APPLIED), NO_GATES
        sentence = f"{sentence}. Quick evaluation: gates are not applied"
    elif word != UNTRUSTED:
        sentence = f"{sentence}. {describe_gates(metrics, params.gates, strokes)}"
    return word, sentence, statements, gates


def run(params: EvaluationConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``reports/metrics.json``, ``reports/headline.json`` and ``reports/swaps.csv``.

    Returns:
        SHA-256 of the model's weights (``model``), the split (``split``), how many of its images
        were measured (``measured`` of ``images``), the verdict and its reason, sentences on
        known style factors and unseen classes (``findings``), and what was not measured
        (``left_out``).

    Raises:
        ArtifactError: an input is missing or damaged, or belongs to another model.
        ValueError: the split does not exist, or the classifier expects other images.
    """
    params, dataset = params.limited(), read_dataset()
    configure_torch(params.threads)
    device = resolve_device(params.device)
    model = DisentanglingVAE.load(MODEL, device)
    if params.split not in dataset.splits:
        raise ValueError(
            f"evaluate.split: got {params.split}, expected test, as there are no such images; "
            "prepare.validation_size > 0 makes a validation split"
        )
    digest, data = weights_digest(MODEL), dataset.splits[params.split]
    train, test = (read_codes(split, digest) for split in ("train", params.split))
    rows = stratified_subset(data.labels, params.test_images, numpy_rng(params.seed, "test-images"))
    test, images = {name: array[rows] for name, array in test.items()}, data.images[rows]
    of_train, of_test = (factor_splits(dataset, split) for split in ("train", params.split))
    factors = {
        word: Factor(of_test[word].class_count, split.labels, of_test[word].labels[rows])
        for word, split in of_train.items()
    }
    instruments, digests = _load_instruments(dataset, params.split, device)
    journal.begin(dataset, {"model": digest})
    metrics, matrices, left_out = measure_all(
        model, instruments, images, train, test, params, factors
    )
    if UNSEEN in dataset.splits:
        knowing, more = _load_unseen_instruments(dataset, instruments.factors, device)
        digests |= more
        metrics |= measure_unseen(model, knowing, dataset, read_codes(UNSEEN, digest), params)
    word, sentence, statements, gates = _judge(metrics, params, instruments.strokes)
    results = (
        {"verdict": word}
        | ({"effort": params.effort} if params.quick else {})
        | headlines_first(metrics)
        | statements
        | {
            "dataset": dataset.name,
            "split": params.split,
            "model/digest": digest,
            "classifier/digest": digests[str(CLASSIFIER)],
            "protocol": protocol(dataset, params, digests),
            "gates": gates,
            "champion_by": params.champion_by,
            "left_out": "; ".join(left_out) or "nothing",
        }
    )
    write_swaps(matrices, dataset.description["class_names"])
    write_json(METRICS, results)
    write_json(HEADLINE, {"verdict": word} | shortened(metrics))
    return {
        "model": digest,
        "split": params.split,
        "images": len(data),
        "measured": len(rows),
        "verdict": word,
        "verdict_reason": sentence,
        "findings": [*describe_factors(metrics), *describe_unseen(metrics)],
        "left_out": left_out,
    }
