"""Stage evaluate: the numbers that a model is judged by, and how far they are to be trusted."""

import sys
from dataclasses import dataclass

import numpy as np
import torch

from pipeline import tracking
from pipeline.artifacts import (
    JUDGE,
    METRICS,
    MODEL,
    SWAPS,
    Dataset,
    read_codes,
    read_dataset,
    write_json,
    write_swaps,
)
from pipeline.params import EvaluateParams
from pipeline.stage import run_stage
from vaegan.data import as_tensor, stratified_subset, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation import controls, distances, fidelity, probes, rate, retrieval, style
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.judge import Judge, Seen, look_at
from vaegan.evaluation.leakage import Leakage, leakage, unseen_leakage
from vaegan.evaluation.transfer import confusion, cross_class_pairs, draw_all
from vaegan.model import DisentanglingVAE
from vaegan.rng import numpy_rng

Arrays = dict[str, np.ndarray]
Metrics = dict[str, float]

# What the controls must score; a probe at chance on M codes is within 4 standard errors of it.
QUICK = {name: probes.PANEL[name] for name in ("logistic", "quadratic", "perceptron-0")}
CONTROL_CODES = 10000
FOUND = 0.9  # share of what was planted that probes must find


def chosen(codes: Arrays, count: int, seed: int, purpose: str) -> Arrays:
    """At most ``count`` rows of all arrays, classes in their own proportions."""
    rows = stratified_subset(codes["labels"], count, numpy_rng(seed, purpose))
    return {name: array[rows] for name, array in codes.items()}


def probe_metrics(train: Arrays, test: Arrays, params: EvaluateParams) -> tuple[Metrics, Arrays]:
    """What probes read of the class from either code, and which test codes they got right.

    Of the unspecified code they read the mean, which everybody uses downstream
    (``leakage/mean``); one sample of the posterior (``leakage/sampled``); and mean and
    log-variance together (``leakage/posterior``). ``leakage/unseen`` is from means of images
    that the encoder was not trained on, for the probes too.
    """
    seed = params.seed
    noise = numpy_rng(seed, "probe-noise")
    train = chosen(train, params.probe_images, seed, "probe-images")
    y, y_test = train["labels"], test["labels"]

    def read(view: str) -> Leakage:
        a, b = (_view(codes, view, noise) for codes in (train, test))
        return leakage(a, y, b, y_test, seed)

    mean, sampled = read("mean"), read("sampled")
    # Where all images share one variance it tells nothing, and the probes would see the means.
    shared = np.ptp(train["unspecified_std"][:1000], axis=0).max() == 0
    posterior = mean if shared else read("posterior")
    identity = {
        name: probes.PANEL[name](train["specified_mean"], y, int(y.max()) + 1, seed)
        for name in ("logistic", "neighbours", "perceptron-0")
    }
    said = {name: predict(test["specified_mean"]) for name, predict in identity.items()}
    right = {
        "specified/probe_accuracy": said["logistic"].argmax(axis=1) == y_test,
        "leakage/mean": mean.correct,
        "leakage/sampled": sampled.correct,
        "leakage/posterior": posterior.correct,
    }
    metrics = {
        "leakage/mean": mean.accuracy,
        "leakage/mean_bits": mean.bits,
        "leakage/sampled": sampled.accuracy,
        "leakage/sampled_bits": sampled.bits,
        "leakage/posterior": posterior.accuracy,
        "leakage/posterior_bits": posterior.bits,
        "leakage/unseen": unseen_leakage(test["unspecified_mean"], y_test, seed),
        "leakage/chance": probes.majority_rate(y_test),
        "leakage/standard_error": float(
            np.sqrt(probes.majority_rate(y_test) * (1 - probes.majority_rate(y_test)) / len(y_test))
        ),
    }
    metrics |= {f"leakage/mean_{name}": value for name, value in mean.accuracies.items()}
    metrics |= {
        "specified/probe_accuracy": probes.accuracy(said["logistic"], y_test),
        "specified/neighbours_accuracy": probes.accuracy(said["neighbours"], y_test),
        "specified/perceptron_accuracy": probes.accuracy(said["perceptron-0"], y_test),
        "specified/retrieval_map": retrieval.retrieval_map(test["specified_mean"], y_test),
    }
    return metrics, right


