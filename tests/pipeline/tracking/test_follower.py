"""A store that is slow, fails, or is lost while a stage runs."""

import shutil
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from pipeline import run
from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.paths import MODEL, repository
from pipeline.journal import FOLDER, Journal, journals, read_events
from pipeline.stages import train
from pipeline.tools import track
from pipeline.tracking import champion, follower, registry, store
from pipeline.tracking.charts import NAMES
from pipeline.tracking.follower import Follower
from pipeline.tracking.model_run import HIDDEN, JOURNAL_TAG, ModelRun
from tests.pipeline.conftest import GRID
from tests.pipeline.server import Server
from vaegan.model.vae import weights_digest


class Followed:
    """A journal that a follower follows, as in ``pipeline/run.py``."""

    def __init__(self) -> None:
        self.follower = Follower()
        self.journal = Journal(
            "train", follower.context({}), self.follower.open, lambda _: self.follower.wake()
        )
        self.journal.begin(read_dataset(), {"tags": {}, "note": ""}, "key")
        self.follower.start(self.journal)

    def report(self, step: int) -> None:
        self.journal.report(step, {"loss": float(step)}, GRID)

    def stop(self, status: str = "FINISHED") -> None:
        self.journal.end(status, None if status == "FINISHED" else "a reason")
        self.follower.stop(finished=status == "FINISHED")

    def steps(self) -> list[int]:
        query = f"tags.`{HIDDEN}{JOURNAL_TAG}` = '{self.journal.folder.name}'"
        runs = MlflowClient().search_runs([self.follower.experiment], query)
        return steps(runs[0].info.run_id) if runs else []


def steps(run_id: str, metric: str = "loss") -> list[int]:
    return [point.step for point in MlflowClient().get_metric_history(run_id, metric)]


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reports_are_in_the_store_while_the_stage_runs(workspace):
    followed = Followed()
    for step in (5, 10):
        followed.report(step)
        wait_until(lambda step=step: step in followed.steps())
    followed.stop()
    assert followed.steps() == [5, 10]


def test_a_slow_store_does_not_delay_a_report(workspace, monkeypatch):
    answer, log = threading.Event(), MlflowClient.log_image
    monkeypatch.setattr(MlflowClient, "log_image", lambda *a, **k: answer.wait(60) and log(*a, **k))
    followed = Followed()
    followed.report(1)
    assert followed.steps() == []  # it went on before the store answered
    answer.set()
    followed.stop()
    assert followed.steps() == [1]


def test_a_report_that_failed_to_send_is_sent_before_the_next(workspace, monkeypatch, capsys):
    send, failing = ModelRun._send_report, {2, 3}
    monkeypatch.setattr(follower, "RETRY_AFTER", 0.0)

    def fail(self, event, doubt) -> None:
        if event["step"] in failing:
            failing.discard(event["step"])
            raise MlflowException("the store is gone")
        send(self, event, doubt)

    monkeypatch.setattr(ModelRun, "_send_report", fail)
    followed = Followed()
    for step in (1, 2, 3, 4, 5):
        followed.report(step)
        time.sleep(0.2)
    followed.stop()
    assert followed.steps() == [1, 2, 3, 4, 5]
    said = capsys.readouterr().err
    assert "lost, the stage goes on: the store is gone" in said
    assert "is back" in said


def test_a_programming_error_in_the_follower_does_not_end_the_stage(workspace, monkeypatch):
    def fail(*_, **__) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(ModelRun, "_send_report", fail)
    followed = Followed()
    followed.report(1)
    followed.report(2)
    with pytest.raises(TypeError, match="a mistake"):
        followed.stop()
    assert [e.get("step") for e in read_events(followed.journal.folder)] == [None, 1, 2, None]


@pytest.mark.parametrize("fault", [KeyError("NoSuchBucket"), ImportError("no boto3"), OSError(28)])
def test_whatever_a_store_raises_the_stage_goes_on(workspace, monkeypatch, capsys, fault):
    """Drivers and clients of object stores raise exceptions of their own kinds."""

    def fail(*_, **__) -> None:
        raise fault

    followed = Followed()
    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fail)
    followed.report(1)
    followed.stop()
    said = capsys.readouterr().err
    assert "WARNING: the tracking store was lost, the stage goes on: " in said
    assert "python -m pipeline track, sends it" in said
    assert "Traceback" not in said


