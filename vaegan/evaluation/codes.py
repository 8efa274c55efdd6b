"""Metrics computed from codes: class probes, control experiments, rate.

``probe_metrics`` probes the model's codes. ``control_metrics`` probes codes whose class information
is known, which tells how far the results of the probes can be trusted.
"""

from collections.abc import Callable, Mapping

import numpy as np

from vaegan.data import stratified_subset
from vaegan.evaluation import controls, probes, rate, retrieval
from vaegan.evaluation.leakage import Leakage, leakage, unseen_leakage
from vaegan.evaluation.metrics import Arrays, Metrics
from vaegan.progress import followed
from vaegan.rng import numpy_rng

CONTROL_CODES = 10000
FOUND = 0.9  # of what chance leaves, the share that probes must read where the class was planted


def stratified_codes(codes: Arrays, count: int, seed: int, purpose: str) -> Arrays:
    """Selects at most ``count`` rows of all arrays, with the class proportions preserved."""
    rows = stratified_subset(codes["labels"], count, numpy_rng(seed, purpose))
    return {name: array[rows] for name, array in codes.items()}


def probe_metrics(
    train: Arrays,
    test: Arrays,
    class_count: int,
    seed: int,
    probe_images: int,
    panel: Mapping[str, probes.Fit] = probes.PANEL,
) -> tuple[Metrics, Arrays, list[str]]:
    """Measures how well probes predict the class from either code.

    Of the unspecified code they are given the mean, which downstream tasks use
    (``leakage/mean``); one sample of the posterior (``leakage/sampled``); or mean and
    log-variance together (``leakage/posterior``). For ``leakage/unseen`` the probes, too, are
    fitted on means of images that the encoder was not trained on.

    Args:
        train: Training codes by name, N of each: ``specified_mean``, ``unspecified_mean`` and
            ``unspecified_std``, float32 (N, D), and ``labels``, int64 (N,).
        test: M test codes, in the same form.
        class_count: Classes of the data set, also if some do not occur among the labels.
        seed: Seed of probes, splits and noise.
        probe_images: Training codes, at most, that probes are fitted on.
        panel: Probes by name.

    Returns:
        Metrics by key; by the key of an accuracy, bool (M,): which test codes were right; and a
        sentence per metric that was measured without some probe.
    """
    noise = numpy_rng(seed, "probe-noise")
    train = stratified_codes(train, probe_images, seed, "probe-images")
    y, y_test = train["labels"], test["labels"]

    def leakage_of(view: str) -> Leakage:
        """Leakage from one view of the unspecified code."""
        z, z_test = (_view(codes, view, noise) for codes in (train, test))
        return leakage(z, y, z_test, y_test, class_count, seed, panel, name=f"leakage/{view}")

    panels: dict[str, Callable[[], Leakage]] = {
        "leakage/mean": lambda: leakage_of("mean"),
        "leakage/sampled": lambda: leakage_of("sampled"),
        "leakage/posterior": lambda: leakage_of("posterior"),
        "leakage/unseen": lambda: unseen_leakage(
            test["unspecified_mean"], y_test, class_count, seed, panel
        ),
    }
    # A variance that all images share holds no class; the probes would see the means only.
    shared = np.ptp(train["unspecified_std"][:1000], axis=0).max() == 0
    found: dict[str, Leakage] = {}
    weights = [1.0, 1.0, 0.0 if shared else 1.0, 1.0]
    for name, fit in followed(panels.items(), "probes of z", len(panels), weights):
        again = shared and name == "leakage/posterior"
        found[name] = found["leakage/mean"] if again else fit()
    mean = found["leakage/mean"]
    specified, specified_right = _specified_metrics(train, test, class_count, seed, panel)
    right = {name: measured.correct for name, measured in found.items()}
    chance = probes.majority_rate(y_test)
    metrics = {
        "leakage/excess": excess(mean.accuracy, chance),
        "leakage/mean_selection": mean.selection,
        "leakage/chance": chance,
        "leakage/standard_error": float(np.sqrt(chance * (1 - chance) / len(y_test))),
    }
    for name, measured in found.items():
        metrics |= {name: measured.accuracy, f"{name}_bits": measured.bits}
    metrics |= {f"leakage/mean_{name}": value for name, value in mean.accuracies.items()}
    left_out = {name: measured.left_out for name, measured in found.items()}
    right["specified/probe_accuracy"] = specified_right
    return metrics | specified, right, _tell_left_out(left_out)


def excess(accuracy: float, chance: float) -> float:
    """Share of what chance leaves that an accuracy reads: 0 at chance or below, 1 if all is right.

    Unlike the accuracy, it has one meaning for any number of classes and any proportions. It is 0
    where chance is 1, because every code is of one class.
    """
    return max(accuracy - chance, 0.0) / (1 - chance) if chance < 1 else 0.0


def _tell_left_out(left_out: dict[str, dict[str, str]]) -> list[str]:
    """A sentence per metric that was measured without some probe."""
    return [
        f"{name} without {', '.join(f'{probe} ({why})' for probe, why in reasons.items())}"
        for name, reasons in left_out.items()
        if reasons
    ]


