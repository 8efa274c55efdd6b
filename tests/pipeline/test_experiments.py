"""Experiments through the real DVC, queued, in temporary copies, pushed, pulled and made again.

The project lies in a subfolder of its git repository here; in ``test_pipeline.py`` it is the root.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.utils.file_utils import local_file_uri_to_path

from pipeline.tracking.charts import NAMES
from tests.pipeline.clone import STAGES, Clone, small_clone
from vaegan.model.vae import weights_digest

RATES = (1e-4, 2e-4, 3e-4, 5e-4)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in which the pipeline has run once, its results committed."""
    repository = tmp_path_factory.mktemp("experiments") / "a repository"
    clone = small_clone(repository, "papers/a project")
    assert clone.repro() == set(STAGES)
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "results")
    return clone


def whole(clone: Clone, run, name: str, rate: float) -> None:
    """An experiment's run has its parameters, curves, metrics, figures and its own version."""
    client = clone.client()
    assert (run.info.run_name, run.info.status) == (name, "FINISHED")
    assert float(run.data.params["train.lr"]) == rate
    assert run.data.tags["dvc.exp"] == name
    history = client.get_metric_history(run.info.run_id, NAMES["partner_loss"])
    assert [point.step for point in history] == [10, 20, 30]
    assert len(run.data.metrics) > 20
    place = Path(local_file_uri_to_path(run.info.artifact_uri))
    assert place.is_relative_to(clone.folder / "mlruns")
    assert len(list((place / "figures").iterdir())) == 10
    assert (place / "curves/curves.csv").is_file()
    found = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert [version.tags["model.sha256"] for version in found] == [run.data.tags["model.sha256"]]
    assert found[0].tags["champion"]
    mlflow.set_tracking_uri(f"sqlite:///{clone.folder}/mlflow.db")
    loaded = mlflow.pyfunc.load_model(f"models:/vaegan/{found[0].version}")
    assert loaded.metadata.run_id == run.info.run_id


def test_four_queued_experiments_on_two_workers_are_tracked_completely(clone):
    default = weights_digest(clone.folder / "models")
    swept = ",".join(map(str, RATES))
    clone.run("dvc", "exp", "run", "--queue", "-S", f"train.lr={swept}")
    clone.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 270
    while any(word in clone.run("dvc", "queue", "status") for word in ("Queued", "Running")):
        assert time.monotonic() < deadline, clone.run("dvc", "queue", "status")
        time.sleep(1)
    tasks = [line.split() for line in clone.run("dvc", "queue", "status").splitlines()[1:] if line]
    done = {fields[1] for fields in tasks if "Success" in fields}
    assert len(done) == 4, clone.run("dvc", "queue", "status")
    for name in done:
        log = clone.run("dvc", "queue", "logs", name)
        assert "database is locked" not in log
        assert "Running stage 'prepare'" not in log  # its data came from DVC's cache
    runs = [run for run in clone.runs() if run.info.run_name in done]
    assert len(runs) == 4
    rates = {float(run.data.params["train.lr"]) for run in runs}
    assert rates == set(RATES)
    for run in runs:
        whole(clone, run, run.info.run_name, float(run.data.params["train.lr"]))
    assert len({run.data.tags["model.sha256"] for run in runs}) == 4
    assert weights_digest(clone.folder / "models") == default  # the workspace is as it was
    assert clone.run("git", "status", "--porcelain") == ""


