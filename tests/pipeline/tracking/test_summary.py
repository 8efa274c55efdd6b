"""The first line of a run's description."""

import pytest

from pipeline.tracking.summary import describe

RESULTS = {
    "dataset": "mnist",
    "split": "test",
    "leakage/mean": 0.17716,
    "reconstruction/mse": 0.015,
}


@pytest.mark.parametrize(
    ("verdict", "gates", "begins", "ends"),
    [
        ("sound", "passed", "sound, gates passed: leakage 0.177 · MSE 0.015 (", "test images)"),
        ("sound", "leakage is 0.4", "sound, a gate missed: ", "test images; leakage is 0.4)"),
        ("sound", "not applied: quick", "sound, gates not applied: leakage", "not applied: quick)"),
        ("degenerate", "the verdict is degenerate", "degenerate: leakage", "is degenerate)"),
    ],
)
def test_it_begins_with_the_verdict_and_holds_the_numbers(verdict, gates, begins, ends):
    line = describe(RESULTS | {"verdict": verdict, "gates": gates})
    assert line.startswith(begins)
    assert line.endswith(ends)
    assert "mnist" in line
