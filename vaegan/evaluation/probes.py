"""Probes: classifiers fitted on frozen codes, which measure what the codes hold.

Each takes training codes float32 (N, D) and labels int64 (N,) in [0, K), standardises the codes by
their mean and standard deviation, and returns a function that maps codes (M, D) to the logarithms
of class probabilities, float64 (M, K), not calibrated yet (see ``calibration.py``).

Time grows with N and K, within limits: probes that need more per class are given fewer codes.
"""

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from vaegan.data import stratified_subset
from vaegan.evaluation.calibration import calibrator, class_prior
from vaegan.evaluation.standardise import Standardise, nonconstant, standardiser
from vaegan.progress import followed
from vaegan.rng import derive_seed, numpy_rng, torch_rng

Predict = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, int, int], Predict]

NEIGHBOURS = 15
TREES, LEAF = 100, 5  # of the forest: trees, and codes in a leaf, at least
SLOW_CODES = 20_000  # of neighbours and trees, at most
LOGITS, FEWEST_CODES = 2_000_000, 5000  # codes times classes of the logistic regression; its codes
# The perceptrons, chosen by what they read in half a minute, of the default's codes and of planted
# leaks. The message of the commit that added them has what else was tried.
WIDTH, DEPTH, NETWORKS = 384, 3, 2
ROUNDS, PATIENCE = 15, 3  # at most, and without a better one before the end
BATCH, ROUND_STEPS = 1024, 30  # a round is a pass over the codes, and so many steps at least
MAX_LR, WEIGHT_DECAY = 8e-3, 0.05
INPUT_NOISE = 0.15  # standard deviations of a code
AVERAGED = 200  # steps whose weights are averaged
PRIOR_SHARE = 1e-3  # of the prior in predictions of probes that may return 0


class TooFewCodesError(ValueError):
    """A probe cannot be fitted to so few codes; the message says how many it needs."""


