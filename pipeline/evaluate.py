"""Stage evaluate: the numbers that a model is judged by, and how far they are to be trusted."""

import sys

import numpy as np

from pipeline import tracking
from pipeline.artifacts import (
    JUDGE,
    METRICS,
    MODEL,
    SWAPS,
    Dataset,
    read_codes,
    read_dataset,
    write_swaps,
)
from pipeline.files import write_json
from pipeline.params import EvaluateParams
from pipeline.stage import run_stage
from vaegan.data import stratified_subset
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.judge import Judge
from vaegan.evaluation.of_codes import (
    control_metrics,
    failed_controls,
    probe_metrics,
    rate_metrics,
)
from vaegan.evaluation.of_images import image_metrics
from vaegan.model import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng

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
    judge: Judge,
    images: np.ndarray,
    train: Arrays,
    test: Arrays,
    params: EvaluateParams,
) -> tuple[Metrics, Arrays]:
    """Every metric by name, and the confusion matrices of swaps."""
    seed = params.seed
    from_images, right, matrices = image_metrics(model, judge, images, test, params.swaps, seed)
    from_codes, right_codes = probe_metrics(train, test, seed, params.probe_images)
    metrics = from_codes | control_metrics(train, test, seed) | from_images | rate_metrics(test)
    rng = numpy_rng(seed, "bootstrap")
    for name, values in (right | right_codes).items():
        low, high = bootstrap_interval(values, rng)
        metrics |= {f"interval/{name}_low": low, f"interval/{name}_high": high}
    return metrics, matrices


def evaluate(dataset: Dataset, params: EvaluateParams) -> None:
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
    judge, judge_digest = Judge.load(JUDGE, device)
    if judge.image_shape != data.image_shape:
        raise ValueError(
            f"{JUDGE} judges images of {judge.image_shape}, expected {data.image_shape}: "
            "run the stage judge"
        )
    with tracking.model_run(dataset, params, "evaluate"):
        metrics, matrices = measure_all(model, judge, images, train, test, params)
        word, sentence = verdict(metrics, params.degenerate_below)
        about = {"dataset": dataset.name, "split": params.split, "verdict": word}
        results = about | {"judge/digest": judge_digest} | metrics
        write_swaps(matrices, dataset.description["class_names"])
        write_json(METRICS, results)
        tracking.log_results(results)
        tracking.tag({"verdict_reason": sentence})
        for path in (METRICS, SWAPS):
            tracking.log_file(path)
    print(
        f"measured on {len(rows)} of {len(data)} {params.split} images "
        "(evaluate.test_images caps them)"
    )
    for name, value in metrics.items():
        print(f"{name:40} {value:.4f}")
    print(f"{word}: {sentence}" if word == "sound" else f"WARNING: {word}: {sentence}")


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: evaluate(read_dataset(), params.evaluate))


if __name__ == "__main__":
    sys.exit(main())
