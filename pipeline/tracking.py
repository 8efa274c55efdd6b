"""Where runs live, the run of a model, and what is logged there: MLflow's only caller but one.

One run per trained model, found by the SHA-256 of its weights. No stage depends on the
state of the store: where it has no run of the model, one is opened that says so.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from filelock import FileLock
from mlflow.data.numpy_dataset import NumpyDataset, from_numpy
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from pydantic import BaseModel

from pipeline import registry
from pipeline.artifacts import MODEL, Dataset, repository
from pipeline.params import flat
from vaegan.data import to_unit_range
from vaegan.model import read_description, weights_digest

EXPERIMENT = "vaegan"
MODEL_TAG = registry.DIGEST_TAG
KEY_TAG = "training.key"
# What the pipeline itself writes does not make the user's tree a changed one.
OUTPUTS = ("dvc.lock", "reports")


def connect() -> str:
    """Points MLflow at the user's store and makes sure of the experiment; returns its id.

    ``MLFLOW_TRACKING_URI`` is taken where it is set; else the store is ``mlflow.db`` in the
    user's own repository, with artifacts under ``mlruns/`` beside it, also when a stage runs
    in one of DVC's temporary copies. One process at a time: two that set up a fresh
    store at once would fail.
    """
    root = repository()
    own = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(_absolute(own or "sqlite:///mlflow.db", root))
    (root / "mlruns").mkdir(exist_ok=True)
    with FileLock(root / "mlruns" / ".lock"):
        experiment = mlflow.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            location = None if own else (root / "mlruns").as_uri()
            identity = mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        else:
            identity = experiment.experiment_id
            if experiment.lifecycle_stage == LifecycleStage.DELETED:
                mlflow.MlflowClient().restore_experiment(identity)
    mlflow.set_experiment(experiment_id=identity)
    return identity


def _absolute(uri: str, root: Path) -> str:
    """A relative SQLite file belongs to the user's repository, not to a stage's folder."""
    prefix = "sqlite:///"
    path = uri.removeprefix(prefix)
    return uri if path == uri or path.startswith("/") else f"{prefix}{root / path}"


@contextmanager
def training_run(dataset: Dataset, params: dict[str, Any], about: str, key: str) -> Iterator[Run]:
    """Opens the run of a model that is about to be trained, or that of its unfinished training.

    Ends FINISHED, FAILED after an exception or KILLED after SIGTERM or Ctrl-C, the reason
    in the tag ``failure``.

    Args:
        dataset: What it learns from, logged as MLflow's dataset input.
        params: Flat, logged as the run's parameters.
        about: The run's description.
        key: Digest of what determines the training, see ``checkpoints.training_key``.
    """
    experiment = connect()
    query = f"tags.`{KEY_TAG}` = '{key}' AND attributes.status != 'FINISHED'"
    unfinished = _newest_run(experiment, query)
    tags = origin_tags() | {
        "dataset": dataset.name,
        KEY_TAG: key,
        "mlflow.note.content": about,
    }
    name = None if unfinished else os.environ.get("DVC_EXP_NAME")
    run = mlflow.start_run(unfinished, run_name=name, tags=tags)
    with _ending():
        mlflow.log_params({"dataset": dataset.name} | params)
        mlflow.log_input(_dataset_input(dataset), context="training")
        yield run


@contextmanager
def model_run(dataset: Dataset, stage_params: BaseModel, stage: str) -> Iterator[Run]:
    """Opens the newest run of the model in ``models/``, or a new one where there is none.

    Args:
        dataset: The prepared data set.
        stage_params: The stage's own section, logged as the run's parameters.
        stage: Its name.

    Raises:
        ValueError, FileNotFoundError: ``models/`` does not hold a model.
    """
    experiment = connect()
    digest = weights_digest(MODEL)
    known = _newest_run(experiment, f"tags.`{MODEL_TAG}` = '{digest}'")
    run = mlflow.start_run(run_id=known) if known else _restored_run(dataset, digest)
    with _ending():
        _log_stage_params(run, flat(stage_params, f"{stage}."))
        if os.environ.get("DVC_STAGE"):  # by hand, dvc.lock may tell of another model
            registry.tag_version_of(digest, registry.dvc_lock_tags(Path("dvc.lock")))
        yield run


def _newest_run(experiment: str, query: str) -> str | None:
    """Id of the newest run that a filter finds, None where it finds none."""
    found = mlflow.search_runs(
        [experiment],
        filter_string=query,
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    return found[0].info.run_id if found else None


def _restored_run(dataset: Dataset, digest: str) -> Run:
    """A run, and a registered version, for a model that this store has not seen trained."""
    about = read_description(MODEL)["about"]
    note = (
        "This store holds no run in which this model was trained: it came from DVC's cache "
        "or from another store. Its loss curves are in reports/curves.csv."
    )
    tags = origin_tags() | {"dataset": dataset.name, MODEL_TAG: digest, "mlflow.note.content": note}
    run = mlflow.start_run(run_name=os.environ.get("DVC_EXP_NAME"), tags=tags)
    mlflow.log_params({"dataset": dataset.name} | about.get("params", {}))
    mlflow.log_input(_dataset_input(dataset), context="training")
    example = to_unit_range(torch.from_numpy(dataset.train.images[:8].copy())).numpy()
    registry.register(MODEL, run.info.run_id, registered_tags(run), example)
    return run


def registered_tags(run: Run) -> dict[str, str]:
    """What a registered version tells of its origin: the tags that its run started with."""
    return {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}


@contextmanager
def _ending() -> Iterator[None]:
    """Ends the active run with the status that tells how the block ended."""

    def terminate(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        with suppress(MlflowException):  # where the store is what failed, that is the news
            mlflow.set_tag("failure", f"{type(error).__name__}: {error}"[:500])
            mlflow.end_run("KILLED" if killed else "FAILED")
        raise
    else:
        _remove_tag("failure")
        mlflow.end_run("FINISHED")
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_stage_params(run: Run, params: dict[str, Any]) -> None:
    """Logs a stage's parameters; where the run has another value of one, a tag has the newer."""
    logged = run.data.params
    mlflow.log_params({key: value for key, value in params.items() if key not in logged})
    for key, value in params.items():
        if logged.get(key, str(value)) != str(value):
            mlflow.set_tag(f"now.{key}", str(value))
        else:
            _remove_tag(f"now.{key}")


