"""Stage evaluate: what the codes hold and whether swapped images show what they should."""

import sys

import numpy as np
from torch import Tensor

from pipeline import tracking
from pipeline.artifacts import METRICS, MODEL, Dataset, read_codes, read_dataset, write_json
from pipeline.params import EvaluateParams
from pipeline.stage import run_stage
from vaegan.data import as_tensor, stratified_subset, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.fidelity import reconstruction_mse
from vaegan.evaluation.judge import Judge, classify, train_judge
from vaegan.evaluation.probes import linear_probe_accuracy, majority_rate, mlp_probe_accuracy
from vaegan.evaluation.transfer import cross_class_pairs, identity_accuracy
from vaegan.model import DisentanglingVAE
from vaegan.rng import numpy_rng

Arrays = dict[str, np.ndarray]


def chosen(codes: Arrays, count: int, seed: int, purpose: str) -> np.ndarray:
    """Positions of at most ``count`` images, classes in their own proportions."""
    return stratified_subset(codes["labels"], count, numpy_rng(seed, purpose))


def probe_metrics(train: Arrays, test: Arrays, params: EvaluateParams) -> dict[str, float]:
    """What probes read of the class from either code; ``leakage/chance`` is the majority rate.

    ``leakage/sampled`` is read from one sample of each posterior, ``leakage/mean`` from its
    mean, which everybody uses downstream and which hides nothing behind the noise.
    """
    seed = params.seed
    many = chosen(train, params.linear_probe_images, seed, "linear-probe-images")
    few = chosen(train, params.probe_images, seed, "probe-images")
    noise = numpy_rng(seed, "probe-noise")

    def sampled(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        return mean + std * noise.standard_normal(mean.shape, dtype=np.float32)

    z, std, labels = (
        train[name][few] for name in ("unspecified_mean", "unspecified_std", "labels")
    )
    test_z = test["unspecified_mean"]
    return {
        "specified/probe_accuracy": linear_probe_accuracy(
            train["specified_mean"][many],
            train["labels"][many],
            test["specified_mean"],
            test["labels"],
        ),
        "leakage/sampled": mlp_probe_accuracy(
            sampled(z, std), labels, sampled(test_z, test["unspecified_std"]), test["labels"], seed
        ),
        "leakage/mean": mlp_probe_accuracy(z, labels, test_z, test["labels"], seed),
        "leakage/chance": majority_rate(test["labels"]),
    }


def image_metrics(
    model: DisentanglingVAE,
    judge: Judge,
    images: np.ndarray,
    codes: Arrays,
    params: EvaluateParams,
) -> dict[str, float]:
    """What the judge sees in images drawn from codes, and how far reconstructions are off.

    Args:
        model: In eval mode.
        judge: On the model's device.
        images: uint8 (N, C, H, W), of which the codes are.
        codes: N of each.
        params: How many to draw.
    """
    device = next(model.parameters()).device
    s, z, labels = (
        as_tensor(codes[name], device) for name in ("specified_mean", "unspecified_mean", "labels")
    )
    rng = numpy_rng(params.seed, "swaps")
    identities, styles = cross_class_pairs(codes["labels"], params.swaps, rng)
    prior = rng.standard_normal((params.swaps, z.shape[1]), dtype=np.float32)
    shown, style = as_tensor(identities, device), as_tensor(styles, device)

    def accuracy(unspecified: Tensor, expected: Tensor) -> float:
        return identity_accuracy(
            model.decode, lambda x: classify(judge, x), s[shown], unspecified, expected
        )

    real = to_unit_range(as_tensor(images, device))
    return {
        "swap/identity_accuracy": accuracy(z[style], labels[shown]),
        "swap/style_source_rate": accuracy(z[style], labels[style]),
        "swap/prior_identity_accuracy": accuracy(as_tensor(prior, device), labels[shown]),
        "reconstruction/mse": reconstruction_mse(model.decode, s, z, images),
        "judge/accuracy": float((classify(judge, real) == labels).double().mean()),
    }


def verdict(metrics: dict[str, float], degenerate_below: float) -> tuple[str, str]:
    """Whether the model is sound or degenerate, in a word and in a sentence.

    Degenerate: swapped images do not show the identity of their specified code.
    """
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


def evaluate(dataset: Dataset, params: EvaluateParams) -> None:
    """Writes ``reports/metrics.json``."""
    configure_torch(params.threads)
    device = resolve_device(params.device)
    model = DisentanglingVAE.load(MODEL, device)
    train, test = read_codes("train"), read_codes("test")
    rows = chosen(test, params.test_images, params.seed, "test-images")
    test, images = {name: array[rows] for name, array in test.items()}, dataset.test.images[rows]
    with tracking.model_run(dataset, params, "evaluate"):
        judge = train_judge(dataset.train, params.judge_steps, params.seed, device)
        metrics = image_metrics(model, judge, images, test, params)
        metrics = probe_metrics(train, test, params) | metrics
        word, sentence = verdict(metrics, params.degenerate_below)
        results = {"dataset": dataset.name, "verdict": word} | metrics
        write_json(METRICS, results)
        tracking.log_results(results)
        tracking.tag({"verdict_reason": sentence})
        tracking.log_file(METRICS)
    count = len(dataset.test)
    print(f"measured on {len(rows)} of {count} test images (evaluate.test_images caps them)")
    for name, value in metrics.items():
        print(f"{name:32} {value:.4f}")
    print(f"{word}: {sentence}" if word == "sound" else f"WARNING: {word}: {sentence}")


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: evaluate(read_dataset(), params.evaluate))


if __name__ == "__main__":
    sys.exit(main())
