"""A store that is slow, fails, or is lost while a model is trained."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.paths import CURVES, MODEL
from pipeline.stages import train
from pipeline.tracking import champion, registry, unsent
from pipeline.tracking import runs as tracking
from pipeline.tracking.unsent import Reporter
from tests.pipeline.server import Server
from vaegan.model.config import EncodeConfig
from vaegan.model.vae import weights_digest

GRID = np.zeros((8, 8, 1), np.uint8)
ENCODE = EncodeConfig(batch_size=7, device="cpu", threads=1)


def open_run():
    return tracking.training_run(read_dataset(), {}, "", "key", {})


def steps(run_id: str, metric: str = "loss") -> list[int]:
    return [point.step for point in MlflowClient().get_metric_history(run_id, metric)]


def test_reports_are_logged_by_step_when_the_block_has_ended(workspace):
    with open_run() as training:
        run_id = training.run.info.run_id
        with training.reporting() as report:
            for step in (5, 10):
                report(step, {"loss": step / 2}, np.full((8, 8, 1), step, np.uint8))
        history = MlflowClient().get_metric_history(run_id, "loss")
        assert [(point.step, point.value) for point in history] == [(5, 2.5), (10, 5.0)]
    files = [f.path for f in MlflowClient().list_artifacts(run_id, "images")]
    for step in (5, 10):
        assert any(f"samples+step+{step}+" in f and f.endswith(".png") for f in files)


def test_a_slow_store_does_not_keep_a_report_waiting(workspace, monkeypatch):
    answer = threading.Event()
    log = mlflow.log_metrics
    monkeypatch.setattr(mlflow, "log_metrics", lambda *a, **k: answer.wait(60) and log(*a, **k))
    with open_run() as training:
        with training.reporting() as report:
            report(1, {"loss": 1.0}, GRID)
            assert tracking.last_step("loss") == 0  # it went on before the store answered
            answer.set()
        assert tracking.last_step("loss") == 1


def test_a_report_that_the_store_did_not_take_is_sent_before_the_next(
    workspace, monkeypatch, capsys
):
    log, failing = mlflow.log_metrics, {2, 3}
    monkeypatch.setattr(unsent, "RETRY_AFTER", 0.0)

    def fail(metrics, step, **rest) -> None:
        if step in failing:
            failing.discard(step)
            raise MlflowException("the store is gone")
        log(metrics, step=step, **rest)

    monkeypatch.setattr(mlflow, "log_metrics", fail)
    with open_run() as training, training.reporting() as report:
        for step in (1, 2, 3, 4, 5):
            report(step, {"loss": float(step)}, GRID)
    assert steps(training.run.info.run_id) == [1, 2, 3, 4, 5]
    said = capsys.readouterr().err
    assert said.count("lost at step 2, training goes on: the store is gone") == 1
    assert "is back" in said


def test_a_fault_of_our_own_is_no_lost_store(workspace, monkeypatch):
    def fail(*_, **__) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(unsent, "send_report", fail)
    with (
        pytest.raises(TypeError, match="a mistake"),
        open_run() as training,
        training.reporting() as report,
    ):
        report(1, {"loss": 1.0}, GRID)


def test_who_stops_a_training_waits_for_one_report_and_not_for_all(workspace, monkeypatch):
    log, begun, stopped = mlflow.log_metrics, threading.Event(), threading.Event()

    def slow(*arguments, **options) -> None:
        begun.set()
        assert stopped.wait(60)
        log(*arguments, **options)

    monkeypatch.setattr(mlflow, "log_metrics", slow)
    threading.Timer(2, stopped.set).start()
    with open_run() as training:
        with pytest.raises(KeyboardInterrupt), training.reporting() as report:
            for step in (1, 2, 3):
                report(step, {"loss": 1.0}, GRID)
            assert begun.wait(60)
            raise KeyboardInterrupt
        assert tracking.last_step("loss") == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def on_server(server, small, monkeypatch) -> Server:
    """The workspace's runs are tracked by the server, which is there when the test ends."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    yield server
    if server.process is None:
        server.start()


def train_and_lose(server: Server, small, monkeypatch, back: int | None) -> None:
    """Trains; the server is lost after step 4, and back after step ``back`` if that is not None."""
    grids = iter(range(4, 100, 4))

    def grid(model, images) -> np.ndarray:
        step = next(grids)
        if step == 8:
            deadline = time.monotonic() + 60
            while tracking.last_step("lr") < 4 and time.monotonic() < deadline:
                time.sleep(0.05)
            server.stop()
        if step == back:
            server.start()
        return train_grid(model, images)

    train_grid = train.sample_grid
    monkeypatch.setattr(train, "sample_grid", grid)
    train.train(read_dataset(), small.model, small.train)
    monkeypatch.setattr(train, "sample_grid", train_grid)


def newest_run():
    (run,) = mlflow.search_runs(max_results=1, output_format="list")
    return run


