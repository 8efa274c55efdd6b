"""The verdict on a model, and the metrics that the stage writes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.stages.evaluate import measure_all, verdict
from vaegan.data import as_tensor, to_unit_range
from vaegan.evaluation import probes
from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.metrics import METRICS, find_metric
from vaegan.model.vae import DisentanglingVAE

ROOT = Path(__file__).parents[3]

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


def test_a_model_that_shows_neither_class_is_degenerate_for_another_reason():
    metrics = GOOD | {"swap/identity_accuracy": 0.2, "swap/style_source_rate": 0.1}
    word, sentence = verdict(metrics, 0.5)
    assert word == "degenerate"
    assert "train.steps" in sentence
    assert "confusion" not in sentence


def test_a_model_that_transfers_is_sound():
    word, sentence = verdict(GOOD, 0.5)
    assert word == "sound"
    assert sentence.startswith("95.0%")


@pytest.fixture
def written(bars, model_config, monkeypatch) -> dict[str, float]:
    """All metrics of an untrained model, with three of the probes."""
    for name in set(probes.PANEL) - {"logistic", "neighbours", "perceptron-0"}:
        monkeypatch.delitem(probes.PANEL, name)
    model = DisentanglingVAE(model_config).eval()
    codes = model.encode(to_unit_range(as_tensor(bars.images)))
    arrays = {
        f"{name}_{moment}": getattr(getattr(codes, name), moment).detach().numpy()
        for name in ("specified", "unspecified")
        for moment in ("mean", "std")
    } | {"labels": bars.labels}
    params = SimpleNamespace(seed=0, swaps=500, probe_images=1000)
    classifier = train_classifier(bars, steps=20, seed=0)
    metrics, _ = measure_all(model, classifier, bars.images, arrays, arrays, params)
    return metrics


def test_every_metric_that_is_written_has_a_row_and_every_row_is_written(written):
    assert {key for key in written if find_metric(key) is None} == set()
    described = {find_metric(key) for key in written}
    assert [metric.key for metric in METRICS if metric not in described] == []


def test_every_recorded_metric_has_a_row_and_every_row_is_recorded():
    recorded = json.loads((ROOT / "reports/metrics.json").read_text())
    keys = {key for key, value in recorded.items() if not isinstance(value, str)}
    # Recorded before the stage "judge" was renamed; the next run of the pipeline replaces it.
    keys = {key.replace("judge/", "classifier/") for key in keys}
    assert {key for key in keys if find_metric(key) is None} == set()
    described = {find_metric(key) for key in keys}
    assert [metric.key for metric in METRICS if metric not in described] == []
