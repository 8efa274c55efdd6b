import subprocess
from pathlib import Path

import pytest

from pipeline.tracking.provenance import MOST_BYTES, changes, params_digest, provenance


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


def test_origin_names_commit_and_whether_the_tree_has_changes(repository):
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
    "setting", [None, "color.ui=always", "diff.noprefix=true", "diff.external=/bin/true"]
)
def test_the_patch_makes_the_same_tree_of_a_clean_checkout(repository, tmp_path, setting):
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


def test_large_files_that_git_does_not_know_are_left_out_and_named(repository):
    (repository / "large").write_bytes(b"0" * (MOST_BYTES + 1))
    (repository / "small").write_bytes(b"1")
    found = provenance()
    assert found.tags["patch.left_out"] == "large"
    assert b"small" in found.patch
    assert len(found.patch) < 1000


def test_without_a_repository_there_is_no_commit_and_no_patch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance().tags == {}
    assert provenance().patch == b""
    git(tmp_path, "init", "-q")  # nor in one without a commit
    assert provenance().tags == {}


def test_the_digest_of_parameters_follows_values_and_not_their_order():
    assert params_digest({"a": 1, "b": 2.0}) == params_digest({"b": 2.0, "a": 1})
    assert params_digest({"a": 1}) != params_digest({"a": 2})