def whole(run) -> None:
    """A run with all that a training logs, and its model registered."""
    assert steps(run.info.run_id, "partner_loss") == [4, 8, 12]
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    assert run.data.tags["sha256.models"]
    version = registry.version_of(weights_digest(MODEL))
    assert version.run_id == run.info.run_id
    assert registry.load().predict(np.zeros((1, 1, 16, 16), np.float32)).shape == (1, 1, 16, 16)


def test_a_server_that_is_back_before_the_end_has_missed_nothing(on_server, small, monkeypatch):
    monkeypatch.setattr(unsent, "RETRY_AFTER", 0.0)
    train_and_lose(on_server, small, monkeypatch, back=12)
    whole(newest_run())
    assert not list(Path("mlruns/.unsent").glob("[!.]*"))


def test_what_a_lost_server_missed_is_sent_by_the_next_stage(on_server, small, monkeypatch, capsys):
    train_and_lose(on_server, small, monkeypatch, back=None)
    assert pd.read_csv(CURVES)["step"].tolist() == [4, 8, 12]  # the training went on
    assert "the next stage sends them" in capsys.readouterr().err
    on_server.start()
    with tracking.model_run(read_dataset(), ENCODE, "encode") as run:
        assert run.data.tags["model.sha256"] == weights_digest(MODEL)
    whole(newest_run())
    assert not list(Path("mlruns/.unsent").glob("[!.]*"))
    assert champion.listed()[0].startswith("version")
    with tracking.model_run(read_dataset(), ENCODE, "encode") as again:
        assert again.info.run_id == run.info.run_id


def test_the_next_stage_stops_at_once_as_long_as_the_server_is_gone(on_server, small, monkeypatch):
    train_and_lose(on_server, small, monkeypatch, back=None)
    with pytest.raises(ValueError, match="does not answer"):
        tracking.model_run(read_dataset(), ENCODE, "encode").__enter__()
    assert len(list(Path("mlruns/.unsent").glob("[!.]*"))) == 1


def test_a_lost_model_is_registered_also_where_another_has_taken_its_place(
    on_server, small, monkeypatch
):
    """As where two experiments are queued, or DVC has removed outputs for the next training."""
    train_and_lose(on_server, small, monkeypatch, back=None)
    lost, digest = next(Path("mlruns/.unsent").glob("[!.]*")).name, weights_digest(MODEL)
    on_server.start()
    shutil.rmtree(MODEL)
    CURVES.unlink()
    other = replace(small.train, seed=1)
    train.train(read_dataset(), small.model, other)
    assert weights_digest(MODEL) != digest
    assert steps(lost, "partner_loss") == [4, 8, 12]
    run = mlflow.get_run(lost)
    assert run.info.status == "FINISHED"
    assert registry.version_of(digest).run_id == lost
    assert not list(Path("mlruns/.unsent").glob("[!.]*"))


def test_what_is_kept_for_one_store_is_not_sent_to_another(on_server, small, monkeypatch, capsys):
    train_and_lose(on_server, small, monkeypatch, back=None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # as the message of the lost server advises
    with tracking.model_run(read_dataset(), ENCODE, "encode") as run:
        assert "no run in which" in run.data.tags["mlflow.note.content"]
    assert len(list(Path("mlruns/.unsent").glob("[!.]*"))) == 1


def test_what_is_kept_for_a_run_that_was_deleted_is_put_aside_and_said(
    on_server, small, monkeypatch, capsys
):
    train_and_lose(on_server, small, monkeypatch, back=None)
    lost = next(Path("mlruns/.unsent").glob("[!.]*"))
    on_server.start()
    MlflowClient().delete_run(lost.name)
    with tracking.model_run(read_dataset(), ENCODE, "encode"):
        pass
    assert f"run {lost.name} was deleted" in capsys.readouterr().err
    assert (lost.with_name(f".{lost.name}") / "models/weights.safetensors").is_file()


def test_a_store_that_is_found_lost_is_not_asked_for_every_report(workspace, monkeypatch):
    asked = []

    def silent(run_id, report) -> None:
        asked.append(report.step)
        raise MlflowException("no answer")

    monkeypatch.setattr(unsent, "send_report", silent)
    reporter = Reporter("a run")
    for step in range(1, 6):
        reporter(step, {"loss": 1.0}, GRID)
    reporter.wait()
    assert [report.step for report in reporter.backlog] == [1, 2, 3, 4, 5]
    assert asked == [1, 1]  # when it was lost, and once more at the end


def test_reports_that_the_run_has_already_are_not_logged_again(workspace, monkeypatch):
    sent = []
    monkeypatch.setattr(unsent, "send_report", lambda run_id, report: sent.append(report.step))
    reporter = Reporter("a run", after=8)
    for step in (4, 8, 12):
        reporter(step, {"loss": 1.0}, GRID)
    reporter.wait()
    assert sent == [12]
