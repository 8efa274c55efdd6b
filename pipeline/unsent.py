"""What a tracking store has not taken: sent when it answers again, or by the next stage."""

import shutil
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline import registry
from pipeline.artifacts import CURVES, MODEL, repository
from pipeline.files import read_array, read_json, whole_folder, write_array, write_json
from pipeline.store import FAILURE_TAG, PROCESS_TAG
from vaegan.model import weights_digest

LOST = (MlflowException, OSError)  # what a store that is gone, or full, raises
SHOWN = 200  # characters of what a lost store says: it says much
FOLDER = Path("mlruns/.unsent")  # below the user's repository; a folder per run


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
        samples: Some images, float32 (N, C, H, W) in [0, 1].
    """

    model: str
    fitted: dict[str, float]
    step: int
    tags: dict[str, str]
    samples: np.ndarray


class Reporter:
    """Logs reports into a run from a thread of its own, in their order.

    Attributes:
        backlog: Reports that the store has not taken, the oldest first. None of them is passed over
            for a later one, so what the run has is always the beginning of the whole.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.backlog: deque[Report] = deque()
        self.faults: list[Exception] = []
        self.worker = ThreadPoolExecutor(1, "tracking")

    def __call__(self, step: int, metrics: dict[str, float], samples: np.ndarray) -> None:
        """Takes a report and returns at once.

        Args:
            step: Steps done.
            metrics: By name.
            samples: Sample grid, uint8 (H, W, C), by which the run's page can scrub through it.
        """
        self._raise_faults()
        self.worker.submit(self._send, Report(step, metrics, samples))

    def wait(self) -> None:
        """Returns when all that could be sent has been."""
        self.worker.shutdown()
        self._raise_faults()

    def stop(self) -> None:
        """Returns when the report that is being sent has been; those behind it are dropped."""
        self.worker.shutdown(cancel_futures=True)

    def _send(self, report: Report) -> None:
        before = len(self.backlog)
        self.backlog.append(report)
        try:
            while self.backlog:
                send_report(self.run_id, self.backlog[0])
                self.backlog.popleft()
        except LOST as error:
            if not before:
                reason = str(error)[:SHOWN]
                _say(
                    f"the tracking store was lost at step {report.step}, training goes on: {reason}"
                )
        except Exception as error:  # a fault of ours: raised in the training's own thread
            self.faults.append(error)
        else:
            if before:
                _say(f"the tracking store is back: sent {before + 1} reports")

    def _raise_faults(self) -> None:
        if self.faults:
            raise self.faults[0]


def send_report(run_id: str, report: Report) -> None:
    """Logs a report: metrics last, so where they are, the sample grid is."""
    MlflowClient().log_image(run_id, report.samples, key="samples", step=report.step)
    mlflow.log_metrics(report.metrics, step=report.step, run_id=run_id)


def send_finish(run_id: str, finish: Finish) -> None:
    """Logs the curves and last losses of a training, and registers its model."""
    client = MlflowClient()
    if finish.fitted:
        mlflow.log_metrics(finish.fitted, step=finish.step, run_id=run_id)
    client.log_artifact(run_id, str(CURVES), "curves")
    for name, value in (finish.tags | {registry.DIGEST_TAG: finish.model}).items():
        client.set_tag(run_id, name, value)
    known = registry.version_of(finish.model)
    if known is None or known.run_id != run_id:  # it may have been lost after that
        tags = registered_tags(client.get_run(run_id))
        registry.register(MODEL, run_id, tags, finish.samples, step=finish.step)


def registered_tags(run: Run) -> dict[str, str]:
    """What a registered version tells of its origin: the tags that its run started with."""
    passing = (PROCESS_TAG, FAILURE_TAG)
    return {
        name: value
        for name, value in run.data.tags.items()
        if not name.startswith("mlflow.") and name not in passing
    }


def keep(run_id: str, backlog: list[Report], finish: Finish) -> None:
    """Keeps for the next stage what the store has not taken."""
    with whole_folder(repository() / FOLDER / run_id) as folder:
        for report in backlog:
            write_json(folder / f"{report.step:09d}.json", report.metrics)
            write_array(folder / f"{report.step:09d}.npy", report.samples)
        write_array(folder / "finish.npy", finish.samples)
        about = {name: value for name, value in vars(finish).items() if name != "samples"}
        write_json(folder / "finish.json", about)
    _say(
        f"the tracking store has not taken {len(backlog)} reports and the model: "
        "the next stage sends them"
    )


def send_all() -> None:
    """Sends what earlier stages have kept, if anything; what has been taken is forgotten.

    Raises:
        MlflowException, OSError: the store is still lost; all stays as it was.
    """
    for folder in sorted((repository() / FOLDER).glob("[!.]*")):
        run_id, about = folder.name, read_json(folder / "finish.json")
        taken = _last_step(run_id)
        for path in sorted(folder.glob("[0-9]*.json")):
            step = int(path.stem)
            if step > taken:
                samples = np.array(read_array(path.with_suffix(".npy")))
                send_report(run_id, Report(step, read_json(path), samples))
        _finish(run_id, about, np.array(read_array(folder / "finish.npy")))
        shutil.rmtree(folder)
        _say(f"sent what the tracking store had missed of run {run_id}")


def _finish(run_id: str, about: dict[str, Any], samples: np.ndarray) -> None:
    client = MlflowClient()
    if MODEL.is_dir() and weights_digest(MODEL) == about["model"]:
        send_finish(run_id, Finish(**about, samples=samples))
    else:
        reason = f"its model {about['model']} was replaced before the store could take it"
        client.set_tag(run_id, "not.registered", reason)
        client.set_tag(run_id, registry.DIGEST_TAG, about["model"])
    if FAILURE_TAG in client.get_run(run_id).data.tags:  # it seemed to have ended without a word
        client.delete_tag(run_id, FAILURE_TAG)
    client.set_terminated(run_id, "FINISHED")


def _last_step(run_id: str) -> int:
    """The last step whose report a run has, 0 where it has none."""
    history = MlflowClient().get_metric_history(run_id, "lr")
    return max((point.step for point in history), default=0)


def _say(text: str) -> None:
    print(f"WARNING: {text}", file=sys.stderr, flush=True)
