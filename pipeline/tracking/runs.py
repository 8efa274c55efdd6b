"""The run of a model and what is logged there.

One run per trained model, found by the SHA-256 of its weights. No stage depends on the
state of the store: where it has no run of the model, one is opened that says so.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.data.numpy_dataset import NumpyDataset, from_numpy
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.artifacts.dataset import Dataset
from pipeline.artifacts.files import tree_digest
from pipeline.artifacts.paths import CURVES, MODEL, PREPARED
from pipeline.params import flat
from pipeline.tracking import registry, unsent
from pipeline.tracking.provenance import origin, params_digest
from pipeline.tracking.store import FAILURE_TAG, connect, process_tag
from pipeline.tracking.unsent import LOST, Finish, Reporter
from vaegan.data import to_unit_range
from vaegan.model.vae import read_description, weights_digest

MODEL_TAG = registry.DIGEST_TAG
KEY_TAG = "training.key"
EXPERIMENT_TAG, ALSO_TAG = "dvc.exp", "dvc.exp.also"
OUTPUT_PREFIX = "sha256."
PATCH = "origin/changes.patch"
SAME_TREE = ("git.commit", "patch.sha256")


class Training:
    """The open run of a training: takes its reports, and what it ends with.

    A store that is lost on the way costs the training nothing: what it did not take is kept, and
    sent when it answers again, or by the next stage.

    Attributes:
        run: As it was when it was opened.
        logged: The last step that it has a report of; 0 in a new one.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.logged = unsent.last_step(run.info.run_id)
        self.reporter = Reporter(run.info.run_id, self.logged)

    @contextmanager
    def reporting(self) -> Iterator[Reporter]:
        """Logs reports from a thread of its own, in their order, while the block runs.

        So a slow store costs the training no time. At the end all is logged, unless the store is
        lost; where the block ends by an exception, the report that is being logged is the last.
        """
        try:
            yield self.reporter
        except BaseException:  # who stops a training does not wait for a slow store to take it all
            self.reporter.stop()
            raise
        self.reporter.wait()

    def finish(self, fitted: dict[str, float], step: int, samples: np.ndarray) -> None:
        """Logs and registers the trained model that lies in ``models/``.

        Args:
            fitted: Losses of what was fitted last.
            step: Steps of the training.
            samples: Some images, float32 (N, C, H, W) in [0, 1].
        """
        identity = self.run.info.run_id
        digests = output_tags(PREPARED, MODEL, CURVES)
        finish = Finish(weights_digest(MODEL), fitted, step, digests)
        if not self.reporter.backlog:
            with suppress(*LOST):
                unsent.send_finish(identity, finish, samples)
                return
        unsent.keep(identity, list(self.reporter.backlog), finish, samples)


@contextmanager
def training_run(
    dataset: Dataset, params: dict[str, Any], about: str, key: str, tags: dict[str, str]
) -> Iterator[Training]:
    """Opens the run of a model that is about to be trained, or that of its unfinished training.

    Ends FINISHED, FAILED after an exception or KILLED after SIGTERM or Ctrl-C, the reason
    in the tag ``failure``.

    Args:
        dataset: What it learns from, logged as MLflow's dataset input.
        params: Flat, logged as the run's parameters.
        about: The run's description.
        key: Digest of what determines the training, see ``checkpoints.training_key``.
        tags: Of the run, and later of the registered version.

    Raises:
        StoreError: the store cannot be used; then nothing has been trained.
    """
    experiment = connect()
    unsent.send_all()
    where = origin()
    tags = (
        where.tags
        | tags
        | data_tags(dataset, params)
        | {
            KEY_TAG: key,
            "mlflow.note.content": about,
        }
    )
    name = os.environ.get("DVC_EXP_NAME")
    if name:  # also where an experiment goes on with what another has begun
        tags["mlflow.runName"] = name
    with _ending(may_be_lost=True):
        run = mlflow.start_run(_unfinished_run(experiment, key), tags=tags | process_tag())
        mlflow.log_params({"dataset": dataset.name} | params)
        mlflow.log_input(_dataset_input(dataset), context="training")
        if where.patch:
            _log_bytes(where.patch, PATCH)
        yield Training(mlflow.get_run(run.info.run_id))


def data_tags(dataset: Dataset, params: dict[str, Any]) -> dict[str, str]:
    """What a model was made from: name and digest of the data set, digest of the parameters."""
    images = dataset.description["splits"]["train"]["arrays"]["images"]
    return {
        "dataset": dataset.name,
        "data.sha256": images["sha256"],
        "params.sha256": params_digest(params),
    }


def _unfinished_run(experiment: str, key: str) -> str | None:
    """The newest run of this very training that was stopped; None where there is none.

    A run that is still RUNNING belongs to another process that does the same.
    """
    return _newest_run(
        experiment,
        f"tags.`{KEY_TAG}` = '{key}' AND attributes.status != 'RUNNING' "
        "AND attributes.status != 'FINISHED'",
    )


@contextmanager
def model_run(dataset: Dataset, stage_params: Any, stage: str) -> Iterator[Run]:
    """Opens the newest run of the model in ``models/``, or a new one where there is none.

    Args:
        dataset: The prepared data set.
        stage_params: The stage's own section, logged as the run's parameters.
        stage: Its name.

    Raises:
        ValueError, FileNotFoundError: ``models/`` does not hold a model.
        StoreError: the store cannot be used.
    """
    experiment = connect()
    unsent.send_all()
    digest = weights_digest(MODEL)
    known = _newest_run(experiment, f"tags.`{MODEL_TAG}` = '{digest}'")
    with _ending():
        run = mlflow.start_run(run_id=known) if known else _restored_run(dataset)
        mlflow.set_tags(process_tag() | _names(run))
        if registry.version_of(digest) is None:
            registry.register(MODEL, run.info.run_id, unsent.registered_tags(run), _some(dataset))
        mlflow.set_tag(MODEL_TAG, digest)
        _log_stage_params(run, flat(stage_params, f"{stage}."))
        if os.environ.get("DVC_STAGE"):  # by hand, dvc.lock may tell of another model
            registry.tag_version_of(digest, registry.dvc_lock_tags(Path("dvc.lock")))
        yield run


