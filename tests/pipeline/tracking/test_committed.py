"""The end of a run says what it means that results differ from the committed ones."""

import subprocess

import pytest

from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import METRICS
from pipeline.tracking import committed

RESULTS = {"verdict": "sound", "leakage/mean": 0.177, "swap/identity_accuracy": 0.98}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with committed results."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    METRICS.parent.mkdir()
    write_json(METRICS, RESULTS)
    (tmp_path / "params.yaml").write_text("train: {}\n")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "first")):
        subprocess.run([*git, *arguments], check=True)
    return tmp_path


def test_results_of_another_processor_are_explained_in_two_lines(repository):
    assert committed.advice() == []
    write_json(METRICS, RESULTS | {"leakage/mean": 0.158})
    differ, what_to_do = committed.advice()
    assert "leakage 0.158 for 0.177" in differ
    assert "another processor rounded differently" in differ
    assert "git commit dvc.lock reports" in what_to_do
    assert "git checkout dvc.lock reports" in what_to_do


def test_results_of_changed_parameters_are_not_blamed_on_the_processor(repository):
    write_json(METRICS, RESULTS | {"leakage/mean": 0.158})
    (repository / "params.yaml").write_text("train: {lr: 1}\n")
    assert "they belong to your changes" in committed.advice()[0]


def test_an_experiment_and_a_folder_without_git_are_told_nothing(repository, monkeypatch):
    write_json(METRICS, RESULTS | {"leakage/mean": 0.158})
    with monkeypatch.context() as patch:
        patch.setenv("DVC_EXP_NAME", "slow")
        assert committed.advice() == []
    monkeypatch.setenv("GIT_DIR", str(repository / "nothing"))
    assert committed.advice() == []
