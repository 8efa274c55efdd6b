"""The tracking store: where it is, and whether it can be used."""

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import unquote, urlparse

import mlflow
import requests
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage

from pipeline.artifacts.paths import repository
from vaegan.evaluation.metrics import OVERVIEW_KEYS

EXPERIMENT = "vaegan"
VIEW_TAG = "mlflow.sharedViewState.first"
SHOWN_PARAMS = ("dataset", "train.lr", "train.seed")
ANSWER_WITHIN = 5.0  # seconds in which a tracking server has to answer at all


class StoreError(ValueError):
    """The tracking store cannot be used as it is."""


def connect() -> str:
    """Connects MLflow to the user's store and creates the experiment if needed; returns its id.

    ``MLFLOW_TRACKING_URI`` is taken where it is set; else the store is ``mlflow.db`` in the
    user's own repository, with artifacts under ``mlruns/`` beside it, also when a stage runs
    in one of DVC's temporary copies. One process at a time: two that set up a fresh
    store at once would fail.

    Raises:
        StoreError: a tracking server does not answer, or the repository was moved.
    """
    root = repository()
    own = os.environ.get("MLFLOW_TRACKING_URI")
    if own:
        _check_reachable(own)
    mlflow.set_tracking_uri(address())
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
    return identity


def address() -> str:
    """Address of the user's store; the path of a SQLite file is made absolute."""
    own = os.environ.get("MLFLOW_TRACKING_URI")
    return _absolute(own or "sqlite:///mlflow.db", repository())


def store_digest() -> str:
    """Digest of the store's address, which itself may hold a password."""
    return hashlib.sha256(address().encode()).hexdigest()[:16]


def _show_first_columns(experiment: str) -> None:
    """Saves a view of the runs that starts with the headline columns.

    MLflow's page keeps a shared view as a tag of the experiment; a link with
    ``?viewStateShareKey=first`` opens it.
    """
    columns = [f"metrics.`{name}`" for name in OVERVIEW_KEYS]
    columns += [f"params.`{name}`" for name in SHOWN_PARAMS] + ["tags.`verdict`", "tags.`gates`"]
    view = json.dumps(
        {"selectedColumns": columns, "orderByKey": "attributes.start_time", "orderByAsc": False}
    )
    client = MlflowClient()
    if client.get_experiment(experiment).tags.get(VIEW_TAG) != view:
        client.set_experiment_tag(experiment, VIEW_TAG, view)


def _absolute(uri: str, root: Path) -> str:
    """Resolves a relative SQLite path against the user's repository."""
    prefix = "sqlite:///"
    path = uri.removeprefix(prefix)
    return uri if path == uri or path.startswith("/") else f"{prefix}{root / path}"


def _check_reachable(uri: str) -> None:
    """Fails fast if the tracking server is unreachable; MLflow would retry for minutes."""
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
    """Raises StoreError if the default store keeps its artifacts in another folder."""
    kept = Path(unquote(urlparse(experiment.artifact_location).path))
    if kept != root / "mlruns":
        raise StoreError(
            f"{root / 'mlflow.db'} keeps its artifacts in {kept}, expected {root / 'mlruns'}: was "
            "the repository moved? Then run: python -m pipeline track"
        )


def set_aside_moved() -> Path | None:
    """Renames the default store of a repository that was moved; returns its new name.

    MLflow keeps absolute paths of artifacts, so such a store finds none of them.

    Returns:
        ``mlflow.db.before-move``, with a number if there is one already; None if the user's store
        is another one, or lies where it was made.
    """
    path = repository() / "mlflow.db"
    if os.environ.get("MLFLOW_TRACKING_URI") or not path.is_file():
        return None
    # Another spelling of the address: MLflow keeps the file open that has this one.
    uri = f"sqlite:///{path.parent}/./{path.name}"
    experiment = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    try:
        _check_place(experiment, repository())
    except StoreError:
        aside = path.with_name("mlflow.db.before-move")
        number = 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"mlflow.db.before-move-{number}")
        path.rename(aside)
        return aside
    return None
