import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.tracking.follower import context
from pipeline.tracking.git import git as run_git
from pipeline.tracking.provenance import (
    FAILURE_TAG,
    MOST_BYTES,
    changes,
    params_digest,
    provenance,
)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return done.stdout


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with one commit; the tests run in it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "code.py").write_text("1\n")
    (folder / "dvc.lock").write_text("the pipeline's own\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_provenance_records_the_commit_and_whether_the_tree_has_changes(repository):
    clean = {
        "git.commit": git(repository, "rev-parse", "HEAD").strip(),
        "git.dirty": "false",
        "patch.sha256": "none",
    }
    assert provenance().tags == clean
    (repository / "dvc.lock").write_text("new")
    assert provenance().tags == clean  # what the pipeline writes is no change of the user's
    (repository / "code.py").write_text("changed by hand")
    changed = provenance().tags
    assert changed["git.dirty"] == "true"
    (repository / "code.py").write_text("changed again")
    assert provenance().tags["patch.sha256"] != changed["patch.sha256"]


@pytest.mark.parametrize(
    "setting",
    [
        None,
        "color.ui=always",
        "diff.noprefix=true",
        "diff.external=/bin/true",
        "diff.relative=false",
    ],
)
def test_the_patch_turns_a_clean_checkout_into_the_same_tree(repository, tmp_path, setting):
    """Whatever the user's own git is set to, and whatever bytes the files hold."""
    if setting:
        git(repository, "config", *setting.split("=", 1))
    (repository / "code.py").write_bytes(b"changed\r\nwith two kinds\nof line ends\r\n")
    (repository / "new file.py").write_bytes("latin: \xe9\r\n".encode("latin-1"))
    (repository / "bytes").write_bytes(bytes(range(256)))
    patch = tmp_path / "changes.patch"
    patch.write_bytes(provenance().patch)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    git(clone, "apply", "--whitespace=nowarn", str(patch))
    for name in ("code.py", "new file.py", "bytes"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes()
    assert changes() == (patch.read_bytes(), [])  # looking changes nothing
    assert "new file.py" in git(repository, "ls-files", "--others")


def test_large_untracked_files_are_left_out_and_named(repository):
    (repository / "large").write_bytes(b"0" * (MOST_BYTES + 1))
    (repository / "small").write_bytes(b"1")
    found = provenance()
    assert found.tags["patch.left_out"] == "large"
    assert b"small" in found.patch
    assert len(found.patch) < 1000


def test_what_cannot_be_taken_into_a_patch_is_named(repository):
    git(repository, "init", "-q", "another repository")
    (repository / "another repository/file").write_text("1")
    (repository / "link").symlink_to("nowhere")
    found = provenance()
    assert found.tags["patch.left_out"] == "another repository/"
    assert b"nowhere" in found.patch


@pytest.fixture(params=["subfolder", "worktree", "submodule", "link", "link to a subfolder"])
def project(request, tmp_path, monkeypatch) -> Path:
    """The folder of a project, the cwd, that is not the plain root of its git repository."""
    above = tmp_path / "alles für ein Projekt"
    inner = above / "papers/a project é"
    folder = inner if "subfolder" in request.param else above
    folder.mkdir(parents=True)
    (folder / "code.py").write_text("1\n")
    (folder / ".gitignore").write_text("models\n")
    (above / "other.txt").write_text("of another project\n")
    git(above, "init", "-q")
    git(above, "add", "-A")
    git(above, "commit", "-qm", "first")
    if request.param == "worktree":
        folder = tmp_path / "a worktree"
        git(above, "worktree", "add", "-q", "--detach", str(folder))
    if request.param == "submodule":
        whole = tmp_path / "whole"
        git(tmp_path, "init", "-q", str(whole))
        allowed = ("-c", "protocol.file.allow=always")
        git(whole, *allowed, "submodule", "--quiet", "add", str(above), "papers/part")
        folder = whole / "papers/part"
    if "link" in request.param:
        (tmp_path / "link").symlink_to(folder)
        folder = tmp_path / "link"
    monkeypatch.chdir(folder)
    return folder


def test_the_patch_is_of_the_project_wherever_git_has_its_root(project, tmp_path):
    commit = git(project, "rev-parse", "HEAD").strip()
    prefix = git(project, "rev-parse", "--show-prefix").strip()
    clean = {"git.commit": commit, "git.dirty": "false", "patch.sha256": "none"}
    if prefix:
        (tmp_path / "alles für ein Projekt/other.txt").write_text("changed")
    (project / "models").mkdir()
    (project / "models/weights").write_text("ignored")
    assert provenance().tags == clean
    (project / "code.py").write_text("2\n")
    (project / "extra").mkdir()
    (project / "extra/neu für 1.py").write_text("new\n")
    patch = tmp_path / "changes.patch"
    patch.write_bytes(provenance().patch)
    assert provenance().tags["git.dirty"] == "true"
    clone = tmp_path / "clone"
    git(project, "worktree", "add", "-q", "--detach", str(clone), commit)
    git(clone, "apply", f"--directory={prefix}", str(patch))
    assert (clone / prefix / "code.py").read_text() == "2\n"
    assert (clone / prefix / "extra/neu für 1.py").read_text() == "new\n"
    assert "other.txt" not in git(clone, "status", "--porcelain")


def spoil(repository: Path, monkeypatch, how: str) -> None:
    """Makes git fail in a repository."""
    if how == "no git":
        monkeypatch.setenv("PATH", "")
    elif how == "no repository":
        shutil.rmtree(repository / ".git")
    elif how == "no commit yet":
        shutil.rmtree(repository / ".git")
        git(repository, "init", "-q")
    elif how == "damaged HEAD":
        (repository / ".git/HEAD").write_text("nothing")
    elif how == "lost commit":
        (repository / ".git/HEAD").write_text("1" * 40 + "\n")
    elif how == "damaged index":
        (repository / ".git/index").write_bytes(b"nothing")
    elif how == "another owner":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        monkeypatch.setenv("HOME", str(repository))
    elif how == "bare":
        git(repository, "config", "core.bare", "true")
    elif how == "ignored":
        (repository / ".gitignore").write_text("inner\n")
        (repository / "inner").mkdir()
        monkeypatch.chdir(repository / "inner")
    elif how == "silent":
        (repository / "bin").mkdir()
        (repository / "bin/git").write_text("#!/bin/sh\nexec sleep 60\n")
        (repository / "bin/git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{repository / 'bin'}:/usr/bin:/bin")
        monkeypatch.setitem(run_git.__kwdefaults__, "within", 0.1)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no git", "git is not installed, or not on PATH"),
        ("no repository", "not a git repository"),
        ("no commit yet", "does not have any commits yet"),
        ("damaged HEAD", ".git is there, but is damaged"),
        ("lost commit", "bad object HEAD"),
        ("damaged index", "git diff: "),
        ("another owner", "git config --global --add safe.directory"),
        ("bare", "must be run in a work tree"),
        ("ignored", "the commit holds no file of"),
        ("silent", "git log did not end within 0.1 s"),
    ],
)
def test_a_failure_of_git_is_told_apart_and_never_taken_for_a_clean_tree(
    repository, monkeypatch, capsys, how, said
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    spoil(repository, monkeypatch, how)
    found = provenance()
    assert said in found.tags[FAILURE_TAG]
    assert "\n" not in found.tags[FAILURE_TAG]
    assert "git.dirty" not in found.tags
    assert found.patch == b""
    context({})
    assert said in capsys.readouterr().err


def test_a_monitor_of_the_file_system_that_goes_on_does_not_keep_git_waiting(repository):
    git(repository, "config", "core.fsmonitor", "true")
    assert provenance().tags["git.dirty"] == "false"
    assert not (repository / ".git/fsmonitor--daemon.ipc").exists()


def test_the_digest_of_parameters_depends_on_values_but_not_on_order():
    assert params_digest({"a": 1, "b": 2.0}) == params_digest({"b": 2.0, "a": 1})
    assert params_digest({"a": 1}) != params_digest({"a": 2})
