"""The pipeline's own cost: a call with nothing to do, the start of each stage, tracking.

A stage's start is the time from the start of its process until it opens its first input file.
Tracking cost compares two processes that train in turn, each stopped while the other runs: the
stage as ``dvc repro`` runs it, and its loop with a journal that nothing sends to MLflow. To be seen
above the noise, reports come five times as often as in the default run; the cost per report is then
related to the steps between two reports of the default run.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.defaults import make_trainer, run_stage_loop, stage_environment, write_params
from benchmarks.measure import Result, seconds
from pipeline.artifacts.dataset import read_dataset
from pipeline.params import load_params
from vaegan.training.trainer import Trainer

STAGES = ("prepare", "train", "encode", "classifier", "evaluate", "visualize")
# Runs a stage until it opens an input file.
START = """
import os, re, runpy, sys, time
def watch(event, arguments):
    if event == "open" and re.search("data/(prepared|raw)/", str(arguments[0])):
        os.write(1, f"opened at {time.time()}\\n".encode())
        os._exit(0)
sys.addaudithook(watch)
sys.argv[0] = "pipeline"
runpy.run_module("pipeline", run_name="__main__")
"""
STEPS, ROUNDS, WARM_UP = 50, 14, 2
TOTAL_STEPS = STEPS * (ROUNDS + WARM_UP + 1)  # one interval more than measured: none is the last


def nothing_to_do() -> float:
    """Returns the median seconds of ``dvc repro`` in this repository.

    Raises:
        RuntimeError: a stage ran.
    """

    def repro() -> None:
        done = subprocess.run(["dvc", "repro"], capture_output=True, text=True)
        if done.returncode or "up to date" not in done.stdout:
            raise RuntimeError(f"dvc repro had something to do: run it first\n{done.stdout}")

    return statistics.median(seconds(repro) for _ in range(5))


def stage_start(stage: str, folder: Path, repeats: int = 5) -> float:
    """Returns the median seconds from the start of a stage's process to its first input.

    Raises:
        RuntimeError: the stage opened no input.
    """

    def start() -> float:
        begun = time.time()
        command = [sys.executable, "-c", START, stage]
        environment = stage_environment(folder)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if "opened at" not in done.stdout:
            raise RuntimeError(f"{stage} opened no input:\n{done.stdout}{done.stderr}")
        return float(done.stdout.split()[-1]) - begun

    return statistics.median(start() for _ in range(repeats))


def interval(process: subprocess.Popen[str]) -> float:
    """Lets a stopped training run to its next report; returns the seconds it took.

    Raises:
        RuntimeError: the training ended.
    """
    assert process.stdout is not None
    begun, line = time.perf_counter(), ""
    os.killpg(process.pid, signal.SIGCONT)
    for line in process.stdout:
        if line.startswith("step "):
            os.killpg(process.pid, signal.SIGSTOP)
            return time.perf_counter() - begun
    raise RuntimeError(f"the training ended with status {process.wait()}: {line.strip()}")


def tracking_cost(folder: Path) -> float:
    """Returns the share of the default run's throughput that is lost to tracking."""
    write_params(folder, device="cpu", steps=TOTAL_STEPS, report_every=STEPS)
    commands = {"tracked": ["pipeline", "train"], "untracked": ["benchmarks.overhead"]}
    places = {"tracked": folder, "untracked": Path.cwd()}
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=places[name],
            env=stage_environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # no terminal: a progress bar would hold lines back
            text=True,
            start_new_session=True,
        )
        for name, command in commands.items()
    }
    times: dict[str, list[float]] = {name: [] for name in processes}
    try:
        for _ in range(ROUNDS + WARM_UP):
            for name, process in processes.items():
                times[name].append(interval(process))
    finally:
        for process in processes.values():
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    tracked, untracked = (statistics.median(taken[WARM_UP:]) for taken in times.values())
    cost = tracked - untracked
    return cost / (untracked * load_params().train.report_every / STEPS + cost)


def run() -> list[Result]:
    """Measures in the repository, after ``dvc repro``."""
    idle = nothing_to_do()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_params(folder)
        shutil.copytree("data", folder / "data")
        starts = {stage: stage_start(stage, folder) for stage in STAGES}
        lost = tracking_cost(folder)
    return [
        Result("`dvc repro` with nothing to do", idle, "s", ("<=", 3.0)),
        *(
            Result(f"start of {stage} to its first input", taken, "s", ("<=", 4.0))
            for stage, taken in starts.items()
        ),
        Result("throughput lost to tracking", lost, "", ("<=", 0.02)),
    ]


if __name__ == "__main__":  # the loop without tracking
    trainer = make_trainer(Trainer, steps=TOTAL_STEPS, report_every=STEPS)
    run_stage_loop(trainer, read_dataset())
