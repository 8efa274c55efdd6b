import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import files
from pipeline.artifacts.files import atomic_file, atomic_folder, tree_digest

ROOT = Path(__file__).parents[3]


def test_a_failed_file_write_keeps_the_previous_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_a_failed_folder_write_keeps_the_previous_folder_and_leaves_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "d") as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "old"]
    with atomic_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "new"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_file_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_json(tmp_path / "a.json", {})
        with atomic_folder(tmp_path / "d"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o777 & ~umask


def test_json_with_nan_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="[Nn]a[Nn]|JSON"):
        files.write_json(tmp_path / "m.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.bool_])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 1, 2, 5)])
def test_arrays_written_in_blocks_have_the_bytes_of_arrays_written_at_once(tmp_path, dtype, shape):
    array = np.random.default_rng(0).integers(0, 2**7, shape).astype(dtype)
    np.save(tmp_path / "whole.npy", array)
    blocks = ({"a": array[rows]} for rows in np.split(np.arange(7), [1, 1, 5]))
    described = files.write_arrays(tmp_path, blocks, 7)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    digest = files.sha256(tmp_path / "whole.npy")
    assert described == {
        "a": {"shape": list(shape), "dtype": np.dtype(dtype).name, "sha256": digest}
    }


def test_changing_a_mapped_array_in_memory_does_not_change_its_file(tmp_path):
    files.write_array(tmp_path / "a.npy", np.zeros(3))
    array = files.read_array(tmp_path / "a.npy")
    array[0] = 1.0
    assert np.load(tmp_path / "a.npy").tolist() == [0, 0, 0]


@contextmanager
def process(code: str, folder: Path) -> Iterator[subprocess.Popen]:
    """A process that runs code in a folder; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


PREAMBLE = """
import sys, time
from pathlib import Path
from pipeline.artifacts.files import atomic_file, atomic_folder
def hang(*_):
    print("ready", flush=True)
    time.sleep(600)
"""
HALF_A_FILE = """
with atomic_file(Path("f.txt")) as part:
    part.write_text("half")
    hang()
"""
HALF_A_FOLDER = """
with atomic_folder(Path("d")) as folder:
    (folder / "x").touch()
    hang()
"""
SET_ASIDE = """
replace = Path.replace
Path.replace = lambda path, target: replace(path, target) if path.name == "d" else hang()
with atomic_folder(Path("d")) as folder:
    (folder / "new").touch()
"""


def kill_in(code: str, folder: Path) -> None:
    with process(code, folder) as started:
        assert started.stdout.readline() == "ready\n"


def test_leftovers_of_a_killed_process_are_removed_by_the_next_writer(tmp_path):
    (tmp_path / "f.txt").write_text("old")
    for code in (HALF_A_FILE, HALF_A_FOLDER):
        kill_in(code, tmp_path)
    assert (tmp_path / "f.txt").read_text() == "old"
    assert len(list(tmp_path.glob(".*.new.part"))) == 2
    with atomic_file(tmp_path / "f.txt") as part:
        part.write_text("whole")
    with atomic_folder(tmp_path / "d") as folder:
        (folder / "y").touch()
    assert {p.name for p in tmp_path.rglob("*")} == {"f.txt", "d", "y"}
    assert (tmp_path / "f.txt").read_text() == "whole"


def test_a_folder_set_aside_by_a_killed_process_is_restored(tmp_path):
    with atomic_folder(tmp_path / "d") as folder:
        (folder / "old").touch()
    kill_in(SET_ASIDE, tmp_path)
    assert not (tmp_path / "d").exists()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "old"]


def test_a_writer_waits_for_the_previous_writer_to_finish(tmp_path):
    with process(HALF_A_FILE, tmp_path) as first:
        first.stdout.readline()
        second = 'print("asks", flush=True)' + HALF_A_FILE.replace("half", "second")
        with process(second.replace("hang()", ""), tmp_path) as waiting:
            assert waiting.stdout.readline() == "asks\n"
            time.sleep(0.3)
            assert not (tmp_path / "f.txt").exists()
            first.kill()
            assert waiting.wait(60) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]
    assert (tmp_path / "f.txt").read_text() == "second"


MANY = """
name = sys.argv[0] + str(time.monotonic_ns())
for i in range(30):
    with atomic_file(Path("f.txt")) as part:
        part.write_text(name * 10_000)
    with atomic_folder(Path("d")) as folder:
        for file in ("a", "b"):
            (folder / file).write_text(name)
"""


def test_two_processes_writing_one_path_at_once_both_succeed(tmp_path):
    with process(MANY, tmp_path) as first, process(MANY, tmp_path) as second:
        while None in (first.poll(), second.poll()):
            if (tmp_path / "f.txt").exists():
                content = (tmp_path / "f.txt").read_text()
                assert content == content[: len(content) // 10_000] * 10_000
        assert (first.returncode, second.returncode) == (0, 0)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "d", "f.txt"]
    assert len({(tmp_path / "d" / file).read_text() for file in ("a", "b")}) == 1


def test_the_digest_of_a_tree_changes_with_any_name_or_byte(tmp_path):
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
