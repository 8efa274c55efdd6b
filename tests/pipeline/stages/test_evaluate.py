"""The metrics that the stage writes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.stages.evaluate import measure_all
from vaegan.data import as_tensor, to_unit_range
from vaegan.evaluation import probes
from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.description import Instruments
from vaegan.evaluation.factors import Factor
from vaegan.evaluation.metrics import METRICS, find_metric
from vaegan.model.vae import DisentanglingVAE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def measured(bars, model_config, monkeypatch):
    """A function that measures all metrics of an untrained model, with short probes."""
    for constant in ("WIDTH", "ROUNDS", "ROUND_STEPS", "TREES", "NETWORKS"):
        monkeypatch.setattr(probes, constant, 4)
    model = DisentanglingVAE(model_config).eval()
    codes = model.encode(to_unit_range(as_tensor(bars.images)))
    arrays = {
        f"{name}_{moment}": getattr(getattr(codes, name), moment).detach().numpy()
        for name in ("specified", "unspecified")
        for moment in ("mean", "std")
    } | {"labels": bars.labels}
    params = SimpleNamespace(seed=0, swaps=500, probe_images=1000)
    classifier = train_classifier(bars, steps=20, seed=0)

    def measured(kind: str, factors: dict[str, Factor]) -> tuple[dict[str, float], list[str]]:
        instruments = Instruments(classifier, kind == "strokes", dict.fromkeys(factors, classifier))
        given = model, instruments, bars.images, arrays, arrays, params, factors
        metrics, _, left_out = measure_all(*given)
        return metrics, left_out

    return measured


def test_every_metric_that_is_written_has_a_row_and_every_row_is_written(measured, bars):
    written, left_out = measured("strokes", {"light": Factor(4, bars.labels, bars.labels)})
    assert left_out == []
    assert {key for key in written if find_metric(key) is None} == set()
    described = {find_metric(key) for key in written}
    missing = [metric for metric in METRICS if metric not in described]
    assert {metric.group for metric in missing} == {"unseen classes"}


def test_pictures_are_measured_without_strokes_and_this_is_said_once(measured):
    written, left_out = measured("pictures", {})
    assert left_out == ["slant, thickness and width are not measured: the images are pictures"]
    described = {find_metric(key) for key in written}
    assert {metric.key for metric in METRICS if metric not in described} == {
        metric.key
        for metric in METRICS
        if metric.strokes_only or metric.group in ("known style", "unseen classes")
    }


def test_every_recorded_metric_has_a_row_and_every_row_is_recorded():
    recorded = json.loads((ROOT / "reports/metrics.json").read_text())
    keys = {key for key, value in recorded.items() if not isinstance(value, str)}
    assert {key for key in keys if find_metric(key) is None} == set()
    described = {find_metric(key) for key in keys}
    missing = [metric for metric in METRICS if metric not in described]
    assert {metric.group for metric in missing} <= {"known style", "unseen classes"}
