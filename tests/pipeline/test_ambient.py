"""Variables of the environment: which are honoured, and that the others redirect nothing."""

import os
import re
import subprocess
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.__main__ import main as door
from pipeline.ambient import GIT, HONOURED, clean
from pipeline.artifacts.paths import repository
from pipeline.tracking import registry, store
from pipeline.tracking.provenance import provenance

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A git repository with one commit, DVC's folder, and a temporary copy as DVC makes them."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "sub").mkdir()
    (folder / ".dvc/tmp/exps/standalone/tmp1/.dvc").mkdir(parents=True)
    (folder / ".dvc/tmp/exps/standalone/tmp1/sub").mkdir()
    monkeypatch.chdir(folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    return folder


def head() -> str:
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "name",
    [
        "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI",
        "MLFLOW_RUN_CONTEXT", "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID",
        "MLFLOW_TRACKING_DIR", "MLFLOW_REGISTRY_DIR", "MLFLOW_ALLOW_FILE_STORE",
        "_MLFLOW_SERVER_ARTIFACT_ROOT", "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
        "MLFLOW_ENABLE_ASYNC_LOGGING", "MLFLOW_ARTIFACT_LOCATION", "MLFLOW_ARTIFACT_URI",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT", "MLFLOW_WORKSPACE_STORE_URI", *GIT,
    ],
)  # fmt: skip
def test_a_variable_that_could_redirect_a_run_is_removed(project, name):
    environment = {name: "elsewhere", "HOME": "/home/me"}
    assert clean("train", environment) == [name]
    assert environment == {"HOME": "/home/me"}


@pytest.mark.parametrize(
    "name",
    [
        "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_S3_ENDPOINT_URL",
        "MLFLOW_DISABLE_TELEMETRY", "GIT_CEILING_DIRECTORIES", "GIT_CONFIG_COUNT",
        "GIT_AUTHOR_NAME", "DVC_SITE_CACHE_DIR", "DVC_NO_ANALYTICS", "AWS_PROFILE",
    ],
)  # fmt: skip
def test_a_variable_that_says_where_the_store_is_or_how_it_is_reached_is_honoured(project, name):
    environment = {name: "mine"}
    assert clean("train", environment) == []
    assert environment == {name: "mine"}


def test_dvcs_own_variables_are_honoured(project, monkeypatch):
    mine = {
        "DVC_ROOT": str(project),
        "DVC_STAGE": "train",
        "DVC_EXP_NAME": "brave-name",
        "DVC_EXP_BASELINE_REV": head(),
    }
    monkeypatch.chdir(".dvc/tmp/exps/standalone/tmp1")
    environment = dict(mine)
    assert clean("train", environment) == []
    assert environment == mine


@pytest.mark.parametrize(
    ("folder", "root"),
    [
        (".", "."),
        ("sub", "sub"),
        (".dvc/tmp/exps/standalone/tmp1", "."),
        (".dvc/tmp/exps/standalone/tmp1/sub", "sub"),
    ],
)
def test_dvc_root_is_the_projects_folder_also_below_that_of_the_repository(
    project, monkeypatch, folder, root
):
    environment = {"DVC_ROOT": str(project)}
    monkeypatch.chdir(folder)
    assert clean("track", environment) == []
    assert environment == {"DVC_ROOT": str((project / root).resolve())}


def test_variables_of_another_repository_of_dvcs_are_removed(project, tmp_path):
    (tmp_path / "other/.dvc").mkdir(parents=True)
    stale = {
        "DVC_ROOT": str(tmp_path / "other"),
        "DVC_STAGE": "train",
        "DVC_EXP_NAME": "theirs",
        "DVC_EXP_BASELINE_REV": head(),
    }
    assert set(clean("train", stale)) == {
        "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV",
    }  # fmt: skip
    assert stale == {}


@pytest.mark.parametrize(
    ("changes", "removed"),
    [
        ({"DVC_STAGE": "encode"}, {"DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"}),
        ({"DVC_STAGE": "sub/dvc.yaml:train"}, set()),
        ({"DVC_EXP_BASELINE_REV": "0" * 40}, {"DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"}),
        ({"DVC_EXP_BASELINE_REV": ""}, {"DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"}),
    ],
)
def test_what_another_stage_or_experiment_left_is_removed(project, changes, removed):
    environment = {
        "DVC_ROOT": str(project),
        "DVC_STAGE": "train",
        "DVC_EXP_NAME": "theirs",
        "DVC_EXP_BASELINE_REV": head(),
    } | changes
    assert set(clean("train", environment)) == removed


def test_a_command_names_what_it_ignores(project, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)  # MLflow sets it in its process
    monkeypatch.setenv("MLFLOW_RUN_ID", "of another")
    monkeypatch.setenv("DVC_ROOT", "/somewhere/else")
    monkeypatch.setenv("GIT_DIR", "/somewhere/else/.git")
    assert door(["preset"]) == 0
    said = capsys.readouterr().err
    assert "note: without effect here: MLFLOW_RUN_ID, GIT_DIR, DVC_ROOT;" in said
    assert repository() == project.resolve()
    assert provenance().tags["git.commit"] == head()
    assert "DVC_ROOT" not in os.environ


def test_variables_of_mlflow_redirect_no_run_and_no_version(told, workspace, monkeypatch):
    """Also where a library imports MLflow before our command has looked."""
    experiment = store.connect()
    stranger = MlflowClient().create_run(experiment).info.run_id
    other = mlflow.create_experiment("other")
    for name, value in {
        "MLFLOW_RUN_ID": stranger,
        "MLFLOW_EXPERIMENT_ID": other,
        "MLFLOW_EXPERIMENT_NAME": "other",
        "MLFLOW_REGISTRY_URI": f"sqlite:///{workspace}/registry.db",
        "MLFLOW_RUN_CONTEXT": '{"tag": "theirs"}',
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(workspace / "elsewhere"),
    }.items():
        monkeypatch.setenv(name, value)
    run = mlflow.get_run(told.train())
    assert run.info.experiment_id == experiment
    assert run.info.run_id != stranger
    assert "tag" not in run.data.tags
    assert MlflowClient().get_run(stranger).data.params == {}
    assert not (workspace / "registry.db").exists()
    assert not (workspace / "elsewhere").exists()
    assert registry.list_versions()[0].run_id == run.info.run_id


def test_the_honoured_variables_are_listed_in_the_documents():
    text = (ROOT / "docs/operations.md").read_text()
    listed = re.findall(r"`([A-Z0-9_]+\*?)`", text)
    for prefix in HONOURED:
        assert {prefix, f"{prefix}*"} & set(listed), prefix
    for name in ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "GIT_DIR"):
        assert name in listed
