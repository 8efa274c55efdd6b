"""What a tracking store has not taken: sent when it answers again, or by the next stage."""

import shutil
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from pipeline.artifacts.files import atomic_folder, read_array, read_json, write_array, write_json
from pipeline.artifacts.paths import CURVES, MODEL, repository
from pipeline.tracking import registry
from pipeline.tracking.store import FAILURE_TAG, PROCESS_TAG

LOST = (MlflowException, OSError)  # what a store that is gone, or full, raises
SHOWN = 200  # characters of what a lost store says: it says much
RETRY_AFTER = 30.0  # seconds that reports are only collected after the store was found lost
FOLDER = Path("mlruns/.unsent")  # below the user's repository; a folder per run
ABOUT, SAMPLES = "finish.json", "finish.npy"


@dataclass(frozen=True)
class Report:
    """A report of a training: what is logged for one step."""

    step: int
    metrics: dict[str, float]
    samples: np.ndarray  # uint8 (H, W, C)


@dataclass(frozen=True)
class Finish:
    """What is logged once a model is trained.

    Attributes:
        model: Digest of its weights.
        fitted: Losses of what was fitted last.
        step: Steps of the training.
        tags: Digests of what it was made from and of what it made.
    """

    model: str
    fitted: dict[str, float]
    step: int
    tags: dict[str, str]


class Reporter:
    """Logs reports into a run from a thread of its own, in their order.

    Args:
        run_id: Of the run.
        after: The last step that the run has a report of: no report is logged twice.

    Attributes:
        backlog: Reports that the store has not taken, the oldest first. None of them is passed over
            for a later one, so what the run has is always the beginning of the whole.
    """

    def __init__(self, run_id: str, after: int = 0) -> None:
        self.run_id, self.after = run_id, after
        self.backlog: deque[Report] = deque()
        self.faults: list[Exception] = []
        self.lost_at: float | None = None
        self.worker = ThreadPoolExecutor(1, "tracking")

    def __call__(self, step: int, metrics: dict[str, float], samples: np.ndarray) -> None:
        """Takes a report and returns at once.

        Args:
            step: Steps done.
            metrics: By name.
            samples: Sample grid, uint8 (H, W, C), by which the run's page can scrub through it.
        """
        self._raise_faults()
        if step > self.after:
            self.worker.submit(self._take, Report(step, metrics, samples))

    def wait(self) -> None:
        """Returns when all that could be sent has been."""
        self.worker.submit(self._send)
        self.worker.shutdown()
        self._raise_faults()

    def stop(self) -> None:
        """Returns when the report that is being sent has been; those behind it are dropped."""
        self.worker.shutdown(cancel_futures=True)

    def _take(self, report: Report) -> None:
        self.backlog.append(report)
        # A store that is silent, not gone, costs minutes to ask: not once for every report.
        if self.lost_at is None or time.monotonic() - self.lost_at > RETRY_AFTER:
            self._send()

    def _send(self) -> None:
        waiting = len(self.backlog)
        try:
            while self.backlog:
                send_report(self.run_id, self.backlog[0])
                self.backlog.popleft()
        except LOST as error:
            if self.lost_at is None:
                step, reason = self.backlog[0].step, str(error)[:SHOWN]
                _say(f"the tracking store was lost at step {step}, training goes on: {reason}")
            self.lost_at = time.monotonic()
        except Exception as error:  # a fault of ours: raised in the training's own thread
            self.faults.append(error)
        else:
            if self.lost_at is not None and waiting:
                _say(f"the tracking store is back: sent {waiting} reports")
            self.lost_at = None

    def _raise_faults(self) -> None:
        if self.faults:
            raise self.faults[0]


def send_report(run_id: str, report: Report) -> None:
    """Logs a report: metrics last, so where they are, the sample grid is."""
    MlflowClient().log_image(run_id, report.samples, key="samples", step=report.step)
    mlflow.log_metrics(report.metrics, step=report.step, run_id=run_id)