def logistic(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Multinomial logistic regression: linear decision boundaries.

    On at most 2,000,000 / K codes, or 5,000 if that is more.
    """
    codes, labels = _at_most(max(FEWEST_CODES, LOGITS // class_count), codes, labels, seed)
    return _fit_sklearn(LogisticRegression(max_iter=100), codes, labels, class_count)


def quadratic(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Quadratic discriminant analysis: one normal distribution per class. The seed is not used.

    Raises:
        TooFewCodesError: a class has fewer codes than they have dimensions, or just one, so its
            covariance is not known.
    """
    varies = nonconstant(codes.mean(axis=0), codes.std(axis=0))
    if not varies.any():
        varies[:1] = True
    classes, sizes = np.unique(labels, return_counts=True)
    needed = max(2, int(varies.sum()))
    if sizes.min() < needed:
        raise TooFewCodesError(
            f"{sizes.min()} codes of class {classes[sizes.argmin()]}, expected {needed} or more"
        )
    model = QuadraticDiscriminantAnalysis(reg_param=1e-3)
    predict = _fit_sklearn(model, codes[:, varies], labels, class_count)
    return lambda given: predict(given[:, varies])


def neighbours(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Vote of the 15 nearest neighbours among at most 20,000 codes."""
    codes, labels = _at_most(SLOW_CODES, codes, labels, seed)
    count = min(NEIGHBOURS, len(codes))
    model = KNeighborsClassifier(count, algorithm="brute")
    return _fit_sklearn(model, codes, labels, class_count)


def trees(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Extremely randomised trees (Geurts et al., 2006), 100 of them, on at most 20,000 codes.

    A tree holds all classes, so their number does not multiply the trees as it does in boosting.
    With many classes its leaves are larger, because each node keeps a number per class.
    """
    codes, labels = _at_most(SLOW_CODES, codes, labels, seed)
    model = ExtraTreesClassifier(
        TREES,
        min_samples_leaf=max(LEAF, class_count // 20),
        random_state=derive_seed(seed, "trees") >> 32,
    )
    return _fit_sklearn(model, codes, labels, class_count)


def perceptron(
    codes: np.ndarray,
    labels: np.ndarray,
    class_count: int,
    seed: int,
    networks: int | None = None,
) -> Predict:
    """Mean log-probability of perceptrons that differ in weights, order and held-out codes.

    Each has three hidden layers of 384 units with batch normalisation and ReLU, trained by AdamW
    on a one-cycle schedule; what counts is the average of its weights over about 200 steps.
    Noise that is added to the codes keeps it from learning single codes by heart, and a tenth of
    the codes is held out to find the round after which it starts to do so: a faint leak is read
    best after few rounds, fine structure after many.

    Args:
        codes, labels, class_count, seed: As for any probe.
        networks: Perceptrons; ``NETWORKS`` by default.

    Raises:
        TooFewCodesError: there are fewer than three codes.
    """
    if len(codes) < 3:
        raise TooFewCodesError(f"{len(codes)} codes, expected three or more")
    standardise = standardiser(codes)
    inputs, target = torch.from_numpy(standardise(codes)), torch.from_numpy(np.array(labels))
    count = networks or NETWORKS
    members = [
        _fit_network(inputs, target, class_count, derive_seed(seed, "perceptron", number))
        for number in followed(range(count), "perceptrons", count)
    ]

    def predict(given: np.ndarray) -> np.ndarray:
        """The mean over the networks, normalised."""
        x = torch.from_numpy(standardise(given))
        mean = torch.stack([_apply_network(network, x) for network in members]).mean(dim=0)
        return mean.log_softmax(dim=1).numpy()

    return predict


def _fit_network(
    inputs: torch.Tensor, target: torch.Tensor, class_count: int, seed: int
) -> nn.Module:
    """Trains one perceptron on standardised codes; returns the best of all rounds, in eval mode."""
    held = np.zeros(len(inputs), bool)
    rng = numpy_rng(seed, "perceptron-rounds")
    held[stratified_subset(target.numpy(), max(1, len(inputs) // 10), rng)] = True
    left = torch.from_numpy(np.flatnonzero(~held))
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "perceptron-weights"))
        network = _new_network(inputs.shape[1], class_count)
    average = AveragedModel(network, multi_avg_fn=_average, use_buffers=True)
    batch = min(BATCH, max(32, len(left) // 16), len(left))
    steps = max(ROUND_STEPS, len(left) // batch)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, MAX_LR, total_steps=ROUNDS * steps, pct_start=1 / ROUNDS, cycle_momentum=False
    )
    batches = _shuffled_batches(left, batch, torch_rng(seed, "perceptron-batches"))
    noise = torch_rng(seed, "perceptron-noise")
    lowest, best, best_round = float("inf"), average, 0
    for number in followed(range(ROUNDS), "rounds", ROUNDS):
        for rows in itertools.islice(batches, steps):
            blurred = torch.randn((batch, inputs.shape[1]), generator=noise).mul_(INPUT_NOISE)
            loss = F.cross_entropy(network(blurred.add_(inputs[rows])), target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
        predicted = _apply_network(average.eval(), inputs[held]).numpy()
        labels = target[held].numpy()
        calibrate = calibrator(predicted, labels, class_prior(target.numpy(), class_count))
        found = -calibrate(predicted)[np.arange(len(labels)), labels].mean()
        if found < lowest:
            lowest, best, best_round = found, copy.deepcopy(average), number
        elif number - best_round >= PATIENCE:
            break
    return best


def _new_network(size: int, class_count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        linear = nn.Linear(size, WIDTH, bias=False)
        layers += [linear, nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True)]
        size = WIDTH
    return nn.Sequential(*layers, nn.Linear(size, class_count))


def _apply_network(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Log-probabilities, float64 (N, K)."""
    with torch.inference_mode():
        logits = torch.cat([network(part) for part in inputs.split(4096)])
        return logits.double().log_softmax(dim=1)


def _average(
    averages: Sequence[torch.Tensor], values: Sequence[torch.Tensor], count: torch.Tensor | int
) -> None:
    """Updates averages over all steps so far, and later over about the last ``AVERAGED``."""
    for average, value in zip(averages, values, strict=True):
        if average.is_floating_point():  # batch normalisation also counts its batches
            average.lerp_(value, 1 / min(AVERAGED, int(count) + 1))


def _shuffled_batches(
    rows: torch.Tensor, size: int, rng: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yields batches of rows without end; each pass has an order of its own."""
    while True:
        order = rows[torch.randperm(len(rows), generator=rng)]
        yield from order[: len(rows) // size * size].split(size)


PANEL: dict[str, Fit] = {
    "logistic": logistic,
    "quadratic": quadratic,
    "neighbours": neighbours,
    "trees": trees,
    "perceptron": perceptron,
}
# In seconds whatever the number of codes, for tuning: these read less than networks and trees do.
PLAIN: dict[str, Fit] = {"logistic": logistic, "quadratic": quadratic, "neighbours": neighbours}
# Fast, for codes of which it is known, or obvious, how much a probe can read.
QUICK: dict[str, Fit] = {
    "logistic": logistic,
    "quadratic": quadratic,
    "perceptron": partial(perceptron, networks=1),
}


def majority_rate(labels: np.ndarray) -> float:
    """Share of the most frequent class of labels (N,), the accuracy of a probe without input."""
    return float(np.bincount(labels).max() / len(labels))


def accuracy(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows (N, K) whose largest entry is at the label (N,), in [0, 1]."""
    return float((log_probabilities.argmax(axis=1) == labels).mean())


def _at_most(
    count: int, codes: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Selects a stratified subset of codes and labels."""
    rows = stratified_subset(labels, count, numpy_rng(seed, "probe-rows"))
    return codes[rows], labels[rows]


def _fit_sklearn(model: object, codes: np.ndarray, labels: np.ndarray, class_count: int) -> Predict:
    """Fits a scikit-learn classifier on standardised codes.

    Raises:
        TooFewCodesError: all codes are of one class.
    """
    if len(np.unique(labels)) < 2:
        raise TooFewCodesError("codes of one class, expected two classes or more")
    standardise = standardiser(codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are bounded on purpose
        model.fit(standardise(codes), labels)  # type: ignore[attr-defined]
    return partial(_log_probabilities, model, standardise, class_prior(labels, class_count))


def _log_probabilities(
    model: object, standardise: Standardise, prior: np.ndarray, given: np.ndarray
) -> np.ndarray:
    """Log-probabilities of all classes, also of those that the training labels lack."""
    probabilities = np.zeros((len(given), len(prior)))
    probabilities[:, model.classes_] = model.predict_proba(standardise(given))  # type: ignore[attr-defined]
    return np.log((1 - PRIOR_SHARE) * probabilities + PRIOR_SHARE * prior)
