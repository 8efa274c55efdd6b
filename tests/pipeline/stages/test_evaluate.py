"""The metrics that the stage writes."""

import json
from dataclasses import fields, make_dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.artifacts.dataset import Dataset
from pipeline.params import load_params
from pipeline.stages import evaluate
from pipeline.stages.classifier import with_unseen
from pipeline.stages.encode import encode_split
from pipeline.stages.evaluate import measure_all
from vaegan.data import LabelledImages, as_tensor, to_unit_range
from vaegan.evaluation import probes
from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.description import Instruments
from vaegan.evaluation.factors import Factor
from vaegan.evaluation.metrics import METRICS, expected_keys, find_metric, shortened
from vaegan.evaluation.unseen import unseen_metrics
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
    params = SimpleNamespace(seed=0, swaps=500, probe_images=1000, quick=False)
    classifier = train_classifier(bars, steps=20, seed=0)

    def measured(
        kind: str, factors: dict[str, Factor], quick: bool = False
    ) -> tuple[dict[str, float], list[str]]:
        params.quick = quick
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


def test_pictures_are_measured_without_strokes_and_this_is_said_once(measured, monkeypatch):
    monkeypatch.setattr(evaluate, "probe_metrics", lambda *_: ({}, {}, []))
    monkeypatch.setattr(evaluate, "control_metrics", lambda *_: ({}, []))
    written, left_out = measured("pictures", {})
    assert [line for line in left_out if "style" in line or "slant" in line] == [
        "slant, thickness and width are not measured: only grey strokes have them"
    ]
    assert not any(find_metric(key).strokes_only for key in written)
    assert {"swap/identity_accuracy", "diversity/mean", "reconstruction/ssim"} <= written.keys()


def test_swaps_of_unseen_classes_are_measured_on_images_their_classifier_does_not_know(
    bars, model_config, monkeypatch
):
    """Two of four classes are held out: of each, every second image is the classifier's."""
    unseen = bars.labels >= 2
    light = (bars.images.max(axis=(1, 2, 3)) > 160).astype(np.int64)[:, None]
    splits = {
        "train": LabelledImages(bars.images[~unseen], bars.labels[~unseen], 2),
        "unseen": LabelledImages(bars.images[unseen], bars.labels[unseen] - 2, 2),
    }
    factors = {"train": light[~unseen], "unseen": light[unseen]}
    dataset = Dataset(splits, factors, {"factors": {"light": ["dim", "bright"]}})
    both = with_unseen(dataset.train, splits["unseen"])
    assert both.class_count == 4
    assert np.bincount(both.labels).tolist() == [64, 64, 32, 32]
    classifier = train_classifier(both, steps=20, seed=0)
    model = DisentanglingVAE(model_config).eval()
    batches = encode_split(model, splits["unseen"], 1000, torch.device("cpu"))
    given: list[np.ndarray] = []
    monkeypatch.setattr(
        evaluate, "unseen_metrics", lambda *args: given.append(args[2]) or unseen_metrics(*args)
    )
    metrics = evaluate.measure_unseen(
        model,
        Instruments(classifier, False, {"light": classifier}),
        dataset,
        next(batches),
        SimpleNamespace(seed=0, swaps=300, test_images=1000),
    )
    known = {image.tobytes() for image in both.images}
    assert len(given[0]) == 64
    assert not [image for image in given[0] if image.tobytes() in known]
    described = {find_metric(key) for key in metrics if not key.startswith("interval/")}
    assert described == {metric for metric in METRICS if metric.group == "unseen classes"}
    assert "interval/unseen/identity_accuracy_low" in metrics


def test_evaluations_on_other_images_of_unseen_classes_are_of_another_protocol():
    params = load_params(ROOT / "params.yaml").evaluate

    def protocol(**images: str) -> str:
        splits = {name: {"arrays": {"images": {"sha256": of}}} for name, of in images.items()}
        return evaluate.protocol(Dataset({}, {}, {"splits": splits}), params, {"classifier": "c"})

    digests = [protocol(test="a", train=train) for train in "ab"]
    digests += [protocol(test="a", unseen=unseen) for unseen in "ab"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_quick_evaluation_fits_no_networks_and_says_so(measured):
    written, left_out = measured("strokes", {}, quick=True)
    missing = "specified/perceptron_accuracy"
    assert set(expected_keys(strokes=True)) - written.keys() == {missing}
    assert {"leakage/mean_quadratic", "leakage/mean_neighbours"} <= written.keys()
    assert not {"leakage/mean_trees", "leakage/mean_perceptron"} & written.keys()
    assert left_out == [
        "all probes but logistic, quadratic, neighbours",
        f"{missing} is not measured",
    ]


def test_a_quick_evaluation_is_of_another_protocol_and_a_full_one_of_the_one_before():
    params = load_params(ROOT / "params.yaml").evaluate
    splits = {"test": {"arrays": {"images": {"sha256": "a"}}}}

    def protocol(given) -> str:
        return evaluate.protocol(Dataset({}, {}, {"splits": splits}), given, {"classifier": "c"})

    values = {f.name: getattr(params, f.name) for f in fields(params) if f.name != "effort"}
    before = make_dataclass("Before", values)(**values)  # as when there was no other effort
    before.quick = False
    assert protocol(params) == protocol(before)
    assert protocol(replace(params, effort="quick")) != protocol(params)


def test_a_quick_evaluation_has_limits_and_a_full_one_has_none():
    params = load_params(ROOT / "params.yaml").evaluate
    assert params.limited() == params
    quick = replace(params, effort="quick", swaps=500).limited()
    assert (quick.test_images, quick.probe_images, quick.swaps) == (2000, 10_000, 500)


def test_every_recorded_metric_has_a_row_and_every_row_is_recorded():
    recorded = json.loads((ROOT / "reports/metrics.json").read_text())
    keys = {key for key, value in recorded.items() if not isinstance(value, str)}
    assert {key for key in keys if find_metric(key) is None} == set()
    described = {find_metric(key) for key in keys}
    missing = [metric for metric in METRICS if metric not in described]
    assert {metric.group for metric in missing} <= {"known style", "unseen classes"}


def test_the_recorded_headline_numbers_are_those_of_the_recorded_metrics():
    recorded, headline = (
        json.loads((ROOT / f"reports/{name}.json").read_text()) for name in ("metrics", "headline")
    )
    assert headline == {"verdict": recorded["verdict"]} | shortened(recorded)
