"""The tracking store after accidents: runs without their process, a moved repository, no server."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow import MlflowClient

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.paths import MODEL
from pipeline.tracking import registry, store
from pipeline.tracking import runs as tracking
from pipeline.tracking.store import StoreError
from tests.pipeline.server import Server
from vaegan.model.vae import weights_digest

ROOT = Path(__file__).parents[3]


def in_process(code: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_a_killed_process_leaves_its_run_killed_and_not_running_for_ever(workspace):
    code = """
import time
from pipeline import artifacts, tracking
with tracking.training_run(read_dataset(), {}, "", "key", {}) as training:
    print(training.run.info.run_id, flush=True)
    time.sleep(600)
"""
    with in_process(code) as process:
        run_id = process.stdout.readline().strip()
        store.connect()
        assert mlflow.get_run(run_id).info.status == "RUNNING"  # it lives: its run is left alone
        process.send_signal(signal.SIGKILL)
        process.wait()
    store.connect()
    run = mlflow.get_run(run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["failure"].startswith(f"process {process.pid} ended without a word")
    # The next of this training goes on in it.
    with tracking.training_run(read_dataset(), {}, "", "key", {}) as training:
        assert training.run.info.run_id == run_id


def test_a_run_of_a_process_that_lives_is_not_taken_over(workspace):
    dataset = read_dataset()
    store.connect()
    client = MlflowClient()
    tags = {tracking.KEY_TAG: "key"} | store.process_tag()
    run = client.create_run(store.connect(), tags=tags)
    with tracking.training_run(dataset, {}, "", "key", {}) as training:
        assert training.run.info.run_id != run.info.run_id
    assert client.get_run(run.info.run_id).info.status == "RUNNING"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"host": "another machine"}, "RUNNING"),  # who knows
        ({"started": 1.0}, "KILLED"),  # another process has taken its number
        ({"pid": "?"}, "RUNNING"),
    ],
)
def test_only_a_process_that_is_surely_gone_counts_as_gone(workspace, change, status):
    about = json.loads(store.process_tag()[store.PROCESS_TAG]) | change
    identity, client = store.connect(), MlflowClient()
    run = client.create_run(identity, tags={store.PROCESS_TAG: json.dumps(about)})
    store.connect()
    assert client.get_run(run.info.run_id).info.status == status


def test_a_server_that_does_not_answer_is_told_at_once(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(StoreError, match=r"server http://127.0.0.1:9 does not answer \(Connec"):
        store.connect()
    assert time.monotonic() - begun < 3 * store.ANSWER_WITHIN


@pytest.fixture
def moved(tmp_path, monkeypatch, workspace) -> Path:
    """A repository with a tracked and registered model, after it was moved to another folder."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    for name in (MODEL, Path("data")):
        shutil.copytree(workspace / name, before / name)
    monkeypatch.chdir(before)
    dataset = read_dataset()
    with tracking.training_run(dataset, {}, "", "key", {}) as training:
        tracking.log_file(MODEL / "model.json", "files")
        images = dataset.train.images[:2].astype("float32") / 255
        registry.register(MODEL, training.run.info.run_id, {"dataset": "bars"}, images)
    mlflow.set_tracking_uri(None)
    before.rename(after)
    monkeypatch.chdir(after)
    return after


def test_a_moved_repository_is_told_what_to_do_and_nothing_is_touched(moved, capsys):
    content = (moved / "mlflow.db").read_bytes()
    with pytest.raises(StoreError, match=r"before/mlruns, expected .*after/mlruns: was the"):
        store.connect()
    assert (moved / "mlflow.db").read_bytes() == content
    assert not (moved.parent / "before").exists()


def test_a_moved_repository_finds_its_artifacts_and_models_again(moved, capsys):
    assert store.main(["--moved"]) == 0
    assert "paths now point below" in capsys.readouterr().out
    store.connect()
    (run,) = mlflow.search_runs([store.connect()], output_format="list")
    assert Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id,
                artifact_path="files/model.json")).read_text()  # fmt: skip
    loaded = registry.load()
    images = read_dataset().test.images[:3].astype("float32") / 255
    assert loaded.predict(images).shape == images.shape
    assert registry.version_of(weights_digest(MODEL)).source
    assert (moved / "mlflow.db.before-move").is_file()
    with closing(sqlite3.connect(moved / "mlflow.db")) as database:
        dump = "\n".join(database.iterdump())
    assert (moved.parent / "before").as_uri() not in dump


def test_a_folder_without_a_store_has_nothing_to_move(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert store.main(["--moved"]) == 1
    assert "mlflow.db is missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
