"""The tracking store after accidents: a vanished process, a moved repository, no server."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pytest
import requests
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from sqlalchemy.exc import OperationalError

from pipeline import run
from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import METRICS, MODEL
from pipeline.tools import compare, reproduce, track
from pipeline.tracking import champion, registry, store
from pipeline.tracking.store import StoreError
from tests.pipeline.conftest import SHIPPED
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


def test_the_run_of_a_killed_process_is_closed_as_killed(told):
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


def test_an_unreachable_server_is_reported_immediately(workspace, monkeypatch):
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


def test_a_moved_repository_gives_instructions_and_changes_nothing(moved):
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


def test_outputs_without_a_journal_are_tracked(workspace, capsys):
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


def test_an_empty_folder_has_nothing_to_track(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert track.main([]) == 0
    assert "compared 0 journals" in capsys.readouterr().out


GARBAGE = "mlflow.db is damaged, or no SQLite database; move it away: python -m pipeline track then"


@pytest.mark.parametrize(
    "command",
    [
        lambda: track.main([]),
        lambda: champion.main([]),
        lambda: champion.main(["--set", "1"]),
        lambda: compare.main([]),
        lambda: reproduce.main(["--version", "1"]),
        lambda: run.run_stage("encode"),
    ],
    ids=["track", "champion", "champion --set", "compare", "reproduce", "encode"],
)
def test_every_command_names_a_store_that_is_none_in_one_line(workspace, capsys, command):
    Path("params.yaml").write_text(SHIPPED.read_text())
    Path("mlflow.db").write_text("garbage\n" * 100)
    assert command() in (1, 2)
    said = capsys.readouterr().err.splitlines()
    (line,) = [line for line in said if not line.startswith("WARNING: ")]  # no git repository here
    assert line.startswith(f"error: the tracking store {workspace}/{GARBAGE}")
    assert Path("mlflow.db").read_text() == "garbage\n" * 100


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("postgresql://me:secret@127.0.0.1/db?password=secret", "needs the Python module psycopg"),
        ("postgresql+nope://me:secret@host/db", "has no valid address: Can't load plugin"),
        ("mysql+pymysql://me:secret@host/db", "needs the Python module pymysql, which is missing"),
        ("htp://me:secret@host", "htp://host is of the unknown kind htp; expected one of http, "),
        ("localhost:5000", "is http://localhost:5000 meant?"),
        ("127.0.0.1:5000", "is http://127.0.0.1:5000 meant?"),
        ("file:///somewhere", "is a folder, in which MLflow no longer tracks; set sqlite:///PATH"),
        ("mlruns", "the tracking store mlruns is a folder, in which MLflow no longer tracks"),
        ("sqlite:////nowhere/at/all.db", "lies in a folder that does not exist, /nowhere/at"),
        ("sqlite:///data", "data is a folder, expected a SQLite file"),
        ("sqlite://", "lies in memory, where runs are lost"),
        ("sqlite:///:memory:", "lies in memory, where runs are lost"),
        ("http://[bad", "has no valid address"),
        ("http://127.0.0.1:99999", "has no valid address"),
        (
            "http://me:secret@127.0.0.1:9",
            r"http://127.0.0.1:9 does not answer \(ConnectionE",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line_without_its_password(
    workspace, monkeypatch, uri, message
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = {path.name for path in workspace.iterdir()} | {"mlruns"}
    with pytest.raises(StoreError, match=message) as refusal:
        store.connect()
    said = str(refusal.value)
    assert said.startswith("MLFLOW_TRACKING_URI: the tracking s")
    assert "\n" not in said
    assert "secret" not in said
    assert {path.name for path in workspace.iterdir()} == before


def test_an_empty_file_is_a_new_store(workspace):
    Path("mlflow.db").write_bytes(b"")
    assert store.connect() == "1"


def test_the_database_of_another_program_is_left_alone(workspace):
    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("CREATE TABLE photos (name)")
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(StoreError, match=r"belongs to another program \(it has the tables photos"):
        store.connect()
    assert Path("mlflow.db").read_bytes() == before


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        (
            "an older",
            "older than .*take a backup, then run: mlflow db upgrade sqlite:///.*mlflow.db",
        ),
        ("0123456789ab", "newer than .*0123456789ab.*; install that MLflow"),
    ],
)
def test_the_database_of_another_mlflow_is_not_changed(workspace, revision, message):
    store.connect()
    versions = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    older = [script.revision for script in versions.walk_revisions()][3]
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute(
            "UPDATE alembic_version SET version_num = ?", [older if " " in revision else revision]
        )
        database.commit()
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(StoreError, match=message) as refusal:
        store.connect()
    assert ("upgrade" in str(refusal.value)) == (" " in revision)
    assert Path("mlflow.db").read_bytes() == before


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_database_that_another_program_has_locked_is_told_within_seconds(
    workspace, monkeypatch, capfd, lock
):
    store.connect()
    monkeypatch.setattr(store, "LOCKED_FOR", 0.2)
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        with pytest.raises(StoreError, match="mlflow.db is locked by another program; close that"):
            store.connect()
    store.connect()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize(
    ("path", "mode", "message"),
    [
        ("mlflow.db", 0o400, "is read-only; make it writable"),
        ("mlflow.db", 0o000, "cannot be opened; check the permissions"),
        (".", 0o500, "lies in a folder that cannot be written; make it writable"),
    ],
)
def test_a_store_without_permissions_is_one_line(workspace, path, mode, message):
    store.connect()
    Path(path).chmod(mode)
    try:
        with pytest.raises(StoreError, match=message):
            store.connect()
    finally:
        Path(path).chmod(0o700)


def test_a_driver_that_finds_a_database_read_only_is_understood():
    error = sqlite3.OperationalError("attempt to write a readonly database")
    assert store._explain(error, "") == ("is read-only", "make it writable")


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        ("database is locked", True),
        ("database table is locked: runs", True),
        ("Host 'a' is blocked because of many connection errors", False),
        ("Access denied, this account is locked", False),
    ],
)
def test_only_a_locked_database_is_called_locked(text, locked):
    fault, _ = store._explain(sqlite3.OperationalError(text), "")
    assert (fault == "is locked by another program") == locked


class Answers(BaseHTTPRequestHandler):
    """A web server that is no tracking server: answers as its address says."""

    def do_GET(self) -> None:
        status, kind, content = ANSWERS[self.path.split("/")[1]][:3]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


PAGE = b"<html><body>Sign in</body></html>"
ANSWERS = {
    "page": (200, "text/html", PAGE, "is no MLflow server (status 200, text/html); correct the a"),
    "api": (200, "application/json", b'{"ok": true}', "is no MLflow server (status 200, applicati"),
    "empty": (200, "text/plain", b"", "is no MLflow server (status 200, text/plain)"),
    "missing": (404, "text/html", PAGE, "is no MLflow server (status 404, text/html)"),
    "sign-in": (401, "text/html", PAGE, "refuses access (status 401); set MLFLOW_TRACKING_USERNAM"),
    "host": (403, "text/plain", b"Invalid Host header", "(status 403: Invalid Host header); set "),
    "broken": (
        500,
        "text/html",
        PAGE,
        "does not answer (status 500); see its log; start it",
    ),
    "busy": (503, "text/plain", b"later", "does not answer (status 503)"),
}


@pytest.fixture(scope="module")
def elsewhere():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_server_that_is_no_tracking_server_is_one_line(workspace, monkeypatch, elsewhere, kind):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{elsewhere}/{kind}")
    with pytest.raises(StoreError) as refusal:
        store.connect()
    said = str(refusal.value)
    assert said.startswith(f"MLFLOW_TRACKING_URI: the tracking server http://{elsewhere}/{kind} ")
    assert ANSWERS[kind][3] in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "fault",
    [
        OperationalError("INSERT INTO runs", {}, sqlite3.OperationalError("database is locked")),
        MlflowException("postgresql://me:secret@host/db\nis gone"),
        ImportError("no module named psycopg"),
    ],
)
def test_whatever_a_store_raises_later_is_one_line_too(workspace, monkeypatch, fault):
    def fail(*_, **__) -> None:
        raise fault

    store.connect()
    monkeypatch.setattr(utils, "_verify_schema", fail)  # MLflow calls it for each new store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/other.db")
    with pytest.raises(StoreError, match=r"other.db failed: .*; python -m pipeline track") as told:
        store.connect()
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)


def test_a_mistake_of_ours_is_not_told_as_a_fault_of_the_store(workspace):
    with pytest.raises(ZeroDivisionError), store.one_line():
        raise ZeroDivisionError


def test_artifacts_of_a_users_own_database_lie_in_the_repository_not_in_a_copy(
    workspace, monkeypatch
):
    copy = workspace / ".dvc/tmp/exps/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/own.db")
    monkeypatch.chdir(copy)
    experiment = mlflow.get_experiment(store.connect())
    assert experiment.artifact_location == (workspace / "mlruns").as_uri()


def test_track_reports_an_unreachable_server(workspace, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert track.main([]) == 1
    assert capsys.readouterr().err.startswith("error: MLFLOW_TRACKING_URI: the tracking server")


def test_mlflows_page_has_a_view_with_the_main_columns_first(workspace):
    identity = store.connect()
    tags = mlflow.get_experiment(identity).tags
    view = json.loads(tags["mlflow.sharedViewState.first"])
    # The description begins with the verdict; the page shows it before the metrics.
    first, second, *_ = view["selectedColumns"]
    assert (first, second) == ("attributes.`Description`", "metrics.`leakage/mean`")
    assert "params.`train.lr`" in view["selectedColumns"]


def test_mlflow_rejects_requests_under_another_host_name(tmp_path):
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
