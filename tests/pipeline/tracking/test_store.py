"""The tracking store after accidents: a vanished process, a moved repository, no server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow import MlflowClient

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import METRICS, MODEL
from pipeline.tools import track
from pipeline.tracking import registry, store
from pipeline.tracking.store import StoreError
from tests.pipeline.server import Server
from vaegan.model.vae import weights_digest

ROOT = Path(__file__).parents[3]


LEFT = """
from pipeline.artifacts.dataset import read_dataset
from pipeline.journal import Journal
from pipeline.tracking import follower, store, sync
import time
journal = Journal("train", follower.context({}))
journal.begin(read_dataset(), {"tags": {}, "note": ""}, "key")
sync.sync_journal(journal.folder, store.connect())
print("begun", flush=True)
time.sleep(600)
"""


def test_a_killed_process_leaves_its_run_killed_and_not_running_for_ever(told):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", LEFT], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        told.sync_all()
        (run,) = MlflowClient().search_runs([store.connect()])
        assert run.info.status == "RUNNING"  # it lives: its run is left alone
        process.send_signal(signal.SIGKILL)
        process.wait()
    told.sync_all()
    run = mlflow.get_run(run.info.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["failure"].startswith(f"process {process.pid} ended without a word")
    # The next process of this training resumes it.
    assert told.sync(told.begin()) == run.info.run_id


def test_a_server_that_does_not_answer_is_told_at_once(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(StoreError, match=r"server http://127.0.0.1:9 does not answer \(Connec"):
        store.connect()
    assert time.monotonic() - begun < 3 * store.ANSWER_WITHIN


@pytest.fixture
def moved(tmp_path, monkeypatch, told, workspace) -> Path:
    """A repository with a tracked and registered model, after it was moved to another folder."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    for name in (MODEL, Path("data")):
        shutil.copytree(workspace / name, before / name)
    monkeypatch.chdir(before)
    told.train()
    told.stage("encode", **{"encode.batch_size": 7})
    mlflow.set_tracking_uri(None)
    before.rename(after)
    monkeypatch.chdir(after)
    return after


def test_a_moved_repository_is_told_what_to_do_and_nothing_is_touched(moved):
    content = (moved / "mlflow.db").read_bytes()
    with pytest.raises(StoreError, match=r"before/mlruns, expected .*after/mlruns: was the"):
        store.connect()
    assert (moved / "mlflow.db").read_bytes() == content
    assert not (moved.parent / "before").exists()


def test_a_moved_repository_finds_its_runs_and_models_again(moved, capsys):
    content = (moved / "mlflow.db").read_bytes()
    assert track.main([]) == 0
    said = capsys.readouterr().out
    assert "the repository was moved: its store is kept as" in said
    assert "it lacked something of 2" in said
    assert (moved / "mlflow.db.before-move").read_bytes() == content
    (run,) = MlflowClient().search_runs([store.connect()])
    assert run.info.artifact_uri.startswith((moved / "mlruns").as_uri())
    assert run.data.params["encode.batch_size"] == "7"
    loaded = registry.load()
    images = read_dataset().test.images[:3].astype("float32") / 255
    assert loaded.predict(images).shape == images.shape
    assert track.main([]) == 0
    assert "it lacked something of 0" in capsys.readouterr().out


def test_outputs_without_a_journal_are_tracked_all_the_same(workspace, capsys):
    """As in a clone after ``dvc pull``."""
    write_json(METRICS, {"model/digest": weights_digest(MODEL), "leakage/mean": 0.2,
                         "verdict": "sound", "dataset": "bars", "split": "test", "protocol": "p",
                         "gates": "passed", "champion_by": "leakage/mean"})  # fmt: skip
    for _ in range(2):
        assert track.main([]) == 0
    (run,) = MlflowClient().search_runs([store.connect()])
    assert "no run in which this model was trained" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["leakage/mean"] == 0.2
    assert (
        registry.version_of(weights_digest(MODEL)).tags["champion"].startswith("champion of bars")
    )


def test_results_of_another_model_are_not_tracked_with_this_one(workspace):
    write_json(METRICS, {"model/digest": "another", "leakage/mean": 0.2})
    assert track.main([]) == 0
    (run,) = MlflowClient().search_runs([store.connect()])
    assert run.data.metrics == {}


def test_a_folder_with_nothing_in_it_has_nothing_to_track(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert track.main([]) == 0
    assert "compared 0 journals" in capsys.readouterr().out


def test_a_server_that_does_not_answer_is_told_by_track_too(workspace, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert track.main([]) == 1
    assert capsys.readouterr().err.startswith("error: MLFLOW_TRACKING_URI: the tracking server")


def test_the_page_has_a_view_of_the_columns_that_matter_first(workspace):
    identity = store.connect()
    tags = mlflow.get_experiment(identity).tags
    view = json.loads(tags["mlflow.sharedViewState.first"])
    assert view["selectedColumns"][0] == "metrics.`leakage/mean`"
    assert "params.`train.lr`" in view["selectedColumns"]


def test_a_server_refuses_a_page_of_another_host(tmp_path):
    """As ``make ui`` starts it: on loopback, for this machine's own browser only."""
    server = Server(tmp_path)
    server.start()
    try:
        url = f"{server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
        assert requests.get(url, timeout=30).status_code == 200
        foreign = requests.get(url, headers={"Host": "evil.example.org"}, timeout=30)
        assert foreign.status_code == 403
    finally:
        server.stop()
    (recipe,) = [
        line
        for line in (ROOT / "Makefile").read_text().splitlines()
        if line.startswith("\tmlflow ui")
    ]
    assert "--host 127.0.0.1" in recipe