def _names(run: Run) -> dict[str, str]:
    """A tag with the experiments that came to this very model, beside the one that trained it."""
    name, tags = os.environ.get("DVC_EXP_NAME"), run.data.tags
    also = [other for other in tags.get(ALSO_TAG, "").split(", ") if other]
    if not name or name == tags.get(EXPERIMENT_TAG) or name in also:
        return {}
    return {ALSO_TAG: ", ".join([*also, name])}


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


def _restored_run(dataset: Dataset) -> Run:
    """Opens a run for a model that this store has not seen trained."""
    params = read_description(MODEL)["about"].get("params", {})
    note = (
        "This store holds no run in which this model was trained: it came from DVC's cache "
        "or from another store. Its loss curves are in reports/curves.csv."
    )
    made = output_tags(PREPARED, MODEL, *(path for path in (CURVES,) if path.exists()))
    tags = origin().tags | data_tags(dataset, params) | made | {"mlflow.note.content": note}
    run = mlflow.start_run(run_name=os.environ.get("DVC_EXP_NAME"), tags=tags)
    mlflow.log_params({"dataset": dataset.name} | params)
    mlflow.log_input(_dataset_input(dataset), context="training")
    return run


def _some(dataset: Dataset) -> np.ndarray:
    """A few images, float32 (N, C, H, W) in [0, 1], as an example of what a model takes."""
    return to_unit_range(torch.from_numpy(dataset.train.images[:8].copy())).numpy()


@contextmanager
def _ending(may_be_lost: bool = False) -> Iterator[None]:
    """Ends the active run with the status that tells how the block ended.

    Args:
        may_be_lost: Whether a store that does not take the end of a block that succeeded is no
            fault: what it has missed is kept.
    """

    def terminate(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        reason = f"{type(error).__name__}: {error}"[:500]
        # Where the store is what failed, that is the news, not that it does not take it either.
        _end("KILLED" if killed else "FAILED", reason, LOST)
        raise
    else:
        _end("FINISHED", None, LOST if may_be_lost else ())
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(status: str, failure: str | None, allowed: tuple[type[Exception], ...]) -> None:
    """Ends the active run, if there is one; a second Ctrl-C or SIGTERM waits until that is done."""
    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in both]
    try:
        if mlflow.active_run() is None:
            return
        with suppress(*allowed):
            if failure is None:
                _remove_tag(FAILURE_TAG)
            else:
                mlflow.set_tag(FAILURE_TAG, failure)
        with suppress(*allowed):
            mlflow.end_run(status)
    finally:
        for number, handler in zip(both, before, strict=True):
            signal.signal(number, handler)


def _log_stage_params(run: Run, params: dict[str, Any]) -> None:
    """Logs a stage's parameters; where the run has another value of one, a tag has the newer."""
    logged = run.data.params
    new = {key: value for key, value in params.items() if key not in logged}
    try:
        mlflow.log_params(new)
    except MlflowException:  # another stage of this model has logged them since, at once
        logged = mlflow.get_run(run.info.run_id).data.params
        if not new.keys() <= logged.keys():
            raise
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


def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
    """Logs numbers in one call into the open run."""
    mlflow.log_metrics(metrics, step=step)


def last_step(metric: str) -> int:
    """The last step for which the open run has a metric, 0 where it has none."""
    run = mlflow.active_run()
    return unsent.last_step(run.info.run_id, metric) if run else 0


def log_results(results: dict[str, Any]) -> None:
    """Logs the content of ``reports/metrics.json``: numbers as metrics, words as tags."""
    words = {name: value for name, value in results.items() if isinstance(value, str)}
    log_metrics({name: value for name, value in results.items() if name not in words})
    tag(words)


def output_tags(*paths: Path) -> dict[str, str]:
    """Tags that hold what came out of a stage: the digest of each file or folder."""
    return {f"{OUTPUT_PREFIX}{path}": tree_digest(path) for path in paths}


def log_outputs(*paths: Path) -> None:
    """Tags the open run, and the model's version, with the digests of what a stage has made.

    Only if the tree is the one that the model was trained from: a version's digests are what
    running its commit has to give again.
    """
    run, now = mlflow.active_run(), origin().tags
    if run is None:
        return
    if any(run.data.tags.get(name) != now.get(name) for name in SAME_TREE):
        print(
            "note: the tree is not the one that this model was trained from, so its version does "
            f"not record {', '.join(map(str, paths))}",
            file=sys.stderr,
        )
        return
    tags = output_tags(*paths)
    mlflow.set_tags(tags)
    registry.tag_version_of(weights_digest(MODEL), tags)


def log_file(path: Path, folder: str | None = None) -> None:
    """Logs a file as an artifact of the open run."""
    mlflow.log_artifact(str(path), folder)


def tag(tags: dict[str, str]) -> None:
    """Sets tags on the open run."""
    mlflow.set_tags(tags)


def _log_bytes(content: bytes, path: str) -> None:
    """Logs bytes as an artifact of the open run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        file.write_bytes(content)
        mlflow.log_artifact(str(file), str(Path(path).parent))
