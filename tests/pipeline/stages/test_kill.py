"""The real stage train, killed at random moments, comes to the bits of the straight run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline.artifacts.files import tree_digest
from pipeline.artifacts.paths import CURVES, MODEL
from pipeline.tracking import registry, store
from pipeline.tracking.charts import NAMES
from tests.pipeline.conftest import SHIPPED

ROOT = Path(__file__).parents[3]
KILLS = 20
# The stage as its command runs it, but for a pause before each file takes its name: of a hundred
# moments, one within the writing of a checkpoint would be rare.
SLOW_DISK = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs aside
from pipeline.artifacts import files
synchronise = files._synchronise
slow = lambda file: 0.1 if ".checkpoints" in str(file) else 0.0
files._synchronise = lambda file: (synchronise(file), time.sleep(slow(file)))
from pipeline.run import run_stage
from pipeline.stages import train
from pipeline.tracking import follower
print("ready", flush=True)
"""
ALONE = SLOW_DISK + 'sys.exit(run_stage("train"))'
# The imports take longer than the training, so they are done once: for each folder that it reads,
# this process forks one that runs the stage there. It prints its number, then its exit status.
FORKED = (
    SLOW_DISK
    + """
import os
for folder in sys.stdin:
    child = os.fork()
    if not child:
        os.chdir(folder.strip())
        with open("log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        status = 1
        try:
            status = run_stage("train")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)
CHANGES = {
    "model.base_channels": 2,
    "train.steps": 40,
    "train.pairs": 8,
    "train.report_every": 2,
    "train.threads": 1,
    "train.transport.images_per_class": 2,
    "train.transport.steps": 10,
    "train.transport.changes": 4,
    "train.transport.images_per_change": 8,
    "train.transport.batch": 64,
    "model.transport.hidden": 8,
}


@pytest.fixture
def stage(workspace):
    """A folder in which ``python -m pipeline train`` trains something small."""
    yaml = YAML()
    content = yaml.load(SHIPPED.read_text())
    for key, value in CHANGES.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
    with (workspace / "params.yaml").open("w") as file:
        yaml.dump(content, file)
    return workspace


def started(code: str = ALONE, **pipes: int) -> subprocess.Popen:
    """The stage, or what forks it, once its imports are done."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        **(pipes or {"stderr": subprocess.PIPE}),
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture(scope="module")
def forking():
    """A process that forks stages."""
    with started(FORKED, stdin=subprocess.PIPE) as process:
        yield process
        process.stdin.close()


def begin(forking: subprocess.Popen) -> int:
    """Forks the stage in the current folder; returns the number of its process."""
    forking.stdin.write(f"{Path.cwd()}\n")
    forking.stdin.flush()
    return int(forking.stdout.readline())


def end(forking: subprocess.Popen) -> int:
    """Waits for the stage; returns its exit status, negative if a signal ended it."""
    return int(forking.stdout.readline())


def outputs() -> tuple[str, str]:
    return tree_digest(MODEL), tree_digest(CURVES)


def forget() -> None:
    """Removes the outputs, as DVC does before it runs a stage."""
    shutil.rmtree(MODEL, ignore_errors=True)
    CURVES.unlink(missing_ok=True)


def trained(forking: subprocess.Popen) -> float:
    """Runs the stage to its end; returns the seconds that it took once its imports were done."""
    begun = time.monotonic()
    begin(forking)
    assert end(forking) == 0, Path("log").read_text()
    return time.monotonic() - begun


def test_a_training_killed_at_twenty_random_moments_gives_the_same_bits(stage, forking):
    seconds, straight = trained(forking), outputs()
    moments, kills, halfway = random.Random(0), 0, 0  # noqa: S311 (moments, no secrets)
    while kills < KILLS:
        forget()
        process = begin(forking)
        time.sleep(moments.uniform(0, seconds))
        with suppress(ProcessLookupError):  # it had ended before
            os.kill(process, signal.SIGKILL)
        if end(forking) == 0:
            assert outputs() == straight
            continue
        kills += 1
        halfway += bool(list(Path(".checkpoints").rglob("*.part")))
        assert not MODEL.exists() or tree_digest(MODEL) == straight[0]
    trained(forking)
    assert outputs() == straight
    assert halfway, "no kill fell into the writing of a checkpoint"
    assert not list(Path().rglob("*.part"))
    assert not list(Path(".checkpoints").rglob("*.safetensors"))
    store.connect()
    runs = MlflowClient().search_runs([store.connect()])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    for run in runs:  # none has a step twice, and who has a model has its version
        history = MlflowClient().get_metric_history(run.info.run_id, NAMES["partner_loss"])
        found = [point.step for point in history]
        assert found == sorted(set(found))
        if "model.sha256" in run.data.tags:
            assert registry.version_of(run.data.tags["model.sha256"]) is not None
    assert len(MlflowClient().search_model_versions("name = 'vaegan'")) == 1


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_stage_marks_its_run_killed_and_resumes_later(stage, forking, sent):
    trained(forking)
    straight = outputs()
    forget()
    process = started()
    assert any(line.startswith("step ") for line in process.stdout)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + sent
    assert "Traceback" not in errors
    store.connect()
    run = MlflowClient().search_runs([store.connect()])[0]
    assert run.info.status == "KILLED"
    assert run.data.tags["failure"]
    assert not MODEL.exists()
    trained(forking)
    assert outputs() == straight
    again = MlflowClient().search_runs([store.connect()])[0]
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    history = MlflowClient().get_metric_history(run.info.run_id, NAMES["partner_loss"])
    assert [point.step for point in history] == list(range(2, 41, 2))
