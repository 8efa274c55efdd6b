"""Stage evaluate: the numbers that a model is judged by, and how far they are to be trusted."""

import hashlib
import json
import sys
from dataclasses import asdict

import numpy as np

from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import CLASSIFIER, METRICS, MODEL, SWAPS
from pipeline.artifacts.reports import write_swaps
from pipeline.stage import run_stage
from pipeline.tracking import champion
from pipeline.tracking import runs as tracking
from vaegan.data import stratified_subset
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.codes import control_metrics, failed_controls, probe_metrics, rate_metrics
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.images import image_metrics
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.metrics import FIRST_METRICS
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng

PROTOCOL = 2  # changes where the same model would be given other numbers
Arrays = dict[str, np.ndarray]
Metrics = dict[str, float]


def verdict(metrics: Metrics, degenerate_below: float) -> tuple[str, str]:
    """Whether the model is sound or degenerate, in a word and in a sentence.

    Degenerate: swapped images do not show the identity of their specified code. Untrusted: the
    probes failed on codes of which it is known what they hold, so no leakage means anything.
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
    """Every metric by name, and the confusion matrices of swaps."""
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


def in_order(metrics: Metrics) -> Metrics:
    """The metrics that matter first, first: tables of experiments have their columns in order."""
    first = {name: metrics[name] for name in FIRST_METRICS if name in metrics}
    return first | metrics


def gates(params: EvaluationConfig) -> dict[str, tuple[str, float]]:
    """What a champion must reach, by metric."""
    return {
        "swap/identity_accuracy": (">=", params.gates.transfer),
        "specified/probe_accuracy": (">=", params.gates.specified),
        "leakage/mean": ("<=", params.gates.leakage),
    }


def protocol(dataset: Dataset, classifier: str, params: EvaluationConfig) -> str:
    """A digest of how a model is judged: only what was judged alike can be compared."""
    how = {
        "protocol": PROTOCOL,
        "images": dataset.description["splits"][params.split]["arrays"]["images"]["sha256"],
        "judge": classifier,  # the key under which models were measured before
    }
    others = {"gates", "champion_by", "degenerate_below", "device", "threads"}
    how |= {name: value for name, value in asdict(params).items() if name not in others}
    return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]


def evaluate(dataset: Dataset, params: EvaluationConfig) -> None:
    """Writes ``reports/metrics.json`` and ``reports/swaps.csv``."""
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
            f"{CLASSIFIER} judges images of {classifier.image_shape}, expected {data.image_shape}: "
            "run the stage classifier"
        )
    with tracking.model_run(dataset, params, "evaluate"):
        metrics, matrices = measure_all(model, classifier, images, train, test, params)
        word, sentence = verdict(metrics, params.degenerate_below)
        results = (
            {"verdict": word}
            | in_order(metrics)
            | {
                "dataset": dataset.name,
                "split": params.split,
                "model/digest": digest,
                "classifier/digest": classifier_digest,
                "protocol": protocol(dataset, classifier_digest, params),
                "gates": champion.gates_passed(metrics, word, gates(params)),
                "champion_by": params.champion_by,
            }
        )
        write_swaps(matrices, dataset.description["class_names"])
        write_json(METRICS, results)
        tracking.log_results(results)
        tracking.tag({"verdict_reason": sentence})
        for path in (METRICS, SWAPS):
            tracking.log_file(path)
        tracking.log_outputs(CLASSIFIER, METRICS, SWAPS)
        said = champion.consider(digest, results)
    print(
        f"measured on {len(rows)} of {len(data)} {params.split} images "
        "(evaluate.test_images caps them)"
    )
    for name, value in metrics.items():
        print(f"{name:40} {value:.4f}")
    print(f"{word}: {sentence}" if word == "sound" else f"WARNING: {word}: {sentence}")
    print(said)


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: evaluate(read_dataset(), params.evaluate))


if __name__ == "__main__":
    sys.exit(main())
