"""The real stages through the real DVC and MLflow, on a small data set in a temporary clone."""

import json
import os
import shutil
import signal
import subprocess

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.files import tree_digest
from pipeline.tracking.charts import NAMES
from tests.pipeline.clone import STAGES, Clone, small_clone
from vaegan.evaluation.metrics import HEADLINES, described_keys
from vaegan.model.vae import weights_digest

FIGURES = {
    "reconstructions.png",
    "swaps.png",
    "swap_confusion.png",
    "leakage.png",
    "metrics.png",
    "style_variation.png",
    "tsne.png",
    "adversarial_loss.png",
    "reconstruction_loss.png",
    "slider.gif",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in which the pipeline has run once."""
    clone = small_clone(tmp_path_factory.mktemp("clone") / "repository")
    assert clone.repro() == set(STAGES)
    return clone


def test_every_output_is_there(clone):
    metrics = json.loads((clone.folder / "reports/metrics.json").read_text())
    assert metrics["dataset"] == "digits"
    for key in (
        "specified/probe_accuracy",
        "leakage/sampled",
        "leakage/mean",
        "leakage/chance",
        "swap/identity_accuracy",
        "swap/prior_identity_accuracy",
        "reconstruction/mse",
        "leakage/posterior",
        "leakage/unseen",
        "swap/sampled_identity_accuracy",
        "control/permuted",
        "classifier/accuracy",
    ):
        assert 0 <= metrics[key] <= 1, key
    described = json.loads((clone.folder / "classifier/classifier.json").read_text())
    assert metrics["classifier/digest"] == described["weights_sha256"]
    figures = {path.name for path in (clone.folder / "reports/figures").iterdir()}
    assert figures == FIGURES
    curves = pd.read_csv(clone.folder / "reports/curves.csv")
    assert curves["step"].tolist() == [10, 20, 30]
    assert "images_per_second" not in curves  # would differ each time, and with it dvc.lock
    codes = np.load(clone.folder / "codes/test/unspecified_std.npy", mmap_mode="r")
    assert codes.shape == (360, 16)
    assert not list(clone.folder.rglob("*.part"))
    assert not list((clone.folder / ".checkpoints").rglob("*.safetensors"))


def test_the_outputs_change_only_files_that_are_meant_to_be_committed(clone):
    changed = {line[3:] for line in clone.run("git", "status", "--porcelain").splitlines()}
    results = {f"reports/{name}" for name in ("metrics.json", "headline.json", "swaps.csv")}
    assert changed <= {"dvc.lock"} | results


def test_mlflow_has_one_run_with_everything(clone):
    (run,) = clone.runs()
    client = clone.client()
    metrics = json.loads((clone.folder / "reports/metrics.json").read_text())
    headlines = {key: metrics[key] for key, _ in described_keys(HEADLINES, metrics)}
    assert len(headlines) == 13
    assert run.data.metrics.items() >= headlines.items()
    reported = {
        NAMES[name] for name in pd.read_csv(clone.folder / "reports/curves.csv").columns[1:]
    }
    assert run.data.metrics.keys() == headlines.keys() | reported | {NAMES["images_per_second"]}
    history = client.get_metric_history(run.info.run_id, NAMES["partner_loss"])
    assert [point.step for point in history] == [10, 20, 30]
    for key in ("lr", "images_per_second", "discriminator_loss", "adversarial_loss"):
        assert len(client.get_metric_history(run.info.run_id, NAMES[key])) == 3
    assert run.data.params["train.steps"] == "30"
    assert run.data.params["visualize.tsne_images"] == "60"
    tags = run.data.tags
    assert tags["model.sha256"] == weights_digest(clone.folder / "models")
    assert tags["dataset"] == "digits"
    assert tags["git.commit"] == clone.run("git", "rev-parse", "HEAD").strip()
    assert len([name for name in tags if not name.startswith("mlflow.")]) <= 8
    record = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/provenance.json")
    assert record["git.dirty"] == "false"
    assert record["sha256.reports/metrics.json"]
    assert "digits" in tags["mlflow.note.content"]
    assert tags["verdict"] == metrics["verdict"]
    assert "of swapped images show the identity" in tags["mlflow.note.content"]
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    assert run.info.status == "FINISHED"
    figures = {f.path for f in client.list_artifacts(run.info.run_id, "figures")}
    assert figures == {f"figures/{name}" for name in FIGURES}
    (page,) = [f for f in client.list_artifacts(run.info.run_id) if f.path == "report.html"]
    assert page.file_size == (clone.folder / "reports/report.html").stat().st_size
    assert len(client.list_artifacts(run.info.run_id, "images")) >= 3
    samples = [file.path.split("+")[2] for file in client.list_artifacts(run.info.run_id, "images")]
    assert set(samples) == {"0", "10", "20", "30"}


def test_the_registered_model_records_how_to_reproduce_it(clone):
    client = clone.client()
    version = client.get_model_version_by_alias("vaegan", "candidate")
    (run,) = clone.runs()
    assert version.run_id == run.info.run_id
    assert version.tags["git.commit"] == run.data.tags["git.commit"]
    record = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/provenance.json")
    assert version.tags.items() >= {k: v for k, v in record.items() if k != "journal"}.items()
    assert version.tags["dvc.lock.models"] in (clone.folder / "dvc.lock").read_text()


def test_a_second_repro_runs_nothing(clone):
    assert clone.repro() == set()
    assert len(clone.runs()) == 1


def test_an_invalid_value_stops_the_pipeline_before_anything_changes(clone):
    before = {p: p.stat().st_mtime_ns for p in (clone.folder / "models").iterdir()}
    clone.set("train.lr", -1)
    output = clone.run("dvc", "repro", fails=True)
    assert "params.yaml: train.lr: got -1, expected greater than 0" in output
    assert "Running stage 'train'" not in output
    assert {p: p.stat().st_mtime_ns for p in (clone.folder / "models").iterdir()} == before
    clone.set("train.lr", 1e-3)
    assert clone.repro() <= {"check"}


def test_an_unknown_section_stops_the_pipeline_before_anything_changes(clone):
    path = clone.folder / "params.yaml"
    before = path.read_text()
    path.write_text(before + "trian:\n  lr: 1\n")
    assert "params.yaml: trian: unknown key" in clone.run("dvc", "repro", fails=True)
    path.write_text(before)
    assert clone.repro() <= {"check"}


def test_changing_a_figures_parameter_runs_only_visualize_and_the_report(clone):
    clone.set("visualize.swap_styles", 3)
    assert clone.repro() - {"check"} == {"visualize", "report"}
    (run,) = clone.runs()
    assert run.data.tags["now.visualize.swap_styles"] == "3"


def test_another_clone_gives_the_same_bytes_and_a_run_with_all_its_metrics(clone):
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "results")
    folder = clone.folder.parent / "second"
    clone.run("git", "clone", "-q", str(clone.folder), str(folder))
    second = Clone(folder)
    # The codes and metrics are those in git, so DVC has nothing to evaluate.
    assert second.repro() == set(STAGES) - {"evaluate"}
    assert second.run("git", "status", "--porcelain") == ""
    (run,) = second.runs()
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    assert run.data.metrics["swap/identity_accuracy"] == metrics["swap/identity_accuracy"]
    assert run.data.tags["verdict"] == metrics["verdict"]


def test_an_experiment_with_another_rate_is_a_run_and_a_version_of_its_own(clone):
    default = weights_digest(clone.folder / "models")
    clone.run("dvc", "exp", "run", "--name", "slow", "-S", "train.lr=2e-4")
    run = clone.runs()[0]
    assert run.info.run_name == "slow"
    assert run.data.params["train.lr"] == "0.0002"
    assert "swap/identity_accuracy" in run.data.metrics
    assert (
        clone.client().get_model_version_by_alias("vaegan", "candidate").run_id == run.info.run_id
    )
    shown = clone.run("dvc", "exp", "show", "--csv")
    assert "slow" in shown
    assert "leakage,in s,swaps,MSE" in shown
    lines = clone.run("dvc", "metrics", "show").splitlines()
    assert max(map(len, lines)) <= 80
    assert {"leakage", "swaps", "MSE", "verdict"} <= set(lines[0].split())
    assert weights_digest(clone.folder / "models") != default
    clone.run("git", "checkout", "params.yaml")  # the way back that the README shows
    assert clone.repro() == set()
    assert weights_digest(clone.folder / "models") == default
    assert clone.run("git", "status", "--porcelain") == ""
    # What runs now logs to the run of the model that is there again, not to the newest one.
    clone.set("visualize.swap_styles", 5)
    assert clone.repro() - {"check"} == {"visualize", "report"}
    logged = [r for r in clone.runs() if r.data.tags.get("now.visualize.swap_styles") == "5"]
    assert [r.data.tags["model.sha256"] for r in logged] == [default]


def test_a_model_trained_without_this_store_gets_a_run_that_states_it(clone):
    clone.environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{clone.folder}/other.db"
    clone.set("visualize.swap_styles", 4)
    assert clone.repro() - {"check"} == {"visualize", "report"}
    (run,) = clone.runs("other.db")
    assert "no run in which this model was trained" in run.data.tags["mlflow.note.content"]
    metrics = json.loads((clone.folder / "reports/metrics.json").read_text())
    assert run.data.metrics["reconstruction/mse"] == metrics["reconstruction/mse"]
    version = clone.client("other.db").get_model_version_by_alias("vaegan", "candidate")
    assert version.tags["model.sha256"] == weights_digest(clone.folder / "models")


def test_after_killing_dvc_and_its_stage_the_next_repro_gives_the_same_bits(clone, tmp_path):
    clone.run("git", "clone", "-q", str(clone.folder), str(tmp_path / "killed"))
    killed = Clone(tmp_path / "killed")
    killed.set("train.steps", 300)
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=killed.folder,
        env=killed.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert any(line.startswith("step 100/300") for line in process.stdout)
    os.killpg(process.pid, signal.SIGKILL)  # dvc and the stage
    process.communicate()
    assert not (killed.folder / "models").exists()
    output = killed.run("dvc", "repro")
    assert "resuming from the checkpoint at step 1" in output
    assert "step 100/300" not in output
    resumed = weights_digest(killed.folder / "models")
    (run,) = killed.runs()
    assert run.info.status == "FINISHED"
    output = killed.run("dvc", "repro", "--force", "--single-item", "train")
    assert "step 100/300" in output
    assert weights_digest(killed.folder / "models") == resumed


def test_without_git_dvc_reports_it_in_a_line_and_changes_nothing(clone, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(clone.folder, folder, ignore=shutil.ignore_patterns(".git", "tmp", "cache"))
    plain = Clone(folder)
    plain.environment["GIT_CEILING_DIRECTORIES"] = str(tmp_path)
    before = tree_digest(folder / "models")
    output = plain.run("dvc", "repro", fails=True)
    assert "Traceback" not in output
    assert output.splitlines()[-1] == f"ERROR: {folder} is not a git repository"
    assert tree_digest(folder / "models") == before