def _view(codes: Arrays, view: str, noise: np.random.Generator) -> np.ndarray:
    mean, std = codes["unspecified_mean"], codes["unspecified_std"]
    if view == "sampled":
        return mean + std * noise.standard_normal(mean.shape, dtype=np.float32)
    if view == "posterior":
        return np.concatenate([mean, 2 * np.log(np.maximum(std, 1e-6))], axis=1)
    return np.asarray(mean)


def control_metrics(train: Arrays, test: Arrays, params: EvaluateParams) -> Metrics:
    """What some of the probes read from codes of which that is known."""
    train = chosen(train, CONTROL_CODES, params.seed, "control-images")
    rng = numpy_rng(params.seed, "controls")
    y, y_test = train["labels"], test["labels"]
    classes = int(max(y.max(), y_test.max())) + 1

    def read(a: np.ndarray, b: np.ndarray, labels: np.ndarray, expected: np.ndarray) -> float:
        return leakage(a, labels, b, expected, params.seed, QUICK).accuracy

    mean, logvar = controls.class_in_the_variance(y, rng)
    mean_test, logvar_test = controls.class_in_the_variance(y_test, rng)
    both, both_test = np.hstack([mean, logvar]), np.hstack([mean_test, logvar_test])
    z, z_test = train["unspecified_mean"], test["unspecified_mean"]
    one_hot, one_hot_test = (controls.label_code(labels, classes) for labels in (y, y_test))
    constant, constant_test = controls.constant_code(y), controls.constant_code(y_test)
    return {
        "control/permuted": read(
            z, z_test, controls.permuted(y, rng), controls.permuted(y_test, rng)
        ),
        "control/label": read(one_hot, one_hot_test, y, y_test),
        "control/constant": read(constant, constant_test, y, y_test),
        "control/variance_from_mean": read(mean, mean_test, y, y_test),
        "control/variance_from_posterior": read(both, both_test, y, y_test),
    }


def failed_controls(metrics: Metrics) -> list[str]:
    """The controls that came out other than they must; none: the probes can be trusted."""
    highest = metrics["leakage/chance"] + 4 * metrics["leakage/standard_error"]
    failed = [
        f"{name} {metrics[name]:.3f} > {highest:.3f}"
        for name in ("control/permuted", "control/constant", "control/variance_from_mean")
        if metrics[name] > highest
    ]
    return failed + [
        f"{name} {metrics[name]:.3f} < {FOUND}"
        for name in ("control/label", "control/variance_from_posterior")
        if metrics[name] < FOUND
    ]


@dataclass(frozen=True)
class Drawn:
    """Swaps and what the judge and the ruler see in them.

    Attributes:
        identities, styles: Positions of the sources, int64 (N,).
        seen: By the judge.
        measures: Of style, (N, 3).
    """

    identities: np.ndarray
    styles: np.ndarray
    seen: Seen
    measures: np.ndarray


def image_metrics(
    model: DisentanglingVAE,
    judge: Judge,
    images: np.ndarray,
    codes: Arrays,
    params: EvaluateParams,
) -> tuple[Metrics, Arrays, Arrays]:
    """What the judge and the ruler of style see in images drawn from codes.

    Args:
        model: In eval mode.
        judge: On the model's device.
        images: uint8 (N, C, H, W), of which the codes are.
        codes: N of each.
        params: How many to draw.

    Returns:
        Metrics; which swaps were right, by metric; confusion matrices of swaps, by kind.
    """
    device = next(model.parameters()).device
    labels = codes["labels"]
    classes = int(labels.max()) + 1
    s, z, std = (
        as_tensor(np.array(codes[name]), device)
        for name in ("specified_mean", "unspecified_mean", "unspecified_std")
    )
    identities, styles = cross_class_pairs(labels, params.swaps, numpy_rng(params.seed, "swaps"))
    rng = numpy_rng(params.seed, "swap-noise")
    noise, prior = (
        as_tensor(rng.standard_normal((params.swaps, z.shape[1]), dtype=np.float32), device)
        for _ in range(2)
    )
    shown, expected = s[torch.from_numpy(identities)], labels[identities]
    style_rows = torch.from_numpy(styles)
    kinds = {
        "mean": z[style_rows],
        "sampled": z[style_rows] + std[style_rows] * noise,
        "prior": prior,
    }
    real = to_unit_range(as_tensor(images, device))
    real_seen, real_style = look_at(judge, real), style.measure(real.cpu().numpy())
    drawn = {}
    for kind, code in kinds.items():
        pictures = draw_all(model.decode, shown, code)
        drawn[kind] = Drawn(
            identities, styles, look_at(judge, pictures), style.measure(pictures.cpu().numpy())
        )
    again = draw_all(model.decode, s, z)
    seen = {kind: d.seen.classes for kind, d in drawn.items()}
    right = {
        "swap/identity_accuracy": seen["mean"] == expected,
        "swap/sampled_identity_accuracy": seen["sampled"] == expected,
        "swap/prior_identity_accuracy": seen["prior"] == expected,
        "swap/style_source_rate": seen["mean"] == labels[styles],
        "swap/sampled_style_source_rate": seen["sampled"] == labels[styles],
    }
    metrics: Metrics = {name: float(values.mean()) for name, values in right.items()}
    metrics |= _style_metrics(drawn["mean"], real_style, labels)
    metrics |= _style_read(codes, real_style, params)
    mse = fidelity.mean_squared_error(again, real)
    metrics |= {
        "reconstruction/mse": mse,
        "reconstruction/psnr": fidelity.peak_signal_to_noise(mse),
        "reconstruction/ssim": fidelity.structural_similarity(again, real),
    }
    sets = {"reconstruction": look_at(judge, again).features}
    sets |= {f"swap_{kind}": d.seen.features for kind, d in drawn.items() if kind != "sampled"}
    metrics |= _distance_metrics(sets, real_seen.features, params)
    metrics |= {
        f"diversity/{kind}": float(
            np.nanmean(
                distances.diversity(drawn[kind].seen.features, expected, real_seen.features, labels)
            )
        )
        for kind in ("mean", "prior")
    }
    metrics["judge/accuracy"] = float((real_seen.classes == labels).mean())
    matrices = {
        kind: confusion(expected, classes_seen, classes) for kind, classes_seen in seen.items()
    }
    return metrics, right, matrices


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


