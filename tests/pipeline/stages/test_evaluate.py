"""What the stage says of a model, in a word and in a sentence."""

import pytest

from pipeline.stages.evaluate import verdict

GOOD = {
    "leakage/chance": 0.25,
    "leakage/standard_error": 0.014,
    "control/permuted": 0.25,
    "control/label": 1.0,
    "control/constant": 0.25,
    "control/variance_from_mean": 0.26,
    "control/variance_from_posterior": 0.95,
    "swap/identity_accuracy": 0.95,
    "swap/style_source_rate": 0.01,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [("control/permuted", 0.4), ("control/label", 0.8), ("control/variance_from_posterior", 0.3)],
)
def test_probes_that_fail_a_control_are_not_trusted(name, value):
    assert verdict(GOOD, 0.5)[0] == "sound"
    word, sentence = verdict(GOOD | {name: value}, 0.5)
    assert word == "untrusted"
    assert name in sentence


def test_a_degenerate_model_is_called_so_in_words():
    metrics = GOOD | {"swap/identity_accuracy": 0.1, "swap/style_source_rate": 0.9}
    word, sentence = verdict(metrics, 0.5)
    assert word == "degenerate"
    assert sentence.startswith("10.0% of swapped images")
    assert "90.0%" in sentence
    assert "train.weights.confusion" in sentence


def test_a_model_that_draws_neither_class_is_degenerate_for_another_reason():
    metrics = GOOD | {"swap/identity_accuracy": 0.2, "swap/style_source_rate": 0.1}
    word, sentence = verdict(metrics, 0.5)
    assert word == "degenerate"
    assert "train.steps" in sentence
    assert "confusion" not in sentence


def test_a_model_that_transfers_is_sound():
    word, sentence = verdict(GOOD, 0.5)
    assert word == "sound"
    assert sentence.startswith("95.0%")
