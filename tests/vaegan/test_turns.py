"""Processes on the same cores take turns, and none waits for ever."""

import errno
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from vaegan import turns
from vaegan.training.loop import TrainingLoop
from vaegan.turns import Tokens, in_turns

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fcntl")


@pytest.fixture
def tokens(tmp_path, monkeypatch) -> Tokens:
    """This process's tokens, of two cores; its turns end after every item."""
    own = Tokens(tmp_path, {0, 1})
    monkeypatch.setattr(turns, "_tokens", lambda: own)
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.05)
    return own


def free(folder: Path) -> int:
    """How many tokens of two cores another process could take."""
    other = Tokens(folder, {0, 1})
    taken = sum(turns._try_lock(core) for core in other.cores)
    for file in (other.queue, *other.cores):
        os.close(file)
    return taken


@pytest.mark.parametrize(("threads", "left"), [(1, 1), (2, 0), (8, 0)])
def test_a_process_holds_a_token_per_thread_while_an_item_is_processed(
    tokens, tmp_path, monkeypatch, threads, left
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    seen = [(item, free(tmp_path)) for item in in_turns("abc")]
    assert seen == [("a", left), ("b", left), ("c", left)]
    assert free(tmp_path) == 2


def test_a_loop_that_breaks_off_or_fails_gives_its_tokens_back(tokens, tmp_path):
    for _ in in_turns(range(3)):
        break
    assert free(tmp_path) == 2

    def failing():
        for _ in in_turns(range(3)):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        failing()
    assert free(tmp_path) == 2


def test_a_loop_inside_another_one_keeps_the_outer_loops_turn(tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for _ in in_turns(range(2)):
        assert list(in_turns("ab")) == ["a", "b"]
        assert free(tmp_path) == 0


def test_two_that_need_all_cores_take_turns_and_never_compute_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 5.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    own = threading.local()
    monkeypatch.setattr(turns, "_tokens", lambda: own.tokens)
    order: list[str] = []
    inside: set[str] = set()
    at_once: list[int] = []

    def work(name: str) -> None:
        own.tokens = Tokens(tmp_path, {0, 1})
        for _ in in_turns(range(10)):
            inside.add(name)
            order.append(name)
            time.sleep(0.02)
            at_once.append(len(inside))
            inside.discard(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order) == ["a"] * 10 + ["b"] * 10
    assert set(at_once) == {1}
    # One that does not queue takes its tokens again before the other looks for them. On a busy
    # machine the other may look late, and miss a turn.
    changes = sum(first != second for first, second in itertools.pairwise(order))
    assert changes >= 6


def test_a_process_computes_without_tokens_if_another_one_keeps_them(tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    other = Tokens(tmp_path, {0, 1})
    other.acquire(2)
    begun = time.monotonic()
    assert list(in_turns(range(100))) == list(range(100))
    assert time.monotonic() - begun < 2  # it waits once, not before every item
    assert free(tmp_path) == 0
    other.release()


def test_the_tokens_of_a_killed_process_are_free(tokens, tmp_path):
    code = (
        "import pathlib, sys, time; from vaegan.turns import Tokens; "
        "Tokens(pathlib.Path(sys.argv[1]), {0, 1}).acquire(2); print('held', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert free(tmp_path) == 0
        process.kill()
    assert free(tmp_path) == 2


@pytest.mark.parametrize("fault", ["a file in its place", "no locks"])
def test_a_folder_that_cannot_be_used_means_no_turns(tmp_path, monkeypatch, fault):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "no locks available")

    if fault == "no locks":  # on some network file systems
        monkeypatch.setattr(turns.fcntl, "flock", refuse)
    else:
        (tmp_path / f"vaegan-{os.getuid()}").write_text("a file")
    monkeypatch.setattr(turns.tempfile, "gettempdir", lambda: str(tmp_path))
    assert turns._tokens.__wrapped__() is None
    monkeypatch.setattr(turns, "_tokens", lambda: None)
    assert list(in_turns("ab")) == ["a", "b"]


def test_the_loop_of_training_steps_runs_in_turns(tokens, tmp_path):
    found = []

    def update(rng):
        found.append(free(tmp_path))
        return {"loss": torch.zeros(())}

    TrainingLoop(update, lambda step: None, torch.device("cpu"), 0, "batch").run(2)
    assert max(found) < 2
    assert free(tmp_path) == 2
