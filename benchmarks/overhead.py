"""The pipeline's own cost: a call with nothing to do, the start of each stage, tracking.

A stage's start is the time from the start of its process to its first useful work, imports and
the opening of its MLflow run included, in a store that exists. Tracking is switched between
on, off and on with a store that takes 0.2 s for each call, report by report in one
training. To be seen above the noise, reports come five times as often as in the default run; what
a report costs is then set against the steps that lie between two reports there.
"""

import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from benchmarks.defaults import configured, in_own_store, trainer
from benchmarks.measure import Result, seconds
from pipeline.stages import train
from pipeline.tracking import runs as tracking
from vaegan.training.trainer import Report, Trainer

REPOSITORY = Path.cwd()
# The function of each stage's module that is its first useful work.
FIRST_WORK = {
    "prepare": "load_archives",
    "train": "run_training",
    "encode": "encode_split",
    "classifier": "train_classifier",
    "evaluate": "measure_all",
    "visualize": "plot_all",
}
START = """
import importlib, os, sys, time
module = importlib.import_module(f"pipeline.{sys.argv[1]}")
def work(*_, **__):
    print("\\nworks at", time.time(), flush=True)
    os._exit(0)
setattr(module, sys.argv[2], work)
sys.exit(module.main())
"""
MODES = ("on", "off", "slow")
CALL_SECONDS = 0.2  # of the slow store
STEPS, ROUNDS = 50, 14
INSIDE = threading.local()  # whether this thread is in a method of the store


def nothing_to_do() -> float:
    """Median seconds of ``dvc repro`` in this repository.

    Raises:
        RuntimeError: it had something to do.
    """

    def repro() -> None:
        done = subprocess.run(["dvc", "repro"], capture_output=True, text=True)
        if done.returncode or "up to date" not in done.stdout:
            raise RuntimeError(f"dvc repro had something to do: run it first\n{done.stdout}")

    return statistics.median(seconds(repro) for _ in range(5))


def stage_start(stage: str, folder: Path) -> float:
    """Median seconds from the start of a stage's process to its first useful work."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        environment.pop(variable, None)

    def start() -> float:
        begun = time.time()
        done = subprocess.run(
            [sys.executable, "-c", START, stage, FIRST_WORK[stage]],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        if "works at" not in done.stdout:
            raise RuntimeError(f"{stage} did not come to work:\n{done.stdout}{done.stderr}")
        return float(done.stdout.split()[-1]) - begun

    start()  # makes the store, and the run of the model
    return statistics.median(start() for _ in range(5))


def stage_starts() -> dict[str, float]:
    """Of every stage, in a folder with this repository's data and a store of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("params.yaml", "codes", "classifier", "data"):
            (folder / part).symlink_to(REPOSITORY / part)
        for part in ("models", "reports"):  # MLflow refuses a link to the one; the other is written
            shutil.copytree(REPOSITORY / part, folder / part)
        return {stage: stage_start(stage, folder) for stage in FIRST_WORK}


class Alternating(Trainer):
    """A trainer that changes how its next report is tracked, and times what lies between."""

    mode = store = MODES[0]  # of the next report, and of what is being logged

    def run(self) -> Iterator[Report]:
        """As the trainer's. A report is logged while the steps after it run: they bear its cost."""
        self.times: dict[str, list[float]] = {mode: [] for mode in MODES}
        begun = time.perf_counter()
        borne = None
        for count, report in enumerate(super().run()):
            yield report
            now = time.perf_counter()
            if borne is not None:
                self.times[borne].append(now - begun)
            begun, borne = now, self.mode
            self.mode = MODES[(count + 1) % len(MODES)]


def slowed(method: Callable[..., Any], is_slow: Callable[[], bool]) -> Callable[..., Any]:
    """A method of the store that first waits, unless another of its methods has called it."""

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        outermost = not getattr(INSIDE, "store", False)
        if outermost and is_slow():
            time.sleep(CALL_SECONDS)
        INSIDE.store = True
        try:
            return method(*arguments, **options)
        finally:
            INSIDE.store = not outermost

    return call


@contextmanager
def switched(alternating: Alternating) -> Iterator[None]:
    """Tracking, and the sample grids that it wants, as the trainer's mode says."""
    before, grid = tracking.Training.reporting, train.sample_grid

    @contextmanager
    def reporting(training: tracking.Training) -> Iterator[Callable[..., None]]:
        with before(training) as report:

            def maybe(*arguments: Any) -> None:
                alternating.store = alternating.mode
                if alternating.mode != "off":
                    report(*arguments)

            yield maybe

    for name in [n for n in vars(SqlAlchemyStore) if n.startswith(("log_", "get_", "set_"))]:
        method = getattr(SqlAlchemyStore, name)
        setattr(SqlAlchemyStore, name, slowed(method, lambda: alternating.store == "slow"))
    tracking.Training.reporting = reporting  # type: ignore[method-assign,assignment]

    def drawn(*arguments: Any) -> Any:
        return None if alternating.mode == "off" else grid(*arguments)

    train.sample_grid = drawn  # type: ignore[assignment]
    yield
    tracking.Training.reporting, train.sample_grid = before, grid  # type: ignore[method-assign]


def tracking_losses() -> dict[str, float]:
    """Share of the default run's throughput that is lost to tracking, by how it is tracked."""
    params, dataset, _ = configured()
    steps = STEPS * (len(MODES) * ROUNDS + 3)
    alternating = trainer(Alternating, steps=steps, report_every=STEPS)
    with in_own_store(dataset) as (checkpoints, samples, training), switched(alternating):
        train.run_training(alternating, checkpoints, samples, training)
    median = {mode: statistics.median(times[1:]) for mode, times in alternating.times.items()}
    between_reports = median["off"] * params.train.report_every / STEPS
    costs = {mode: median[mode] - median["off"] for mode in MODES}
    return {mode: cost / (between_reports + cost) for mode, cost in costs.items()}


def run() -> list[Result]:
    """Measures in the repository, after ``dvc repro``."""
    idle = nothing_to_do()
    starts = stage_starts()
    losses = tracking_losses()
    return [
        Result("`dvc repro` with nothing to do", idle, "s", ("<=", 3.0)),
        *(
            Result(f"start of {stage} to its first work", taken, "s", ("<=", 4.0))
            for stage, taken in starts.items()
        ),
        Result("throughput lost to tracking", losses["on"], "", ("<=", 0.02)),
        Result(
            "throughput lost to tracking in a store of 0.2 s a call",
            losses["slow"],
            "",
            ("<=", 0.02),
        ),
    ]
