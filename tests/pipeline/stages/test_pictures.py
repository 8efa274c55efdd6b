"""The stages after training, on coloured pictures of many classes with a known style factor.

Two more classes are held out of the training.
"""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch

from pipeline.artifacts.curves import write_curves
from pipeline.artifacts.dataset import Split, as_they_are, write_dataset
from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import FIGURES, METRICS, MODEL, REPORT
from pipeline.console import SUMMARIES
from pipeline.params import Params
from pipeline.stages import classifier, encode, evaluate, report, visualize
from pipeline.tools import results
from tests.vaegan.figures.examples import curves
from vaegan.evaluation import probes
from vaegan.model.vae import DisentanglingVAE

CLASSES = 25
PANELS = probes.PANEL, probes.QUICK
JOURNAL = SimpleNamespace(begin=lambda *_: None)


def pictures(labels: np.ndarray, light: np.ndarray, seed: int) -> Split:
    """Noise in a colour for each class, at one of two brightnesses."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(60, 160, size=(CLASSES, 3))
    colours = np.concatenate([colours, [(200, 40, 40), (40, 40, 200)]])  # of the unseen classes
    images = colours[labels][:, :, None, None] // (2 - light)[:, None, None, None]
    images = images + rng.integers(60, size=(len(labels), 3, 12, 16))
    return Split(labels, lambda: iter([images.astype(np.uint8)]), light[:, None])


@pytest.fixture
def summaries(workspace, small: Params, model_config, monkeypatch) -> dict[str, dict]:
    """Each stage's summary. Nine tenths of the images are of one class, and test lacks another."""
    for panel, probe in ((probes.PANEL, "trees"), *((p, "perceptron") for p in PANELS)):
        monkeypatch.setitem(panel, probe, probes.logistic)  # which is fast
    rng = np.random.default_rng(1)
    splits = {}
    for seed, (name, count, present) in enumerate((("train", 400, 25), ("test", 200, 24))):
        labels = np.zeros(count, np.int64)
        labels[: 2 * present] = np.arange(2 * present) % present
        if name == "test":
            labels[present : 2 * present] = 0  # each class but the first has one test image
        splits[name] = pictures(labels, rng.integers(2, size=count), seed)
    labels, light = np.arange(60) % 2, rng.integers(2, size=60)
    splits["unseen"] = replace(pictures(CLASSES + labels, light, 2), labels=labels)
    about = {
        "name": "pictures", "url": "", "kind": "pictures",
        "class_names": [f"class number {c}" for c in range(CLASSES)],
        "unseen_classes": ["red", "blue"],
        "factors": {"light (lux)": ["dim", "bright"]}, "conversion": as_they_are((3, 12, 16)),
    }  # fmt: skip
    write_dataset(splits, about)
    structure = replace(model_config, image_shape=(3, 12, 16), class_count=CLASSES)
    torch.manual_seed(0)
    DisentanglingVAE(structure).eval().save(MODEL, {})
    write_curves(curves())
    of_figures = replace(small.visualize, tsne_images=60)
    return {
        "classifier": classifier.run(replace(small.classifier, steps=20)),
        "encode": encode.run(small.encode, JOURNAL),
        "evaluate": evaluate.run(replace(small.evaluate, swaps=300), JOURNAL),
        "visualize": visualize.run(small.evaluate, of_figures, JOURNAL),
        "report": report.run(small.evaluate, JOURNAL),
    }


def test_pictures_with_a_known_factor_go_through_every_stage(summaries, capsys):
    written = read_json(METRICS)
    assert written["leakage/chance"] == 177 / 200
    assert written["gate/style"] == "not applied"
    assert "slant, thickness and width are not measured" in written["left_out"]
    assert not [key for key in written if "style_kept" in key or "style_r2" in key]
    factor = {key.split("/")[2] for key in written if key.startswith("factor/light_lux/")}
    assert factor == {
        "unspecified_accuracy", "specified_accuracy", "swap_accuracy", "chance",
        "classifier_accuracy",
    }  # fmt: skip
    assert "interval/factor/light_lux/swap_accuracy_low" in written
    unseen = {key.split("/")[1] for key in written if key.startswith("unseen/")}
    assert unseen == {
        "identity_accuracy", "style_source_rate", "chance", "classifier_accuracy",
        "light_lux_swap_accuracy", "light_lux_classifier_accuracy",
    }  # fmt: skip
    assert summaries["encode"]["images"] == {"train": 400, "test": 200, "unseen": 60}

    told = {name: SUMMARIES[name](summary) for name, summary in summaries.items()}
    assert any(line.startswith("that of light_lux: on ") for line in told["classifier"])
    assert any(line.startswith("light_lux: read from z ") for line in told["evaluate"])
    assert any(line.startswith("unseen classes: ") for line in told["evaluate"])
    assert results.main([]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "known style light_lux read from z; chance 0.5" in printed
    assert "slant" not in printed

    figures = {path.stem: matplotlib.image.imread(path) for path in FIGURES.glob("*.png")}
    assert {f"{name}.png" for name in figures} | {"slider.gif"} == set(
        summaries["visualize"]["figures"]
    )
    coloured = np.ptp(figures["swaps"][..., :3], axis=2).max()
    assert coloured > 0.1  # not grey

    page = REPORT.read_text()
    assert page.count("<h2>Known style factors</h2>") == 1
    assert "light_lux read from z" in page
    assert "2, of 60 images: red, blue" in page
    assert "not applied" in page
    assert 1 < summaries["report"]["bytes"] / 2**20 < 5
