"""Known style factors, in codes that hold them, and in codes that do not."""

import numpy as np
import pytest

from vaegan.evaluation import probes
from vaegan.evaluation.factors import (
    Factor,
    describe_factors,
    factor_probe_metrics,
    obstacle,
)


@pytest.fixture(autouse=True)
def _short_probes(monkeypatch):
    monkeypatch.setattr(probes, "WIDTH", 32)
    monkeypatch.setattr(probes, "ROUNDS", 2)


def codes(poses: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The pose is in z, below noise; s holds nothing."""
    s, z = np.random.default_rng(seed).standard_normal((2, len(poses), 4)).astype(np.float32)
    z[:, 0] = 10.0 * poses + z[:, 0]
    return {"specified_mean": s, "unspecified_mean": z}


def test_a_factor_is_read_from_the_code_that_holds_it_and_by_chance_from_the_other():
    """Chance is the share of the majority value, which is one of three here with 60 %."""
    rng = np.random.default_rng(0)
    train, test = (rng.choice(3, size=n, p=[0.2, 0.6, 0.2]) for n in (1500, 500))
    factors = {"pose": Factor(3, train, test)}
    metrics, right, left_out = factor_probe_metrics(codes(train, 0), codes(test, 1), factors, 0)
    assert left_out == []
    assert metrics["factor/pose/unspecified_accuracy"] > 0.98
    chance = metrics["factor/pose/chance"]
    assert chance == pytest.approx(0.6, abs=0.05)
    assert metrics["factor/pose/specified_accuracy"] == pytest.approx(chance, abs=0.04)
    for key, values in right.items():
        assert values.mean() == metrics[key]
    (line,) = describe_factors(metrics | {"factor/pose/swap_accuracy": 0.5})
    assert line.startswith("pose: read from z ")
    assert "shown by 50.0% of swaps" in line


def test_values_that_the_training_lacks_are_not_asked_for():
    """Half of the test images are of a font that no training image has."""
    rng = np.random.default_rng(0)
    train, test = rng.integers(2, size=600), np.arange(400) % 4
    factor = Factor(4, train, test)
    assert factor.known.sum() == 200
    metrics, right, _ = factor_probe_metrics(codes(train, 0), codes(test, 1), {"font": factor}, 0)
    assert metrics["factor/font/unspecified_accuracy"] > 0.98
    assert metrics["factor/font/chance"] == 0.5
    assert len(right["factor/font/unspecified_accuracy"]) == 200


@pytest.mark.parametrize(
    ("train", "test", "why"),
    [
        ([0, 0, 0], [0, 1, 0], "all training images have one value"),
        ([0, 1, 0], [2, 2, 2], "no evaluated image has a value"),
    ],
)
def test_a_factor_without_anything_to_tell_is_left_out_with_the_reason(train, test, why):
    factor = Factor(3, np.array(train), np.array(test))
    assert why in obstacle(factor)
    given = codes(factor.train, 0), codes(factor.test, 1)
    metrics, right, left_out = factor_probe_metrics(*given, {"font": factor}, 0)
    assert metrics == right == {}
    assert left_out == [f"factor/font is not measured: {obstacle(factor)}"]