def _style_read(codes: Arrays, real_style: np.ndarray, params: EvaluateParams) -> Metrics:
    """R^2 of class-centred style from each code: fitted on half of the images, tested on half."""
    half = numpy_rng(params.seed, "style-halves").permutation(len(real_style)) % 2 == 0
    labels = codes["labels"]
    metrics = {}
    for name in ("specified", "unspecified"):
        code = codes[f"{name}_mean"]
        scores = style.readable_style(
            code[half], real_style[half], labels[half],
            code[~half], real_style[~half], labels[~half],
            numpy_rng(params.seed, f"style-of-{name}"),
        )  # fmt: skip
        worst = scores.max() if name == "specified" else scores.min()
        metrics[f"{name}/style_r2"] = float(worst)
        metrics |= {
            f"{name}/style_r2_{measure}": float(value)
            for measure, value in zip(style.MEASURES, scores, strict=True)
        }
    return metrics


def _distance_metrics(sets: Arrays, real: np.ndarray, params: EvaluateParams) -> Metrics:
    """Each set, and one half of the real images, against the other half of them."""
    half = numpy_rng(params.seed, "distance-halves").permutation(len(real)) % 2 == 0
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


def rate_metrics(codes: Arrays) -> Metrics:
    """What the unspecified code holds; ``latent/kl`` only if it has a density."""
    mean, std = codes["unspecified_mean"], codes["unspecified_std"]
    nats = rate.nats_per_dimension(mean, std)
    metrics: Metrics = {"latent/active_units": rate.active_units(mean, std)}
    return metrics if np.isnan(nats).any() else metrics | {"latent/kl": float(nats.sum())}


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
    from_images, right, matrices = image_metrics(model, judge, images, test, params)
    from_codes, right_codes = probe_metrics(train, test, params)
    metrics = from_codes | control_metrics(train, test, params) | from_images | rate_metrics(test)
    rng = numpy_rng(params.seed, "bootstrap")
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
    data, train, test = dataset.splits[params.split], read_codes("train"), read_codes(params.split)
    rows = stratified_subset(data.labels, params.test_images, numpy_rng(params.seed, "test-images"))
    test, images = {name: array[rows] for name, array in test.items()}, data.images[rows]
    judge, digest = Judge.load(JUDGE, device)
    if judge.image_shape != data.image_shape:
        raise ValueError(
            f"{JUDGE} judges images of {judge.image_shape}, expected {data.image_shape}: "
            "run the stage judge"
        )
    with tracking.model_run(dataset, params, "evaluate"):
        metrics, matrices = measure_all(model, judge, images, train, test, params)
        word, sentence = verdict(metrics, params.degenerate_below)
        about = {"dataset": dataset.name, "split": params.split, "verdict": word}
        results = about | {"judge/digest": digest} | metrics
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
