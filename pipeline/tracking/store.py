"""The tracking store: where it is, whether it answers, and what accidents have left in it.

``python -m pipeline store --moved`` tells the store of a repository that was moved to another
folder where its artifacts are now.
"""

import argparse
import json
import os
import shutil
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

import mlflow
import psutil
import requests
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage, Run

from pipeline.artifacts.paths import repository
from vaegan.evaluation.metrics import OVERVIEW_KEYS

EXPERIMENT = "vaegan"
VIEW_TAG = "mlflow.sharedViewState.first"
SHOWN_PARAMS = ("dataset", "train.lr", "train.seed")
PROCESS_TAG = "process"  # who fills a run: host, number and start of the process, as JSON
FAILURE_TAG = "failure"
ANSWER_WITHIN = 5.0  # seconds in which a tracking server has to answer at all
STARTS_ALIKE = 2.0  # seconds by which two readings of the start of one process may differ
# Where the default store of a repository keeps paths: table and column.
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


class StoreError(ValueError):
    """The tracking store cannot be used as it is."""


def connect() -> str:
    """Points MLflow at the user's store and makes sure of the experiment; returns its id.

    ``MLFLOW_TRACKING_URI`` is taken where it is set; else the store is ``mlflow.db`` in the
    user's own repository, with artifacts under ``mlruns/`` beside it, also when a stage runs
    in one of DVC's temporary copies. One process at a time: two that set up a fresh
    store at once would fail. Runs whose process is gone are ended.

    Raises:
        StoreError: a tracking server does not answer, or the repository was moved.
    """
    root = repository()
    own = os.environ.get("MLFLOW_TRACKING_URI")
    if own:
        _ask(own)
    mlflow.set_tracking_uri(_absolute(own or "sqlite:///mlflow.db", root))
    (root / "mlruns").mkdir(exist_ok=True)
    with FileLock(root / "mlruns" / ".lock"):
        experiment = mlflow.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            location = None if own else (root / "mlruns").as_uri()
            identity = mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        else:
            identity = experiment.experiment_id
            if not own:
                _check_place(experiment, root)
            if experiment.lifecycle_stage == LifecycleStage.DELETED:
                MlflowClient().restore_experiment(identity)
    mlflow.set_experiment(experiment_id=identity)
    _show_first_columns(identity)
    _end_abandoned(identity)
    return identity


def _show_first_columns(experiment: str) -> None:
    """Saves a view of the runs in which the few columns that matter come first.

    MLflow's page keeps a shared view as a tag of the experiment; a link with
    ``?viewStateShareKey=first`` opens it.
    """
    columns = [f"metrics.`{name}`" for name in OVERVIEW_KEYS]
    columns += [f"params.`{name}`" for name in SHOWN_PARAMS] + ["tags.`verdict`"]
    view = json.dumps(
        {"selectedColumns": columns, "orderByKey": "attributes.start_time", "orderByAsc": False}
    )
    client = MlflowClient()
    if client.get_experiment(experiment).tags.get(VIEW_TAG) != view:
        client.set_experiment_tag(experiment, VIEW_TAG, view)


def _absolute(uri: str, root: Path) -> str:
    """A relative SQLite file belongs to the user's repository, not to a stage's folder."""
    prefix = "sqlite:///"
    path = uri.removeprefix(prefix)
    return uri if path == uri or path.startswith("/") else f"{prefix}{root / path}"


def _ask(uri: str) -> None:
    """Finds out at once what MLflow would after minutes of trying again."""
    if not uri.startswith(("http://", "https://")):
        return
    try:
        answer = requests.get(f"{uri.rstrip('/')}/health", timeout=ANSWER_WITHIN)
        reason = f"status {answer.status_code}" if answer.status_code >= 500 else ""
    except requests.exceptions.SSLError:
        return  # it is there; whether to trust it is MLflow's own to find out
    except requests.RequestException as error:
        reason = type(error).__name__
    if reason:
        shown = urlparse(uri)._replace(netloc=urlparse(uri).netloc.rpartition("@")[2]).geturl()
        raise StoreError(
            f"MLFLOW_TRACKING_URI: the tracking server {shown} does not answer ({reason}); start "
            "it, or unset the variable to track in mlflow.db"
        )


def _check_place(experiment: Experiment, root: Path) -> None:
    """The default store's artifacts lie beside it, or it came from another folder."""
    kept = Path(unquote(urlparse(experiment.artifact_location).path))
    if kept != root / "mlruns":
        raise StoreError(
            f"{root / 'mlflow.db'} keeps its artifacts in {kept}, expected {root / 'mlruns'}: was "
            "the repository moved? Then run: python -m pipeline store --moved"
        )


def moved(root: Path) -> int:
    """Rewrites the paths in a repository's default store; returns how many changed.

    The store as it was is kept beside it as ``mlflow.db.before-move``.

    Raises:
        StoreError: there is no store, or it has no experiment of ours.
    """
    path = root / "mlflow.db"
    if not path.is_file():
        raise StoreError(f"{path} is missing: there is no store to move")
    with closing(sqlite3.connect(path)) as store:
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        found = store.execute(query, (EXPERIMENT,)).fetchone()
    if found is None:
        raise StoreError(f"{path} has no experiment {EXPERIMENT}: nothing in it is to be moved")
    old, new = found[0], (root / "mlruns").as_uri()
    shutil.copyfile(path, path.with_name("mlflow.db.before-move"))
    changed = 0
    with closing(sqlite3.connect(path)) as store, store:  # all of it or nothing
        for table, column in PATHS:
            # Names from the constant above; a path is replaced only where it begins a value.
            update = (
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                f"WHERE substr({column}, 1, ?) = ?"
            )
            changed += store.execute(update, (new, len(old) + 1, len(old), old)).rowcount
    return changed


def process_tag() -> dict[str, str]:
    """The tag by which it can be told later whether this process still lives."""
    me = psutil.Process()
    about = {"host": socket.gethostname(), "pid": me.pid, "started": me.create_time()}
    return {PROCESS_TAG: json.dumps(about)}


def _end_abandoned(experiment: str) -> None:
    """Ends, as KILLED, the runs whose process is gone without having ended them."""
    running = mlflow.search_runs(
        [experiment], "attributes.status = 'RUNNING'", output_format="list"
    )
    client = MlflowClient()
    for run in running:
        # Looked at again: it may have ended well between the search and now, but no later.
        if _is_gone(run) and client.get_run(run.info.run_id).info.status == "RUNNING":
            pid = json.loads(run.data.tags[PROCESS_TAG])["pid"]
            reason = f"process {pid} ended without a word: killed, or the machine stopped"
            client.set_tag(run.info.run_id, FAILURE_TAG, reason)
            client.set_terminated(run.info.run_id, "KILLED")


def _is_gone(run: Run) -> bool:
    """Whether a run's process was on this machine and is no more; False where that is unknown."""
    try:
        about = json.loads(run.data.tags[PROCESS_TAG])
        if about["host"] != socket.gethostname():
            return False
        started = psutil.Process(about["pid"]).create_time()
        return abs(started - about["started"]) > STARTS_ALIKE  # another has taken its number
    except psutil.NoSuchProcess:
        return True
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline store", description=__doc__)
    parser.add_argument("--moved", action="store_true", required=True, help="rewrite its paths")
    parser.parse_args(argv)
    try:
        changed = moved(repository())
    except (StoreError, sqlite3.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{changed} paths now point below {repository()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