def test_stopping_a_training_waits_for_one_report_only(workspace, monkeypatch):
    log, begun, stopped = MlflowClient.log_image, threading.Event(), threading.Event()

    def slow(*arguments, **options) -> None:
        begun.set()
        assert stopped.wait(60)
        log(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "log_image", slow)
    followed = Followed()
    for step in (1, 2, 3):
        followed.report(step)
    assert begun.wait(60)
    threading.Timer(1, stopped.set).start()
    followed.stop("KILLED")
    assert followed.steps() == [1]
    (found,) = MlflowClient().search_runs([followed.follower.experiment])
    assert (found.info.status, found.data.tags["failure"]) == ("KILLED", "a reason")


def test_a_lost_store_is_not_contacted_for_every_report(workspace, monkeypatch):
    asked = []

    def silent(self, event, doubt) -> None:
        asked.append(event["step"])
        raise MlflowException("no answer")

    monkeypatch.setattr(ModelRun, "_send_report", silent)
    followed = Followed()
    for step in range(1, 6):
        followed.report(step)
        time.sleep(0.1)
    followed.stop()
    assert asked == [1, 1]  # when it was lost, and once more at the end


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def on_server(server, small, monkeypatch) -> Server:
    """The workspace's runs are tracked by the server, which a test before may have stopped."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    if server.process is None:
        server.start()
    return server


def train_and_lose(server: Server, small, monkeypatch, back: int | None) -> None:
    """Trains; the server is lost after step 4, and back after step ``back`` if that is not None."""
    grids = iter(range(0, 100, 4))

    def grid(model, images) -> np.ndarray:
        step = next(grids)
        if step == 8:
            wait_until(lambda: steps(newest_run().info.run_id, NAMES["lr"]) == [4])
            server.stop()
        if step == back:
            server.start()
        return train_grid(model, images)

    train_grid = train.sample_grid
    with monkeypatch.context() as patch:
        patch.setattr(train, "sample_grid", grid)
        run.execute("train", small)


def newest_run():
    experiment = mlflow.get_experiment_by_name(store.EXPERIMENT)
    return MlflowClient().search_runs([experiment.experiment_id], max_results=1)[0]


def whole(found) -> None:
    """A run with all that a training logs, and its model registered."""
    assert steps(found.info.run_id, NAMES["partner_loss"]) == [4, 8, 12]
    assert found.info.status == "FINISHED"
    assert "failure" not in found.data.tags
    record = mlflow.artifacts.load_dict(f"{found.info.artifact_uri}/provenance.json")
    assert record["sha256.models"]
    version = registry.version_of(weights_digest(MODEL))  # of the first run that trained these
    assert mlflow.get_run(version.run_id).data.tags["model.sha256"] == weights_digest(MODEL)
    assert registry.load().predict(np.zeros((1, 1, 16, 16), np.float32)).shape == (1, 1, 16, 16)


def test_a_server_that_has_lost_its_artifacts_gets_them_back_by_track(on_server, told, capsys):
    run_id = told.train()
    before = {file.path for file in MlflowClient().list_artifacts(run_id)}
    shutil.rmtree(on_server.folder / "artifacts")
    with pytest.raises(MlflowException):
        registry.load()
    assert track.main([]) == 0
    said = capsys.readouterr().out
    assert "version 1 [candidate, candidate-bars] could not be loaded (it has no files): " in said
    assert {file.path for file in MlflowClient().list_artifacts(run_id)} == before
    assert registry.load().predict(np.zeros((1, 1, 16, 16), np.float32)).shape == (1, 1, 16, 16)
    assert track.main([]) == 0
    assert "could not be loaded" not in capsys.readouterr().out


def test_a_server_that_returns_before_the_end_receives_everything(on_server, small, monkeypatch):
    monkeypatch.setattr(follower, "RETRY_AFTER", 0.0)
    train_and_lose(on_server, small, monkeypatch, back=12)
    whole(newest_run())


def test_the_next_stage_sends_what_a_lost_server_missed(on_server, small, monkeypatch, capsys):
    train_and_lose(on_server, small, monkeypatch, back=None)
    assert (MODEL / "weights.safetensors").is_file()  # the training went on
    assert "the next stage" in capsys.readouterr().err
    on_server.start()
    run.execute("encode", small)
    found = newest_run()
    whole(found)
    assert found.data.tags["model.sha256"] == weights_digest(MODEL)
    assert found.data.params["encode.batch_size"]
    assert champion.list_versions()[0].startswith("version")


def test_the_next_stage_stops_at_once_while_the_server_is_unreachable(
    on_server, small, monkeypatch
):
    train_and_lose(on_server, small, monkeypatch, back=None)
    with pytest.raises(ValueError, match="does not answer"):
        run.execute("encode", small)
    assert len(journals(repository() / FOLDER)) == 1
    assert not Path("codes").exists()
