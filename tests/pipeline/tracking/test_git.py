"""An experiment in a shallow clone: DVC loses it without a word, so the first stage says it."""

import subprocess
from pathlib import Path

import pytest

from pipeline.__main__ import main as door
from pipeline.tracking.git import warn_of_shallow_clone


@pytest.fixture(params=["shallow", "whole"])
def clone(request, tmp_path, monkeypatch) -> Path:
    """A clone with the temporary copy of an experiment, the cwd."""
    source, folder = tmp_path / "source", tmp_path / "clone"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q", str(source)], check=True)
    for message in "ab":
        commit = [*git, "commit", "-qm", message, "--allow-empty"]
        subprocess.run(commit, cwd=source, check=True)
    depth = ["--depth", "1"] if request.param == "shallow" else []
    subprocess.run([*git, "clone", "-q", *depth, source.as_uri(), str(folder)], check=True)
    copy = folder / ".dvc/tmp/exps/standalone/tmpabc"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    baseline = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    monkeypatch.setenv("DVC_STAGE", "check")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-fox")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", baseline.stdout.strip())
    return folder


def test_that_a_shallow_clone_will_not_keep_an_experiment_is_said_once_with_the_remedy(
    clone, capsys
):
    door(["check"])  # the first stage of every experiment
    said = [line for line in capsys.readouterr().err.splitlines() if "shallow" in line]
    if (clone / ".git/shallow").exists():
        (line,) = said
        assert "DVC will not keep the experiment bold-fox" in line
        assert "git fetch --unshallow" in line
    else:
        assert said == []
    warn_of_shallow_clone()
    assert capsys.readouterr().err == ""


def test_in_the_workspace_an_experiment_is_kept(clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    warn_of_shallow_clone()
    assert capsys.readouterr().err == ""


def test_outside_of_an_experiment_nothing_is_lost(clone, monkeypatch, capsys):
    monkeypatch.delenv("DVC_EXP_NAME")
    warn_of_shallow_clone()
    assert capsys.readouterr().err == ""
