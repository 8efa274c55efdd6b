import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.artifacts import files
from pipeline.artifacts.files import tree_digest, whole_file, whole_folder


def test_a_file_that_fails_halfway_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_a_folder_that_fails_halfway_leaves_the_old_one_and_nothing_else(tmp_path):
    with whole_folder(tmp_path / "d") as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "old"]
    with whole_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "new"]


def test_files_are_readable_by_others_as_the_umask_says(tmp_path):
    files.write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~files._umask()


def test_json_with_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="[Nn]a[Nn]|JSON"):
        files.write_json(tmp_path / "m.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_mapped_array_can_be_changed_in_memory_and_its_file_stays(tmp_path):
    files.write_array(tmp_path / "a.npy", np.zeros(3))
    array = files.read_array(tmp_path / "a.npy")
    array[0] = 1.0
    assert np.load(tmp_path / "a.npy").tolist() == [0, 0, 0]


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_a_killed_process_left_unfinished_goes_when_the_next_one_writes(tmp_path, gone):
    for owner in (gone, os.getpid()):
        (tmp_path / f".f.txt.{owner}.abc.part").write_text("half")
        (tmp_path / f".d.{owner}.abc.part").mkdir()
        (tmp_path / f".d.{owner}.abc.part/x").touch()
    with whole_file(tmp_path / "f.txt") as part:
        part.write_text("whole")
    with whole_folder(tmp_path / "d") as folder:
        (folder / "y").touch()
    assert not list(tmp_path.glob(f".*.{gone}.*"))
    assert len(list(tmp_path.glob(f".*.{os.getpid()}.*"))) == 2  # of a process that still lives


def test_a_folder_that_was_put_aside_when_the_process_was_killed_comes_back(tmp_path, gone):
    aside = tmp_path / f".d.{gone}.abc.old.part"
    aside.mkdir()
    (aside / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "old"]


def test_a_tree_has_another_digest_if_a_name_or_a_byte_differs(tmp_path):
    def tree(**content: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in content.items():
            (folder / "sub").mkdir(parents=True, exist_ok=True)
            (folder / "sub" / name).write_text(text)
        return tree_digest(folder)

    first = tree(a="1", b="2")
    assert tree(b="2", a="1") == first
    assert len({first, tree(a="1", b="3"), tree(a="1", c="2"), tree(a="1")}) == 4
    with pytest.raises(files.ArtifactError, match="nowhere is missing"):
        tree_digest(tmp_path / "nowhere")
