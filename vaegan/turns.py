"""Processes that compute on the same CPU cores take turns.

The threads of one operation wait for each other by spinning. Two trainings on the same cores
therefore keep each other's threads from running, and reach a fraction of one training's throughput
in sum. So a long loop runs in turns: out of one token per core, a process takes as many as it has
threads, computes for :data:`TURN_SECONDS`, gives them back and queues for the next turn. A process
that is alone never waits. ``python -m benchmarks together`` measures both.

A token is a lock on a file in the user's own folder below the system's folder for temporary files.
The kernel releases it when its process ends, however it ends. Turns do not change results.
"""

import os
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

with suppress(ImportError):  # missing on Windows, where processes take no turns
    import fcntl

Item = TypeVar("Item")

TURN_SECONDS = 1.0  # threads of the process before spin for some milliseconds of it
# A process that waits longer, because one with tokens was suspended, computes without them.
PATIENCE_SECONDS, PAUSE_SECONDS = 60.0, 600.0
POLL_SECONDS = 0.001


class Tokens:
    """The tokens of the cores that this process may run on.

    Args:
        folder: Folder of the locks, created if it is missing.
        cores: Numbers of the cores.

    Raises:
        OSError: the folder cannot be used, or its file system has no locks.
    """

    def __init__(self, folder: Path, cores: Collection[int]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.queue, *self.cores = (
            os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
            for name in ("queue", *(f"core-{core}" for core in sorted(cores)))
        )
        if _try_lock(self.queue):
            _unlock([self.queue])
        self.held: list[int] = []
        self.pause_until = 0.0

    def acquire(self, count: int) -> None:
        """Waits for a number of tokens, of all cores at most; gives up after a minute."""
        if time.monotonic() < self.pause_until:
            return
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Only the head of the queue takes tokens: a process that has just given its own back comes
        # after those that wait, and no two processes each hold half of what they need.
        if _lock([self.queue], 1, deadline):
            self.held = _lock(self.cores, min(count, len(self.cores)), deadline)
            _unlock([self.queue])
        if not self.held:
            self.pause_until = time.monotonic() + PAUSE_SECONDS

    def release(self) -> None:
        """Gives the tokens back."""
        _unlock(self.held)
        self.held = []


def in_turns(items: Iterable[Item]) -> Iterator[Item]:
    """Yields items, and holds this process's tokens while one is processed.

    A loop inside another one shares its turn.
    """
    tokens = _tokens()
    if tokens is None or tokens.held:
        yield from items
        return
    turn_ends = 0.0
    try:
        for item in items:
            if time.monotonic() > turn_ends:
                tokens.release()
                tokens.acquire(torch.get_num_threads())
                turn_ends = time.monotonic() + TURN_SECONDS
            yield item
    finally:
        tokens.release()


@cache
def _tokens() -> Tokens | None:
    """Returns the tokens of this process; None where files cannot be locked."""
    if "fcntl" not in globals():
        return None
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = os.sched_getaffinity(0) if has_affinity else range(os.cpu_count() or 1)
    try:
        return Tokens(Path(tempfile.gettempdir()) / f"vaegan-{os.getuid()}", cores)
    except OSError:
        return None


def _lock(files: list[int], count: int, deadline: float) -> list[int]:
    """Locks a number of files, whichever are free; returns them, or none at the deadline."""
    locked: list[int] = []
    while True:
        for file in files:
            if len(locked) < count and file not in locked and _try_lock(file):
                locked.append(file)
        if len(locked) == count:
            return locked
        if time.monotonic() > deadline:
            _unlock(locked)
            return []
        time.sleep(POLL_SECONDS)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(files: list[int]) -> None:
    for file in files:
        fcntl.flock(file, fcntl.LOCK_UN)
