"""The stage train, in this process and with a real store."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from pipeline import run
from pipeline.artifacts.paths import CURVES, MODEL
from pipeline.params import Params
from pipeline.stages.train import resolved, sample_grid, sample_images
from pipeline.tracking import store
from pipeline.tracking.charts import NAMES
from vaegan.data import LabelledImages
from vaegan.model.vae import weights_digest


def outputs() -> tuple[str, bytes]:
    return weights_digest(MODEL), CURVES.read_bytes()


def interrupted(monkeypatch, small: Params, step: int, reason: BaseException) -> None:
    """Trains until the sample grid of a step is to be drawn, and fails there."""
    steps = iter(range(0, 100, 4))

    def fail(model, images) -> np.ndarray:
        if next(steps) == step:
            raise reason
        return sample_grid(model, images)

    with monkeypatch.context() as patch, pytest.raises(type(reason)):
        patch.setattr("pipeline.stages.train.sample_grid", fail)
        run.execute("train", small)


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), OSError(28, "no space left")])
def test_an_interrupted_training_resumes_to_the_same_bytes_in_the_same_run(
    small, monkeypatch, reason
):
    run.execute("train", small)
    straight = outputs()
    interrupted(monkeypatch, small, 8, reason)  # after the checkpoint of step 8
    assert outputs() == straight  # what was there is untouched by the unfinished one
    (MODEL / "weights.safetensors").unlink()
    run.execute("train", small)
    assert outputs() == straight
    client = MlflowClient()
    runs = client.search_runs([store.connect()])
    assert len(runs) == 2
    for found in runs:
        assert found.info.status == "FINISHED"
        history = client.get_metric_history(found.info.run_id, NAMES["partner_loss"])
        assert [point.step for point in history] == [4, 8, 12]
    assert not list(Path(".checkpoints").rglob("*.safetensors"))


def test_a_failed_training_ends_its_run_failed_and_registers_nothing(small, monkeypatch):
    interrupted(monkeypatch, small, 8, OSError(28, "no space left"))
    (found,) = mlflow.search_runs([store.connect()], output_format="list")
    assert found.info.status == "FAILED"
    assert "no space left" in found.data.tags["failure"]
    assert not MlflowClient().search_model_versions("name = 'vaegan'")


def test_a_training_on_few_images_per_class_says_that_it_has_no_transport(small, capsys):
    fit = replace(small.train.transport, images_per_class=1000)
    run.execute("train", replace(small, train=replace(small.train, transport=fit)))
    said = "no class transport: 64 training images per class, fewer than train.transport.images"
    assert said in capsys.readouterr().out
    (found,) = mlflow.search_runs([store.connect()], output_format="list")
    assert said[1:] in found.data.tags["mlflow.note.content"]


def test_other_parameters_do_not_resume_from_the_checkpoint(small, monkeypatch, capsys):
    interrupted(monkeypatch, small, 12, KeyboardInterrupt())
    run.execute("train", replace(small, train=replace(small.train, lr=1e-4)))
    assert "resuming" not in capsys.readouterr().out


def test_a_sample_grid_has_twenty_classes_at_most_and_fewer_large_images():
    def shown(class_count: int, size: int) -> int:
        labels = np.arange(2 * class_count, dtype=np.int64) % class_count
        images = np.zeros((len(labels), 3, size, size), np.uint8)
        data = SimpleNamespace(train=LabelledImages(images, labels, class_count))
        return len(sample_images(data, torch.device("cpu")))

    assert [shown(count, 28) for count in (2, 10, 100)] == [2, 10, 20]
    assert shown(100, 64) == 20
    assert shown(100, 128) == 10


def test_a_sample_grid_is_in_colour_with_the_sources_on_its_edges():
    images = torch.rand(3, 3, 8, 9)
    model = SimpleNamespace(eval=lambda: None, train=lambda: None, swap=lambda a, b: (a + b) / 2)
    grid = sample_grid(model, images)
    assert grid.shape == (32, 36, 3)
    pixels = (images.numpy() * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    assert np.array_equal(grid[:8, 9:18], pixels[0])
    assert np.array_equal(grid[16:24, :9], pixels[1])


def test_changes_of_style_are_those_of_the_prepared_images_unless_they_are_named(small):
    def used(changes: str, strokes: bool) -> str:
        transport = replace(small.train.transport, style_changes=changes)
        return resolved(replace(small.train, transport=transport), strokes).transport.style_changes

    assert used("auto", strokes=True) == "strokes"
    assert used("auto", strokes=False) == "pictures"
    assert used("none", strokes=False) == "none"
    assert used("strokes", strokes=False) == "strokes"