def _remove_tag(name: str) -> None:
    """Removes a tag of the active run, if it is there."""
    run = mlflow.active_run()
    if run and name in mlflow.get_run(run.info.run_id).data.tags:
        mlflow.delete_tag(name)


def _dataset_input(dataset: Dataset) -> NumpyDataset:
    """MLflow's record of the training images, under a digest of all their bytes.

    MLflow's own digest would read the first few images only.
    """
    arrays = dataset.description["splits"]["train"]["arrays"]
    return from_numpy(
        dataset.train.images,
        targets=dataset.train.labels,
        source=dataset.description["url"],
        name=dataset.name,
        digest=arrays["images"]["sha256"][:16],
    )


def origin_tags() -> dict[str, str]:
    """Where a run comes from: git commit, whether the tree has changes, DVC's experiment.

    To be taken when a run starts: the user may go on editing while it trains.
    """
    tags = {}
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        excluded = [f":(exclude){path}" for path in OUTPUTS]
        changed = _git("status", "--porcelain", "--", ".", *excluded)
        tags = {"git.commit": commit, "git.dirty": str(bool(changed)).lower()}
    for tag, variable in (("dvc.exp", "DVC_EXP_NAME"), ("dvc.baseline", "DVC_EXP_BASELINE_REV")):
        if value := os.environ.get(variable):
            tags[tag] = value
    return tags


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
    """Logs numbers in one call into the open run."""
    mlflow.log_metrics(metrics, step=step)


def last_step(metric: str) -> int:
    """The last step for which the open run has a metric, 0 where it has none."""
    run = mlflow.active_run()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, metric) if run else []
    return max((point.step for point in history), default=0)


def log_results(results: dict[str, Any]) -> None:
    """Logs the content of ``reports/metrics.json``: numbers as metrics, words as tags."""
    words = {name: value for name, value in results.items() if isinstance(value, str)}
    log_metrics({name: value for name, value in results.items() if name not in words})
    tag(words)


@contextmanager
def reporting() -> Iterator[Callable[[int, dict[str, float], np.ndarray], None]]:
    """Logs a training's reports into the open run from a thread of its own, in their order.

    So a slow store costs the training no time. All is logged when the block has ended; where it
    ends by an exception, the report that is being logged is the last.

    Yields:
        A function of step, metrics and sample grid, uint8 (H, W, C), by which the run's page
        can scrub through training. It returns at once.

    Raises:
        MlflowException, OSError: what logging a report raised, at the next one or at the end.
    """
    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("reports are logged into an open run, and none is open")
    client, identity = mlflow.MlflowClient(), run.info.run_id  # the active run is the thread's own
    failures: list[Exception] = []

    def log(step: int, metrics: dict[str, float], samples: np.ndarray) -> None:
        if failures:  # a later point would hide the gap from a training that goes on
            return
        try:  # metrics last: where they are, the grid is
            client.log_image(identity, samples, key="samples", step=step)
            mlflow.log_metrics(metrics, step=step, run_id=identity)
        except Exception as error:  # raised in the training's own thread
            failures.append(error)

    worker = ThreadPoolExecutor(1, "tracking")

    def report(step: int, metrics: dict[str, float], samples: np.ndarray) -> None:
        if failures:
            raise failures[0]
        worker.submit(log, step, metrics, samples)

    try:
        yield report
    except BaseException:  # who stops a training does not wait for a slow store to take it all
        worker.shutdown(cancel_futures=True)
        raise
    worker.shutdown()
    if failures:
        raise failures[0]


def log_file(path: Path, folder: str | None = None) -> None:
    """Logs a file as an artifact of the open run."""
    mlflow.log_artifact(str(path), folder)


def tag(tags: dict[str, str]) -> None:
    """Sets tags on the open run."""
    mlflow.set_tags(tags)
