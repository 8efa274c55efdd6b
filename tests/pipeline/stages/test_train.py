"""The stage train, in this process and with a real store."""

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from pipeline import run
from pipeline.artifacts.paths import CURVES, MODEL
from pipeline.params import Params
from pipeline.stages.train import sample_grid
from pipeline.tracking import store
from vaegan.model.vae import weights_digest


def outputs() -> tuple[str, bytes]:
    return weights_digest(MODEL), CURVES.read_bytes()


def interrupted(monkeypatch, small: Params, step: int, reason: BaseException) -> None:
    """Trains until the sample grid of a step is to be drawn, and fails there."""
    steps = iter(range(4, 100, 4))

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
        history = client.get_metric_history(found.info.run_id, "partner_loss")
        assert [point.step for point in history] == [4, 8, 12]
    assert not list(Path(".checkpoints").rglob("*.safetensors"))


def test_a_failed_training_ends_its_run_failed_and_registers_nothing(small, monkeypatch):
    interrupted(monkeypatch, small, 8, OSError(28, "no space left"))
    (found,) = mlflow.search_runs([store.connect()], output_format="list")
    assert found.info.status == "FAILED"
    assert "no space left" in found.data.tags["failure"]
    assert not MlflowClient().search_model_versions("name = 'vaegan'")


def test_other_parameters_do_not_resume_from_the_checkpoint(small, monkeypatch, capsys):
    interrupted(monkeypatch, small, 12, KeyboardInterrupt())
    run.execute("train", replace(small, train=replace(small.train, lr=1e-4)))
    assert "resuming" not in capsys.readouterr().out
