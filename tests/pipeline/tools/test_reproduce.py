"""Reproducing a registered version, with stages of a second in place of a training.

``tests/pipeline/test_experiments.py`` reproduces versions of the real pipeline.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline.artifacts.files import tree_digest
from pipeline.artifacts.paths import OUTPUTS
from pipeline.tools import reproduce
from pipeline.tools.reproduce import Comparison, compare_outputs
from pipeline.tracking.model_run import OUTPUT_PREFIX, PATCH
from pipeline.tracking.provenance import FAILURE_TAG, provenance
from pipeline.tracking.registry import NAME
from pipeline.tracking.store import connect

ROOT = Path(__file__).parents[3]
# An older layout: its stage judge makes an output that no stage makes today.
STAGES = f"""\
stages:
  train:
    cmd: {sys.executable} make.py models/weights.safetensors
    deps: [make.py]
    outs: [models]
  judge:
    cmd: {sys.executable} make.py judge
    deps: [make.py]
    outs: [judge]
"""
MAKE = """\
import pathlib, sys
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(exist_ok=True)
path.write_text("VALUE" + "".join(p.read_text() for p in sorted(pathlib.Path().glob("extra/*"))))
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path, monkeypatch, request):
    """A committed project, the cwd, in a subfolder of its git repository or where a test says."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    repository = tmp_path / "repository"
    folder = repository / getattr(request, "param", "papers/a project")
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").touch()
    (folder / ".dvc/.gitignore").write_text("/cache\n/tmp\n")
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "make.py").write_text(MAKE)
    (folder / ".gitignore").write_text("mlflow.db\nmlruns\nmodels\njudge\n")
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "project")
    monkeypatch.chdir(folder)
    return folder


def train_and_register(patch: bytes | None = None) -> None:
    """Runs the stages, and registers what they made as the first version.

    Args:
        patch: Changes since the commit; by default what the pipeline records.
    """
    for path in ("models/weights.safetensors", "judge"):
        subprocess.run([sys.executable, "make.py", path], check=True)
    experiment, client, where = connect(), MlflowClient(), provenance()
    if patch is None:
        patch = where.patch
    run = client.create_run(experiment).info
    client.log_text(run.run_id, patch.decode(), PATCH)
    made = {f"{OUTPUT_PREFIX}{name}": tree_digest(Path(name)) for name in ("models", "judge")}
    digest = hashlib.sha256(patch).hexdigest() if patch else "none"
    client.create_registered_model(NAME)
    source = str(Path("models").resolve())
    tags = where.tags | made | {"patch.sha256": digest}
    client.create_model_version(NAME, source, run.run_id, tags=tags)


@pytest.mark.parametrize("project", ["", "papers/a project"], indirect=True)
def test_a_version_of_an_older_layout_is_reproduced_in_any_folder(project, capsys):
    train_and_register()
    (project / "make.py").write_text(MAKE.replace("VALUE", "edited since"))
    assert reproduce.main(["--version", "1"]) == 0
    printed = capsys.readouterr().out
    assert "version 1: 3 of 3 recorded outputs agree" in printed
    compared = [line.split() for line in printed.splitlines() if line.endswith(" agrees")]
    assert [words[0] for words in compared] == ["models", "judge", "registered"]
    assert "not recorded" not in printed  # today's outputs are not asked of it
    assert "reproduce-" not in git(project, "worktree", "list")


def test_changes_since_the_commit_are_applied(project, capsys):
    (project / "make.py").write_text(MAKE.replace("VALUE", "changed"))
    train_and_register()
    git(project, "checkout", "make.py")
    assert reproduce.main(["--version", "1"]) == 0
    assert "3 of 3 recorded outputs agree" in capsys.readouterr().out


def test_a_patch_with_paths_relative_to_the_project_is_applied_too(project, capsys):
    (project / "make.py").write_text(MAKE.replace("VALUE", "changed"))
    (project / "extra").mkdir()
    (project / "extra/more.txt").write_text("more\n")
    git(project, "add", "-N", "extra")
    patch = git(project, "diff", "--relative", "HEAD")
    assert "--- a/make.py" in patch
    assert "+++ b/extra/more.txt" in patch
    train_and_register(patch.encode())
    git(project, "rm", "-q", "--cached", "extra/more.txt")
    (project / "extra/more.txt").unlink()
    git(project, "checkout", "make.py")
    assert reproduce.main(["--version", "1"]) == 0
    assert "3 of 3 recorded outputs agree" in capsys.readouterr().out


def test_tampered_records_and_damaged_weights_are_detected(project, capsys):
    train_and_register()
    MlflowClient().set_model_version_tag(NAME, "1", f"{OUTPUT_PREFIX}judge", "0" * 64)
    (project / "models/weights.safetensors").write_text("damaged")
    assert reproduce.main(["--version", "1"]) == 1
    printed = capsys.readouterr().out
    assert "version 1: 1 of 3 recorded outputs agree" in printed
    differ = [line.split()[0] for line in printed.splitlines() if line.endswith(" DIFFERS")]
    assert differ == ["judge", "registered"]


def test_a_version_that_cannot_be_reproduced_gives_one_line_and_leaves_no_worktree(project, capsys):
    assert reproduce.main(["--version", "7"]) == 2
    assert "error: --version: got 7, expected a version of vaegan" in capsys.readouterr().err
    train_and_register()
    client = MlflowClient()
    head = git(project, "rev-parse", "HEAD").strip()
    empty = git(project, "commit-tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "-m", "-")
    for commit, message in [
        (empty.strip(), "dvc.yaml"),
        ("1" * 40, "which this repository does not have: fetch it"),
    ]:
        client.set_model_version_tag(NAME, "1", "git.commit", commit)
        assert reproduce.main(["--version", "1"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line
    client.set_model_version_tag(NAME, "1", "git.commit", head)
    client.set_model_version_tag(NAME, "1", "patch.sha256", "2" * 64)
    assert reproduce.main(["--version", "1"]) == 2
    assert "changes.patch of version 1 is damaged" in capsys.readouterr().err
    assert "reproduce-" not in git(project, "worktree", "list")


def worktrees(project: Path) -> list[str]:
    listed = git(project, "worktree", "list", "--porcelain").splitlines()
    return [line for line in listed if "reproduce-" in line]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_it_leaves_no_worktree_no_folder_and_no_process(
    project, tmp_path, monkeypatch, number, status
):
    train_and_register()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    started = tmp_path / "started"
    make = MAKE + f"\nimport os, time; open({str(started)!r}, 'w').write(str(os.getpid()))"
    (project / "make.py").write_text(make + "; time.sleep(60)")
    git(project, "commit", "-qam", "slow")
    head = git(project, "rev-parse", "HEAD").strip()
    MlflowClient().set_model_version_tag(NAME, "1", "git.commit", head)

    def stop() -> None:
        while not (started.is_file() and started.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    # Processes in the background ignore SIGINT, the tests' own perhaps too.
    before = signal.signal(number, signal.default_int_handler)
    try:
        left = reproduce.main(["--version", "1"])
    except SystemExit as stopped:
        left = stopped.code
    finally:
        signal.signal(number, before)
    assert left == status
    assert worktrees(project) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    stage = int(started.read_text())
    deadline = time.monotonic() + 5  # it was killed, but is not our child
    while psutil.pid_exists(stage):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worktree_that_a_killed_reproduction_left_goes_with_the_next(project, tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getpid()):
        folder = tmp_path / f"reproduce-{process}-abc/repository"
        git(project, "worktree", "add", "-q", "--detach", str(folder))
    train_and_register()
    assert reproduce.main(["--version", "1"]) == 0
    (line,) = worktrees(project)
    assert f"reproduce-{os.getpid()}-abc" in line
    assert not (tmp_path / f"reproduce-{ended.pid}-abc").exists()


def test_a_hook_of_the_users_does_not_run_in_the_worktree(project, tmp_path):
    train_and_register()
    hook = Path(git(project, "rev-parse", "--git-path", "hooks/post-checkout").strip())
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    hook.chmod(0o755)
    assert reproduce.main(["--version", "1"]) == 0
    assert not (tmp_path / "ran").exists()


def test_an_untracked_file_and_a_project_that_is_not_committed_yet_are_made_again(project, capsys):
    (project / "extra").mkdir()
    (project / "extra/neu für.txt").write_text("more\n")
    git(project, "rm", "-rq", "--cached", ".")
    (project / "../../README").write_text("the commit has another file\n")
    git(project, "add", "../../README")
    git(project, "commit", "-qm", "without the project")
    train_and_register()
    shutil.rmtree("extra")
    assert reproduce.main(["--version", "1"]) == 0
    assert "3 of 3 recorded outputs agree" in capsys.readouterr().out


def test_a_version_whose_origin_git_did_not_tell_is_refused_with_gits_own_reason(project, capsys):
    train_and_register()
    MlflowClient().set_model_version_tag(NAME, "1", FAILURE_TAG, "fatal: dubious ownership")
    assert reproduce.main(["--version", "1"]) == 2
    assert "fatal: dubious ownership" in capsys.readouterr().err


def test_a_commit_that_a_shallow_clone_lacks_is_told_with_the_remedy(
    project, tmp_path, monkeypatch, capsys
):
    train_and_register()
    first = git(project, "rev-parse", "HEAD").strip()
    git(project, "commit", "-qm", "second", "--allow-empty")
    top = git(project, "rev-parse", "--show-toplevel").strip()
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{top}", str(tmp_path / "shallow"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    monkeypatch.chdir(tmp_path / "shallow/papers/a project")
    assert reproduce.main(["--version", "1"]) == 2
    assert f"from commit {first}" in (said := capsys.readouterr().err)
    assert "git fetch --unshallow" in said


def test_an_output_is_compared_if_a_record_or_a_stage_names_it(tmp_path):
    for name in ("codes", "old"):
        (tmp_path / name).write_text(name)
    digest = tree_digest(tmp_path / "old")
    tags = {"sha256.old": digest, "sha256.models": "a", "dataset": "mnist"}
    assert compare_outputs(tags, tmp_path) == [
        Comparison("models", "a", None),
        Comparison("codes", None, tree_digest(tmp_path / "codes")),
        Comparison("old", digest, digest),
    ]


@pytest.mark.parametrize(
    ("recorded", "reproduced", "outcome"),
    [
        ("a", "a", "agrees"),
        ("a", "b", "DIFFERS"),
        ("a", None, "MISSING"),
        (None, "a", "not recorded"),
    ],
)
def test_an_outcome_states_whether_record_and_reproduction_agree(recorded, reproduced, outcome):
    assert Comparison("models", recorded, reproduced).outcome == outcome


def test_the_outputs_of_the_stages_are_those_that_dvc_knows():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    declared = {
        stage: tuple(
            Path(entry if isinstance(entry, str) else next(iter(entry)))
            for kind in ("outs", "metrics", "plots")
            for entry in content.get(kind, [])
        )
        for stage, content in stages.items()
    }
    assert declared == OUTPUTS
