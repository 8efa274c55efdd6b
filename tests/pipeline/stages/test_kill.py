"""The real stage train, killed at random moments, comes to the bits of the straight run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
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
from pipeline.tracking.charts import NAMES
from pipeline.tracking import follower
print("ready", flush=True)
sys.exit(run_stage("train"))
"""
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


def started(code: str = SLOW_DISK) -> subprocess.Popen:
    """The stage, once its imports are done."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def outputs() -> tuple[str, str]:
    return tree_digest(MODEL), tree_digest(CURVES)


def forget() -> None:
    """Removes the outputs, as DVC does before it runs a stage."""
    shutil.rmtree(MODEL, ignore_errors=True)
    CURVES.unlink(missing_ok=True)


def trained() -> float:
    """Runs the stage to its end; returns the seconds that it took once its imports were done."""
    process = started()
    begun = time.monotonic()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return time.monotonic() - begun


def test_a_training_killed_at_twenty_random_moments_gives_the_same_bits(stage):
    seconds, straight = trained(), outputs()
    moments, kills, halfway = random.Random(0), 0, 0  # noqa: S311 (moments, no secrets)
    while kills < KILLS:
        forget()
        process = started()
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.communicate()
        if process.returncode == 0:  # it had ended before
            assert outputs() == straight
            continue
        kills += 1
        halfway += bool(list(Path(".checkpoints").rglob("*.part")))
        assert not MODEL.exists() or tree_digest(MODEL) == straight[0]
    trained()
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
def test_a_terminated_stage_marks_its_run_killed_and_resumes_later(stage, sent):
    trained()
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
    trained()
    assert outputs() == straight
    again = MlflowClient().search_runs([store.connect()])[0]
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    history = MlflowClient().get_metric_history(run.info.run_id, NAMES["partner_loss"])
    assert [point.step for point in history] == list(range(2, 41, 2))