def _specified_metrics(
    train: Arrays, test: Arrays, class_count: int, seed: int, panel: Mapping[str, probes.Fit]
) -> tuple[Metrics, np.ndarray]:
    """Measures how well ``s`` predicts the class; also which codes a linear probe got right."""
    y, y_test = train["labels"], test["labels"]
    fits = {"neighbours": probes.PANEL["neighbours"]} | probes.QUICK
    names = {"logistic": "probe", "neighbours": "neighbours", "perceptron": "perceptron"}
    predicted = {
        name: fits[name](train["specified_mean"], y, class_count, seed)(test["specified_mean"])
        for name in names
        if name in panel
    }
    metrics = {
        f"specified/{names[name]}_accuracy": probes.accuracy(found, y_test)
        for name, found in predicted.items()
    }
    metrics["specified/retrieval_map"] = retrieval.retrieval_map(test["specified_mean"], y_test)
    return metrics, predicted["logistic"].argmax(axis=1) == y_test


def _view(codes: Arrays, view: str, noise: np.random.Generator) -> np.ndarray:
    """The array of the unspecified code that probes are given: mean, sample or both moments."""
    mean, std = codes["unspecified_mean"], codes["unspecified_std"]
    if view == "sampled":
        return mean + std * noise.standard_normal(mean.shape, dtype=np.float32)
    if view == "posterior":
        return np.concatenate([mean, 2 * np.log(np.maximum(std, 1e-6))], axis=1)
    return np.asarray(mean)


def control_metrics(
    train: Arrays,
    test: Arrays,
    class_count: int,
    seed: int,
    panel: Mapping[str, probes.Fit] = probes.QUICK,
) -> tuple[Metrics, list[str]]:
    """Measures the accuracy of a quick panel of probes on codes with known class information.

    Args:
        train, test, class_count, seed: As for :func:`probe_metrics`.
        panel: Probes by name.

    Returns:
        Metrics by key, and a sentence per metric that was measured without some probe.
    """
    train = stratified_codes(train, CONTROL_CODES, seed, "control-images")
    rng = numpy_rng(seed, "controls")
    y, y_test = train["labels"], test["labels"]

    def measured(
        name: str, codes: np.ndarray, codes_test: np.ndarray, *labels: np.ndarray
    ) -> Leakage:
        """Leakage from planted codes, of the true labels unless others are given."""
        of_train, of_test = labels or (y, y_test)
        return leakage(codes, of_train, codes_test, of_test, class_count, seed, panel, name=name)

    variances = controls.class_variances(class_count, rng)
    mean, logvar = controls.class_in_the_variance(y, variances, rng)
    mean_test, logvar_test = controls.class_in_the_variance(y_test, variances, rng)
    planted = {
        "control/permuted": (
            train["unspecified_mean"],
            test["unspecified_mean"],
            controls.permuted(y, rng),
            controls.permuted(y_test, rng),
        ),
        "control/label": tuple(controls.label_code(labels, class_count) for labels in (y, y_test)),
        "control/constant": tuple(controls.constant_code(labels) for labels in (y, y_test)),
        "control/variance_from_mean": (mean, mean_test),
        "control/variance_from_posterior": (
            np.hstack([mean, logvar]),
            np.hstack([mean_test, logvar_test]),
        ),
    }
    of_controls = followed(planted.items(), "controls", len(planted))
    found = {name: measured(name, *given) for name, given in of_controls}
    left_out = _tell_left_out({name: control.left_out for name, control in found.items()})
    return {name: control.accuracy for name, control in found.items()}, left_out


def highest_by_chance(metrics: Metrics) -> float:
    """The highest accuracy that counts as chance: four standard errors above the majority rate."""
    return metrics["leakage/chance"] + 4 * metrics["leakage/standard_error"]


def failed_controls(metrics: Metrics) -> list[str]:
    """Lists the controls that failed, each with its value and bound; if none, trust the probes."""
    highest = highest_by_chance(metrics)
    lowest = metrics["leakage/chance"] + FOUND * (1 - metrics["leakage/chance"])
    failed = [
        f"{name} {metrics[name]:.3f} > {highest:.3f}"
        for name in ("control/permuted", "control/constant", "control/variance_from_mean")
        if metrics[name] > highest
    ]
    return failed + [
        f"{name} {metrics[name]:.3f} < {lowest:.3f}"
        for name in ("control/label", "control/variance_from_posterior")
        if metrics[name] < lowest
    ]


def rate_metrics(codes: Arrays) -> Metrics:
    """Measures the rate of the unspecified code; ``latent/kl`` only if the code has a density."""
    mean, std = codes["unspecified_mean"], codes["unspecified_std"]
    nats = rate.nats_per_dimension(mean, std)
    metrics: Metrics = {"latent/active_units": rate.active_units(mean, std)}
    return metrics if np.isnan(nats).any() else metrics | {"latent/kl": float(nats.sum())}
