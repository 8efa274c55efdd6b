"""Probes: classifiers fitted on frozen codes, to see what can be read from them.

Each takes training codes float32 (N, D) and labels int64 (N,) in [0, K), standardises the codes
by their own mean and deviation, and returns a function of codes (M, D) to the logarithms of
class probabilities, float64 (M, K).
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
from vaegan.rng import derive_seed, numpy_rng, torch_rng

Predict = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, int, int], Predict]

NEIGHBOURS = 15
FEATURES = 1000  # random Fourier features
WIDTH, BATCH, PASSES, MAX_LR = 256, 1024, 20, 4e-3  # of the perceptron
MIN_STEPS = 600  # of the perceptron, where there are few codes
KERNEL_CODES, TREE_CODES, NEIGHBOUR_CODES = 20_000, 20_000, 30_000  # at most, for the slow ones
SMALLEST = 1e-4  # probability, for a probe that may give 0


def standardiser(codes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Maps codes to zero mean and unit deviation in each dimension of these codes.

    A dimension in which all codes are the same, but for rounding, is set to 0.
    """
    mean, std = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    alive = std > 1e-6 * np.maximum(1e-6, np.abs(mean))
    scale = np.where(alive, 1 / np.where(alive, std, 1.0), 0.0)
    return lambda given: ((given - mean) * scale).astype(np.float32)


def logistic(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Multinomial logistic regression: what lies in a plane. The seed is not used."""
    return _of_sklearn(LogisticRegression(max_iter=300), codes, labels, class_count)


def quadratic(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """A normal distribution per class: means and covariances. The seed is not used."""
    alive = codes.std(axis=0) > 1e-6 * np.maximum(1e-6, np.abs(codes.mean(axis=0)))
    if not alive.any():
        alive[:1] = True
    model = QuadraticDiscriminantAnalysis(reg_param=1e-3)
    predict = _of_sklearn(model, codes[:, alive], labels, class_count)
    return lambda given: predict(given[:, alive])


def neighbours(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """The 15 nearest neighbours' vote among at most 30,000 codes."""
    codes, labels = _at_most(NEIGHBOUR_CODES, codes, labels, seed)
    count = min(NEIGHBOURS, len(codes))
    model = KNeighborsClassifier(count, algorithm="brute")
    return _of_sklearn(model, codes, labels, class_count)


def fourier(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Logistic regression on 1,000 random Fourier features: a kernel machine's view.

    Rahimi & Recht (2007); a Gaussian kernel of gamma = 2 / D, on at most 20,000 codes.
    """
    codes, labels = _at_most(KERNEL_CODES, codes, labels, seed)
    features = RBFSampler(
        gamma=2 / codes.shape[1], n_components=FEATURES, random_state=derive_seed(seed, "rff") >> 32
    )
    model = make_pipeline(features, LogisticRegression(max_iter=100, C=10.0))
    return _of_sklearn(model, codes, labels, class_count)


def trees(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """Gradient-boosted trees, 60 rounds, on at most 20,000 codes."""
    codes, labels = _at_most(TREE_CODES, codes, labels, seed)
    model = HistGradientBoostingClassifier(
        max_iter=60, early_stopping=False, random_state=derive_seed(seed, "trees") >> 32
    )
    return _of_sklearn(model, codes, labels, class_count)


def perceptron(codes: np.ndarray, labels: np.ndarray, class_count: int, seed: int) -> Predict:
    """A perceptron of two hidden layers of 256 units, by Adam with a one-cycle schedule."""
    scaled = standardiser(codes)
    rows, target = torch.from_numpy(scaled(codes)), torch.from_numpy(np.array(labels))
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "perceptron"))
        network = nn.Sequential(
            nn.Linear(codes.shape[1], WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, class_count),
        )
    batch = min(BATCH, max(32, len(rows) // 16))
    steps = max(MIN_STEPS, PASSES * len(rows) // batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=MAX_LR, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, total_steps=steps)
    rng = torch_rng(seed, "perceptron-batches")
    order, position = torch.randperm(len(rows), generator=rng), 0
    for _ in range(steps):
        if position + batch > len(rows):
            order, position = torch.randperm(len(rows), generator=rng), 0
        chosen = order[position : position + batch]
        position += batch
        loss = F.cross_entropy(network(rows[chosen]), target[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()

    def predict(given: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = network(torch.from_numpy(scaled(given))).double()
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
    """Share of the most frequent class of labels (N,): what a probe scores that reads nothing."""
    return float(np.bincount(labels).max() / len(labels))


def accuracy(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows (N, K) whose largest entry is at the label (N,); in [0, 1]."""
    return float((log_probabilities.argmax(axis=1) == labels).mean())


def _at_most(
    count: int, codes: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rows = stratified_subset(labels, count, numpy_rng(seed, "probe-rows"))
    return codes[rows], labels[rows]


def _of_sklearn(model: object, codes: np.ndarray, labels: np.ndarray, class_count: int) -> Predict:
    scaled = standardiser(codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of rounds is a choice
        model.fit(scaled(codes), labels)  # type: ignore[attr-defined]
    return partial(_log_probabilities, model, scaled, class_count)


def _log_probabilities(
    model: object, scaled: Callable[[np.ndarray], np.ndarray], class_count: int, given: np.ndarray
) -> np.ndarray:
    """In columns of all classes, also where the probe has not seen some."""
    probabilities = np.zeros((len(given), class_count))
    probabilities[:, model.classes_] = model.predict_proba(scaled(given))  # type: ignore[attr-defined]
    probabilities += SMALLEST
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True))
