"""Probes are calibrated on codes whose score is known."""

import numpy as np
import pytest

from vaegan.evaluation.probes import PANEL, TooFewCodesError, accuracy, majority_rate

TRAIN, TEST, CLASSES = 3000, 1000, 5


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(CLASSES, size=TRAIN), rng.integers(CLASSES, size=TEST)


def probe(kind, codes, labels) -> float:
    predict = PANEL[kind](codes[0], labels[0], CLASSES, 0)
    return accuracy(predict(codes[1]), labels[1])


def noise(labels, dim=4, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((len(part), dim)).astype(np.float32) for part in labels]


@pytest.mark.parametrize("kind", PANEL)
def test_a_code_that_is_the_label_is_read_perfectly(kind, labels):
    codes = [np.eye(CLASSES, dtype=np.float32)[part] for part in labels]
    assert probe(kind, codes, labels) > 0.995


@pytest.mark.parametrize("kind", PANEL)
def test_noise_is_read_at_chance(kind, labels):
    # Standard error at chance: sqrt(.2 * .8 / 1000) = 0.013; four of them above a fifth.
    assert probe(kind, noise(labels), labels) < 0.25


@pytest.mark.parametrize("kind", ["logistic", "quadratic", "trees", "perceptron"])
def test_a_constant_code_gives_the_majority_rate(kind, labels):
    skewed = [np.where(part < 3, 0, part) for part in labels]
    codes = [np.zeros((len(part), 2), np.float32) for part in labels]
    assert probe(kind, codes, skewed) == pytest.approx(majority_rate(skewed[1]))


def test_a_class_in_one_tiny_dimension_is_found(labels):
    codes = noise(labels)
    for code, part in zip(codes, labels, strict=True):
        code[:, 2] = 1e-4 * part
    assert probe("perceptron", codes, labels) > 0.95


def test_a_class_hidden_in_an_xor_escapes_the_linear_probe_only(labels):
    binary = [part % 2 for part in labels]
    codes = noise(labels, dim=2)
    for code, part in zip(codes, binary, strict=True):
        code[:, 1] = np.abs(code[:, 1]) * np.sign(code[:, 0]) * (1 - 2 * part)
    assert probe("logistic", codes, binary) < 0.65  # a line that cuts off corners gets beyond 0.5
    assert probe("perceptron", codes, binary) > 0.95


def test_majority_rate_equals_a_hand_computed_value():
    assert majority_rate(np.array([0, 1, 1, 3])) == 0.5


def test_quadratic_needs_as_many_codes_of_each_class_as_dimensions():
    labels = np.repeat([0, 1], [30, 8])
    codes = noise([labels], dim=8)[0]
    predict = PANEL["quadratic"](codes, labels, 3, 0)  # the third class does not occur
    assert predict(codes).shape == (38, 3)
    with pytest.raises(TooFewCodesError, match="7 codes of class 1, expected 8 or more"):
        PANEL["quadratic"](codes[:-1], labels[:-1], 3, 0)
    with pytest.raises(TooFewCodesError, match="1 codes of class 1, expected 2 or more"):
        PANEL["quadratic"](codes[:31, :1], labels[:31], 3, 0)


@pytest.mark.parametrize("kind", ["logistic", "neighbours", "trees"])
def test_one_class_is_told_in_our_own_words(kind):
    codes = noise([np.zeros(20)])[0]
    with pytest.raises(TooFewCodesError, match="codes of one class"):
        PANEL[kind](codes, np.zeros(20, np.int64), 2, 0)


@pytest.mark.parametrize("kind", PANEL)
def test_every_other_probe_takes_a_dozen_codes_with_a_class_of_one(kind, monkeypatch):
    monkeypatch.setattr("vaegan.evaluation.probes.ROUND_STEPS", 5)
    labels = np.array([0] * 6 + [2] * 5 + [3])
    codes = noise([labels], dim=1)[0]
    if kind == "quadratic":
        codes, labels = codes[:-1], labels[:-1]
    found = PANEL[kind](codes, labels, 5, 0)(codes)
    assert found.shape == (len(codes), 5)
    assert np.isfinite(found).all()


def test_probes_take_a_hundred_classes_and_an_absent_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(100, size=4000)
    centres = rng.standard_normal((101, 8)) * 3
    codes = (centres[labels] + rng.standard_normal((4000, 8))).astype(np.float32)
    for name, fit in PANEL.items():
        found = fit(codes[:3000], labels[:3000], 101, 0)(codes[3000:])
        assert found.shape == (1000, 101)
        # The best possible probe is right about 97 % of these.
        assert accuracy(found, labels[3000:]) > 0.8, name
