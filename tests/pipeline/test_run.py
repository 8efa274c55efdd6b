import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.__main__ import main as door
from pipeline.artifacts.codes import CODE_ARRAYS
from pipeline.artifacts.files import ArtifactError, write_json
from pipeline.artifacts.paths import METRICS, PREPARED
from pipeline.params import load_params
from pipeline.run import execute, run_stage
from pipeline.stages import prepare
from pipeline.stages.encode import encode_split
from pipeline.stages.train import sample_grid
from pipeline.tracking import store
from pipeline.tracking.model_run import ModelRun
from vaegan.data import to_unit_range
from vaegan.model.vae import DisentanglingVAE

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stage(folder, monkeypatch):
    """A function that replaces what the stage ``prepare`` does."""
    return lambda function: monkeypatch.setattr(prepare, "run", function)


def fail(fault: BaseException):
    def function(_):
        raise fault

    return function


def test_a_stage_gets_its_own_checked_section(stage):
    seen = []
    summary = {"dataset": "x", "shape": (1,), "images": {}, "notes": ["a note"]}
    stage(lambda section: seen.append(section) or summary)
    assert run_stage("prepare") == 0
    assert seen[0].dataset == "mnist"


@pytest.mark.parametrize("place", ["a temporary copy", "the workspace"])
def test_an_experiment_in_training_shows_no_metrics_of_another_model(folder, monkeypatch, place):
    """DVC's table reads them from the folder that the experiment runs in."""
    root = folder.parent if place == "a temporary copy" else folder
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setattr("pipeline.run._execute_tracked", lambda *_: None)
    for stage in ("encode", "train"):
        METRICS.parent.mkdir(exist_ok=True)
        METRICS.touch()
        execute(stage, load_params())
        assert METRICS.exists() == (place == "the workspace" or stage == "encode")


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "validation", "test")])
def test_no_training_begins_without_the_images_to_evaluate_on(folder, monkeypatch, capsys, splits):
    text = SHIPPED.read_text()
    for key, value in (("split", "validation"), ("dataset", "folder"), ("path", "pets")):
        text = re.sub(rf"^  {key}: \w+", f"  {key}: {value}", text, flags=re.MULTILINE)
    (folder / "params.yaml").write_text(text)
    PREPARED.mkdir(parents=True)
    write_json(PREPARED / "dataset.json", {"splits": dict.fromkeys(splits, {})})
    begun = []
    monkeypatch.setattr("pipeline.run._execute_tracked", lambda *_: begun.append(True))
    if "validation" in splits:
        assert run_stage("train") == 0
        assert begun
    else:
        assert run_stage("train") == 1
        assert not begun
        said = capsys.readouterr().err
        assert said.startswith("error: evaluate.split: got validation, expected test, as the")


def test_invalid_parameters_stop_a_stage_before_it_starts(folder, stage, capsys):
    (folder / "params.yaml").write_text(SHIPPED.read_text().replace("steps: ", "steps: -"))
    seen = []
    stage(seen.append)
    assert run_stage("prepare") == 1
    assert seen == []
    assert "train.steps: got -" in capsys.readouterr().err


@pytest.mark.parametrize("fault", [ArtifactError("x.npy is missing"), OSError(28, "no space")])
def test_a_user_error_gives_one_line_and_an_exit_status(stage, capsys, fault):
    stage(fail(fault))
    assert run_stage("prepare") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {fault}"


@pytest.mark.parametrize("kind", [MlflowException, SQLAlchemyError])
def test_an_error_of_the_store_gives_one_line(stage, capsys, kind):
    stage(fail(kind("the store is gone")))
    assert run_stage("prepare") == 1
    assert capsys.readouterr().err == "error: the store is gone\n"


def test_a_programming_error_keeps_its_traceback(stage):
    stage(fail(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run_stage("prepare")


def test_ctrl_c_gives_one_line_and_an_exit_status(stage, capsys):
    stage(fail(KeyboardInterrupt()))
    assert run_stage("prepare") == 130
    assert "dvc repro resumes from here" in capsys.readouterr().err


def test_a_second_interrupt_while_the_first_is_recorded_does_not_mark_the_run_finished(
    small, monkeypatch
):
    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    send = ModelRun.send

    def impatient(self, go_on):
        if self.events[-1]["event"] == "end":
            os.kill(os.getpid(), signal.SIGINT)
        return send(self, go_on)

    monkeypatch.setattr("pipeline.stages.train.sample_grid", interrupt)
    monkeypatch.setattr(ModelRun, "send", impatient)
    with pytest.raises(KeyboardInterrupt):
        execute("train", small)
    (run,) = MlflowClient().search_runs([store.connect()])
    assert run.info.status == "KILLED"
    assert run.data.tags["failure"].startswith("KeyboardInterrupt")


def test_sigterm_ends_the_run_killed(small, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        "pipeline.stages.train.sample_grid", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(SystemExit) as exit_:
        execute("train", small)
    assert exit_.value.code == 143
    (run,) = MlflowClient().search_runs([store.connect()])
    assert run.info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "usage: python -m pipeline COMMAND"),
        (["--help"], 0, "visualize"),
        (["trian"], 2, "error: unknown command trian"),
        (["train", "--fast"], 2, "error: train takes no arguments, got --fast"),
        (["compare", "--help"], 0, "--recorded"),
    ],
)
def test_the_entry_point_lists_its_commands(arguments, status, said, capsys):
    with pytest.raises(SystemExit) as exit_:
        sys.exit(door(arguments))
    assert exit_.value.code == status
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


@pytest.fixture
def model(model_config) -> DisentanglingVAE:
    torch.manual_seed(0)
    model = DisentanglingVAE(model_config)
    model.encode(torch.rand(8, 1, 16, 16))
    return model.eval()


def test_encoding_in_batches_equals_encoding_at_once_in_order(model, bars):
    batches = list(encode_split(model, bars, 100, torch.device("cpu")))
    assert [len(batch["labels"]) for batch in batches] == [100, 100, 56]
    arrays = {name: np.concatenate([batch[name] for batch in batches]) for name in CODE_ARRAYS}
    with torch.inference_mode():
        codes = model.encode(to_unit_range(torch.from_numpy(bars.images)))
    expected = (
        codes.specified.mean,
        codes.specified.std,
        codes.unspecified.mean,
        codes.unspecified.std,
        torch.from_numpy(bars.labels),
    )
    assert all(set(batch) == set(CODE_ARRAYS) for batch in batches)
    for array, tensor in zip(arrays.values(), expected, strict=True):
        # Batches of another size are summed in another order: float32 rounding.
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_the_sample_grid_has_sources_on_its_edges_and_identity_by_column(model, bars):
    images = to_unit_range(torch.from_numpy(bars.images[:3]))
    grid = sample_grid(model, images).reshape(4, 16, 4, 16).swapaxes(1, 2)
    assert grid.dtype == np.uint8
    assert (grid[0, 0] == 0).all()
    for i in range(3):
        source = bars.images[i, 0]
        assert np.array_equal(grid[0, i + 1], source)
        assert np.array_equal(grid[i + 1, 0], source)
    with torch.inference_mode():
        drawn = model.eval().swap(images[1:2], images[2:3])[0, 0].numpy()
    np.testing.assert_allclose(grid[3, 2], 255 * drawn, atol=1)
