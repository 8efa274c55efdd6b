"""The panel recovers leaks of known size, also faint ones and hidden ones.

On 20,000 codes to fit on; ``python -m benchmarks ruler`` states shares for 60,000.
"""

import numpy as np
import pytest

from vaegan.evaluation import controls
from vaegan.evaluation.leakage import Leakage, leakage

TRAIN, TEST, CLASSES = 20_000, 10_000, 10
SIZES = {"shift": (controls.class_in_a_shift, 0.3), "product": (controls.class_in_a_product, 0.5)}


def measure(kind: str, flow: bool) -> tuple[Leakage, float, float]:
    """What the panel finds; accuracy and bits of the best possible probe on the same codes."""
    plant, size = SIZES[kind]
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=TRAIN + TEST)
    codes, log_likelihood = plant(labels, CLASSES, size, rng)
    if flow:
        codes = controls.behind_a_flow(codes, rng)
    found = leakage(codes[:TRAIN], labels[:TRAIN], codes[TRAIN:], labels[TRAIN:], CLASSES, 0)
    posterior = log_likelihood - np.logaddexp.reduce(log_likelihood, axis=1, keepdims=True)
    test = np.arange(TRAIN, TRAIN + TEST)
    accuracy = (posterior[test].argmax(axis=1) == labels[test]).mean()
    bits = np.log2(CLASSES) + posterior[test, labels[test]].mean() / np.log(2)
    return found, float(accuracy), float(bits)


@pytest.mark.parametrize(
    ("kind", "flow", "share"),
    [("shift", False, 0.8), ("product", False, 0.6), ("shift", True, 0.5)],
)
def test_a_planted_leak_is_recovered_to_a_stated_share(kind, flow, share):
    found, accuracy, bits = measure(kind, flow)
    chance = 1 / CLASSES
    assert found.accuracy - chance > share * (accuracy - chance)
    # No probe reads more than there is: four standard errors of an accuracy, and as much in bits.
    assert found.accuracy < accuracy + 4 * np.sqrt(accuracy * (1 - accuracy) / TEST)
    # The best probe's own bits have a standard error of 0.004 here; five of them.
    assert 0.4 * bits < found.bits < bits + 0.02


def test_a_flow_hides_nothing_from_the_best_probe():
    """It can be inverted, by the same random numbers in the opposite order."""
    codes = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
    hidden = controls.behind_a_flow(codes, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    layers = [(rng.permutation(16), rng.standard_normal((2, 8, 8))) for _ in range(4)]
    undone = hidden
    for order, (scale, shift) in reversed(layers):
        first, second = undone[:, :8], undone[:, 8:]
        second = (second - np.tanh(first @ shift / 2)) * np.exp(-np.tanh(first @ scale / 2) / 2)
        undone = np.hstack([first, second])[:, np.argsort(order)]
    np.testing.assert_allclose(undone, codes, atol=1e-3)
    assert np.abs(hidden - codes).mean() > 0.5


def test_the_log_likelihoods_of_a_planted_product_are_true():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=200_000)
    codes, log_likelihood = controls.class_in_a_product(labels, 4, 0.6, rng)
    for label, correlation in enumerate((-0.6, -0.2, 0.2, 0.6)):
        mine = codes[labels == label]
        assert np.corrcoef(mine[:, 0], mine[:, 1])[0, 1] == pytest.approx(correlation, abs=0.01)
    # Calibrated: of the codes to which the truth gives a class 40 to 45 %, so many are of it.
    posterior = np.exp(log_likelihood - np.logaddexp.reduce(log_likelihood, axis=1, keepdims=True))
    near = (posterior > 0.40) & (posterior < 0.45)
    rows, columns = np.nonzero(near)
    assert (labels[rows] == columns).mean() == pytest.approx(posterior[near].mean(), abs=0.01)


def test_the_log_likelihoods_of_a_planted_shift_are_true():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=200_000)
    codes, log_likelihood = controls.class_in_a_shift(labels, 4, 0.5, rng)
    means = np.stack([codes[labels == label].mean(axis=0) for label in range(4)])
    # Standard error of a mean of 50,000 codes: 0.0045 in each of 16 dimensions.
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 0.5, atol=0.02)
    expected = codes @ means.T - (means**2).sum(axis=1) / 2
    difference = log_likelihood - expected
    assert np.abs(difference - difference.mean(axis=0)).mean() < 0.03
