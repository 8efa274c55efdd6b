"""What is read of codes: the class from either one, in every way that costs only time; the rate.

``probe_metrics`` asks the model's codes, ``control_metrics`` codes of which it is known what they
hold: what the probes find there tells how far to trust what they find, or do not, in the model's.
"""

import numpy as np

from vaegan.data import stratified_subset
from vaegan.evaluation import controls, probes, rate, retrieval
from vaegan.evaluation.leakage import Leakage, leakage, unseen_leakage
from vaegan.rng import numpy_rng

Arrays = dict[str, np.ndarray]
Metrics = dict[str, float]

QUICK = {name: probes.PANEL[name] for name in ("logistic", "quadratic", "perceptron-0")}
CONTROL_CODES = 10000
FOUND = 0.9  # share of what was planted that probes must find


def chosen(codes: Arrays, count: int, seed: int, purpose: str) -> Arrays:
    """At most ``count`` rows of all arrays, classes in their own proportions."""
    rows = stratified_subset(codes["labels"], count, numpy_rng(seed, purpose))
    return {name: array[rows] for name, array in codes.items()}


def probe_metrics(
    train: Arrays, test: Arrays, seed: int, probe_images: int
) -> tuple[Metrics, Arrays]:
    """What probes read of the class from either code, and which test codes they got right.

    Of the unspecified code they read the mean, which everybody uses downstream
    (``leakage/mean``); one sample of the posterior (``leakage/sampled``); and mean and
    log-variance together (``leakage/posterior``). ``leakage/unseen`` is from means of images
    that the encoder was not trained on, for the probes too.

    Args:
        train: Training codes by name, N of each: ``specified_mean``, ``unspecified_mean`` and
            ``unspecified_std``, float32 (N, D), and ``labels``, int64 (N,).
        test: Test codes, likewise.
        seed: Of probes, splits and noise.
        probe_images: Training codes, at most, that probes are fitted on.

    Returns:
        Metrics by name, and bool arrays (M,) by the name of an accuracy.
    """
    noise = numpy_rng(seed, "probe-noise")
    train = chosen(train, probe_images, seed, "probe-images")
    y, y_test = train["labels"], test["labels"]

    def read(view: str) -> Leakage:
        a, b = (_view(codes, view, noise) for codes in (train, test))
        return leakage(a, y, b, y_test, seed)

    mean, sampled = read("mean"), read("sampled")
    # Where all images share one variance it tells nothing, and the probes would see the means.
    shared = np.ptp(train["unspecified_std"][:1000], axis=0).max() == 0
    posterior = mean if shared else read("posterior")
    of_identity, identity_right = _specified_metrics(train, test, seed)
    right = {
        "specified/probe_accuracy": identity_right,
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
    return metrics | of_identity, right


def _specified_metrics(train: Arrays, test: Arrays, seed: int) -> tuple[Metrics, np.ndarray]:
    """What is read of the class from ``s``, and which test codes a linear probe got right."""
    y, y_test = train["labels"], test["labels"]
    said = {
        name: probes.PANEL[name](train["specified_mean"], y, int(y.max()) + 1, seed)(
            test["specified_mean"]
        )
        for name in ("logistic", "neighbours", "perceptron-0")
    }
    metrics = {
        "specified/probe_accuracy": probes.accuracy(said["logistic"], y_test),
        "specified/neighbours_accuracy": probes.accuracy(said["neighbours"], y_test),
        "specified/perceptron_accuracy": probes.accuracy(said["perceptron-0"], y_test),
        "specified/retrieval_map": retrieval.retrieval_map(test["specified_mean"], y_test),
    }
    return metrics, said["logistic"].argmax(axis=1) == y_test


def _view(codes: Arrays, view: str, noise: np.random.Generator) -> np.ndarray:
    mean, std = codes["unspecified_mean"], codes["unspecified_std"]
    if view == "sampled":
        return mean + std * noise.standard_normal(mean.shape, dtype=np.float32)
    if view == "posterior":
        return np.concatenate([mean, 2 * np.log(np.maximum(std, 1e-6))], axis=1)
    return np.asarray(mean)


def control_metrics(train: Arrays, test: Arrays, seed: int) -> Metrics:
    """What some of the probes read from codes of which that is known."""
    train = chosen(train, CONTROL_CODES, seed, "control-images")
    rng = numpy_rng(seed, "controls")
    y, y_test = train["labels"], test["labels"]
    classes = int(max(y.max(), y_test.max())) + 1

    def read(a: np.ndarray, b: np.ndarray, labels: np.ndarray, expected: np.ndarray) -> float:
        return leakage(a, labels, b, expected, seed, QUICK).accuracy

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
    """The controls that came out other than they must; none: the probes can be trusted.

    A probe at chance on M codes is within four standard errors of it.
    """
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


def rate_metrics(codes: Arrays) -> Metrics:
    """What the unspecified code holds; ``latent/kl`` only if it has a density."""
    mean, std = codes["unspecified_mean"], codes["unspecified_std"]
    nats = rate.nats_per_dimension(mean, std)
    metrics: Metrics = {"latent/active_units": rate.active_units(mean, std)}
    return metrics if np.isnan(nats).any() else metrics | {"latent/kl": float(nats.sum())}