def send_finish(
    run_id: str, finish: Finish, samples: np.ndarray, model: Path = MODEL, curves: Path = CURVES
) -> None:
    """Logs the curves and last losses of a training, and registers its model.

    The run is tagged with the model's digest last: a run that has it has a version.

    Args:
        run_id: Of the run.
        finish: What to log.
        samples: Some images, float32 (N, C, H, W) in [0, 1].
        model: Folder of the trained model.
        curves: File of the loss curves.
    """
    client = MlflowClient()
    if finish.fitted:
        mlflow.log_metrics(finish.fitted, step=finish.step, run_id=run_id)
    client.log_artifact(run_id, str(curves), "curves")
    known = registry.version_of(finish.model)
    if known is not None and known.run_id == run_id:  # it was lost, or killed, after that
        registry.make_candidate(known)
    else:
        tags = registered_tags(client.get_run(run_id)) | finish.tags
        registry.register(model, run_id, tags, samples, step=finish.step)
    for name, value in (finish.tags | {registry.DIGEST_TAG: finish.model}).items():
        client.set_tag(run_id, name, value)


def registered_tags(run: Run) -> dict[str, str]:
    """What a registered version tells of its origin: its run's tags, but for passing ones."""
    passing = (PROCESS_TAG, FAILURE_TAG)
    return {
        name: value
        for name, value in run.data.tags.items()
        if not name.startswith("mlflow.") and name not in passing
    }


def keep(run_id: str, backlog: list[Report], finish: Finish, samples: np.ndarray) -> None:
    """Keeps for the next stage what the store has not taken, model and curves included.

    Another stage, or another experiment, may be the next: by then these may be gone.
    """
    with atomic_folder(repository() / FOLDER / run_id) as folder:
        for report in backlog:
            write_json(folder / f"{report.step:09d}.json", report.metrics)
            write_array(folder / f"{report.step:09d}.npy", report.samples)
        shutil.copytree(MODEL, folder / MODEL.name)
        shutil.copy(CURVES, folder / CURVES.name)
        write_array(folder / SAMPLES, samples)
        about = asdict(finish) | {"tracking_uri": mlflow.get_tracking_uri()}
        write_json(folder / ABOUT, about)
    _say(
        f"the tracking store has not taken {len(backlog)} reports and the model: "
        "the next stage sends them"
    )


def send_all() -> None:
    """Sends what earlier stages have kept for this store; what has been taken is forgotten.

    Raises:
        MlflowException, OSError: the store is still lost; all stays as it was.
    """
    root = repository() / FOLDER
    if not root.is_dir():
        return
    with FileLock(root / ".lock"):  # of two stages that start at once, one sends
        for folder in sorted(root.glob("[!.]*")):
            about = read_json(folder / ABOUT)
            if about.pop("tracking_uri") == mlflow.get_tracking_uri():
                _send_kept(folder, about)


def _send_kept(folder: Path, about: dict[str, Any]) -> None:
    run_id = folder.name
    if not _is_there(run_id):
        aside = folder.with_name(f".{run_id}")
        folder.replace(aside)
        _say(f"run {run_id} was deleted: what its store had missed stays in {aside}")
        return
    taken = last_step(run_id)
    for path in sorted(folder.glob("[0-9]*.json")):
        step = int(path.stem)
        if step > taken:
            samples = np.array(read_array(path.with_suffix(".npy")))
            send_report(run_id, Report(step, read_json(path), samples))
    samples = np.array(read_array(folder / SAMPLES))
    kept = folder / MODEL.name, folder / CURVES.name
    send_finish(run_id, Finish(**about), samples, *kept)
    client = MlflowClient()
    if FAILURE_TAG in client.get_run(run_id).data.tags:  # it seemed to have ended without a word
        client.delete_tag(run_id, FAILURE_TAG)
    client.set_terminated(run_id, "FINISHED")
    shutil.rmtree(folder)
    _say(f"sent what the tracking store had missed of run {run_id}")


def _is_there(run_id: str) -> bool:
    """Whether a store has a run, and not as a deleted one."""
    try:
        return MlflowClient().get_run(run_id).info.lifecycle_stage == LifecycleStage.ACTIVE
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return False
        raise


def last_step(run_id: str, metric: str = "lr") -> int:
    """The last step for which a run has a metric, 0 where it has none."""
    history = MlflowClient().get_metric_history(run_id, metric)
    return max((point.step for point in history), default=0)


def _say(text: str) -> None:
    print(f"WARNING: {text}", file=sys.stderr, flush=True)
