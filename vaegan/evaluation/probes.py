"""Probes: classifiers fitted on frozen codes, which measure what the codes hold.

Each takes training codes float32 (N, D) and labels int64 (N,) in [0, K), standardises the codes by
their mean and standard deviation, and returns a function that maps codes (M, D) to the logarithms
of class probabilities, float64 (M, K).
"""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F

from vaegan.data import stratified_subset
from vaegan.evaluation.standardise import Standardise, nonconstant, standardiser
from vaegan.rng import derive_seed, numpy_rng, torch_rng

Predict = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, int, int], Predict]

NEIGHBOURS = 15
FEATURES = 1000  # random Fourier features
WIDTH, BATCH, PASSES, MAX_LR = 256, 1024, 20, 4e-3  # of the perceptron
MIN_STEPS = 600  # of the perceptron, for few codes
KERNEL_CODES, TREE_CODES, NEIGHBOUR_CODES = 20_000, 20_000, 30_000  # at most: slow probes
ROUNDS = 60  # of the trees
SMALLEST = 1e-4  # probability, for probes that may return 0


class TooFewCodesError(ValueError):
    """A probe cannot be fitted to so few codes; the message says how many it needs."""


def logistic(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Multinomial logistic regression: linear decision boundaries. The seed is not used."""
    return _fit_sklearn(LogisticRegression(max_iter=300), codes, labels, class_count)


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
    """Vote of the 15 nearest neighbours among at most 30,000 codes."""
    codes, labels = _at_most(NEIGHBOUR_CODES, codes, labels, seed)
    count = min(NEIGHBOURS, len(codes))
    model = KNeighborsClassifier(count, algorithm="brute")
    return _fit_sklearn(model, codes, labels, class_count)


def fourier(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Logistic regression on 1,000 random Fourier features, an approximate kernel machine.

    Rahimi & Recht (2007); a Gaussian kernel of gamma = 2 / D, on at most 20,000 codes.
    """
    codes, labels = _at_most(KERNEL_CODES, codes, labels, seed)
    features = RBFSampler(
        gamma=2 / codes.shape[1], n_components=FEATURES, random_state=derive_seed(seed, "rff") >> 32
    )
    model = make_pipeline(features, LogisticRegression(max_iter=100, C=10.0))
    return _fit_sklearn(model, codes, labels, class_count)


def trees(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Gradient-boosted trees, 60 rounds, on at most 20,000 codes."""
    codes, labels = _at_most(TREE_CODES, codes, labels, seed)
    model = HistGradientBoostingClassifier(
        max_iter=ROUNDS, early_stopping=False, random_state=derive_seed(seed, "trees") >> 32
    )
    return _fit_sklearn(model, codes, labels, class_count)


def perceptron(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Perceptron with two hidden layers of 256 units, trained by Adam, one-cycle schedule."""
    standardise = standardiser(codes)
    inputs, target = torch.from_numpy(standardise(codes)), torch.from_numpy(np.array(labels))
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "perceptron"))
        network = nn.Sequential(
            nn.Linear(codes.shape[1], WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, class_count),
        )
    batch = min(BATCH, max(32, len(inputs) // 16))
    steps = max(MIN_STEPS, PASSES * len(inputs) // batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=MAX_LR, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, total_steps=steps)
    rng = torch_rng(seed, "perceptron-batches")
    order, position = torch.randperm(len(inputs), generator=rng), 0
    for _ in range(steps):
        if position + batch > len(inputs):
            order, position = torch.randperm(len(inputs), generator=rng), 0
        rows = order[position : position + batch]
        position += batch
        loss = F.cross_entropy(network(inputs[rows]), target[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()

    def predict(given: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = network(torch.from_numpy(standardise(given))).double()
            return torch.log_softmax(logits, dim=1).numpy()

    return predict


PANEL: dict[str, Fit] = {
    "logistic": logistic,
    "quadratic": quadratic,
    "neighbours": neighbours,
    "fourier": fourier,
    "trees": trees,
    "perceptron-0": perceptron,
    "perceptron-1": lambda codes, labels, classes, seed: perceptron(
        codes, labels, classes, derive_seed(seed, "perceptron-1")
    ),
    "perceptron-2": lambda codes, labels, classes, seed: perceptron(
        codes, labels, classes, derive_seed(seed, "perceptron-2")
    ),
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
    return partial(_log_probabilities, model, standardise, class_count)


def _log_probabilities(
    model: object, standardise: Standardise, class_count: int, given: np.ndarray
) -> np.ndarray:
    """Log-probabilities of all classes, also of those that the training labels lack."""
    probabilities = np.zeros((len(given), class_count))
    probabilities[:, model.classes_] = model.predict_proba(standardise(given))  # type: ignore[attr-defined]
    probabilities += SMALLEST
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True))