def test_an_experiment_in_a_temporary_copy_is_tracked_in_the_users_store(clone):
    clone.run("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "train.lr=7e-4")
    (run,) = [run for run in clone.runs() if run.info.run_name == "aside"]
    whole(clone, run, "aside", 7e-4)
    patch = Path(local_file_uri_to_path(run.info.artifact_uri)) / "origin/changes.patch"
    assert "+  lr: 0.0007" in patch.read_text()
    assert not list((clone.folder / ".checkpoints").rglob("*.safetensors"))


def test_experiments_are_compared_in_one_table(clone):
    printed = clone.run("python", "-m", "pipeline", "compare", "--record", "runs.csv")
    assert "not in the table" not in printed
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert any(line.startswith("| default | 1 |") for line in table)
    for rate in RATES:
        assert any(line.startswith(f"| train.lr={rate}") for line in table)
    again = clone.run("python", "-m", "pipeline", "compare", "--recorded", "runs.csv")
    assert [line for line in again.splitlines() if line.startswith("|")] == table
    assert len(pd.read_csv(clone.folder / "runs.csv")) == 6
    (clone.folder / "runs.csv").unlink()
    # The columns that matter first come first in DVC's own table, too.
    shown = clone.run("dvc", "exp", "show", "--csv").splitlines()
    header = next(line for line in shown if line.startswith("Experiment")).split(",")
    places = [header.index(name) for name in ("leakage", "in s", "swaps", "MSE", "train.lr")]
    assert places == sorted(places)


def test_a_version_is_reproduced_from_its_commit_with_equal_outputs(clone):
    printed = clone.run("python", "-m", "pipeline", "reproduce", "--version", "1")
    assert "version 1: 11 of 11 recorded outputs agree" in printed
    assert printed.count(" agrees") == 11
    assert "reproduce-" not in clone.run("git", "worktree", "list")


def test_a_version_of_a_changed_tree_is_reproduced_and_a_tampered_record_is_detected(clone):
    client = clone.client()
    (run,) = [run for run in clone.runs() if run.info.run_name == "aside"]
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    client.set_model_version_tag("vaegan", version.version, "sha256.codes", "0" * 64)
    printed = clone.run(
        "python", "-m", "pipeline", "reproduce", "--version", str(version.version), fails=True
    )
    assert f"version {version.version}: 10 of 11 recorded outputs agree" in printed
    (line,) = [line for line in printed.splitlines() if "DIFFERS" in line]
    assert line.startswith("codes ")


@pytest.mark.parametrize(
    ("number", "message"),
    [("99", "--version: got 99, expected a version of vaegan"), ("x", "--version: got x")],
)
def test_reproducing_an_unknown_version_is_a_one_line_error(clone, number, message):
    printed = clone.run("python", "-m", "pipeline", "reproduce", "--version", number, fails=True)
    assert f"error: {message}" in printed


def test_pushed_outputs_are_pulled_and_nothing_reruns(clone, tmp_path):
    remote = tmp_path / "remote"
    clone.run("dvc", "remote", "add", "--local", "--default", "store", str(remote))
    clone.run("dvc", "push")
    pulled = clone.clone(tmp_path / "pulled")
    pulled.run("dvc", "remote", "add", "--local", "--default", "store", str(remote))
    pulled.run("dvc", "pull")
    assert pulled.repro() == set()
    assert weights_digest(pulled.folder / "models") == weights_digest(clone.folder / "models")
    assert pulled.run("git", "status", "--porcelain") == ""


def offline() -> list[str]:
    """What runs a command without any network; skips where that is not to be had."""
    for options in ("-n", "-rn"):  # root may, and others in a namespace of their own
        command = ["unshare", options]
        if shutil.which(command[0]) and not subprocess.run([*command, "true"]).returncode:
            return command
    pytest.skip("no network namespaces here")


def test_without_a_network_and_with_linked_outputs_a_clone_gives_the_same_bytes(clone, tmp_path):
    """DVC links outputs read-only to its cache here: nothing may be written in place."""
    linked = clone.clone(tmp_path / "linked")
    linked.run("dvc", "config", "--local", "cache.type", "symlink")
    output = linked.run(*offline(), "dvc", "repro", "--force")
    assert all(f"Running stage '{stage}'" in output for stage in STAGES)
    assert linked.run("git", "status", "--porcelain") == ""  # dvc.lock and reports among them
    assert any(path.is_symlink() for path in (linked.folder / "codes").rglob("*.npy"))
    assert json.loads((linked.folder / "reports/metrics.json").read_text())["dataset"] == "digits"
    linked.set("visualize.swap_styles", 3)
    assert linked.repro() - {"check"} == {"visualize", "report"}
