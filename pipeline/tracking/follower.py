"""The follower: keeps a run in MLflow up to date with the journal of the stage that is running."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.ambient import QUICK
from pipeline.artifacts.paths import repository
from pipeline.journal import FOLDER, Context, Journal
from pipeline.tracking import registry
from pipeline.tracking.provenance import FAILURE_TAG, machine_tags, provenance
from pipeline.tracking.store import connect, one_line, raised_by_store, reason, store_digest
from pipeline.tracking.sync import mark_sent, sync_all, sync_journal

RETRY_AFTER = 30.0  # seconds before a store that was found lost is asked again


def context(params: dict[str, Any]) -> Context:
    """Facts about this process and its tree for a stage's journal.

    Args:
        params: The stage's parameters by dotted key.
    """
    tree = provenance()
    failure = tree.tags.get(FAILURE_TAG)
    if failure and not os.environ.get(QUICK):
        warn(f"what is trained here cannot be reproduced, its origin is unknown: {failure}")
    lock = {}
    if os.environ.get("DVC_STAGE"):  # by hand, dvc.lock may tell of another model
        lock = registry.dvc_lock_tags(Path("dvc.lock"))
    tags = tree.tags | machine_tags()
    return Context(params, tags, tree.patch, lock, store_digest())


class Follower:
    """Sends a journal to MLflow from a thread of its own, while the stage runs.

    A store that is slow or lost costs the stage nothing: the journal stays on disk, and the next
    stage or ``python -m pipeline track`` sends what the store lacks.

    Args:
        say: Called with sentences for the user.
    """

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self.say = say
        self.journal: Journal | None = None
        self.experiment = ""
        self.store = store_digest()
        self.lost = False
        self.fault: Exception | None = None
        self._changed, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="tracking", daemon=True)

    def open(self) -> None:
        """Connects to the store and sends what it lacks of earlier journals.

        Raises:
            StoreError: the store cannot be used.
        """
        self.experiment = connect()
        with one_line():
            sync_all(repository() / FOLDER, self.experiment, self.store, self.say)

    def start(self, journal: Journal) -> None:
        """Begins to follow a journal that has begun."""
        self.journal = journal
        self._thread.start()

    def wake(self) -> None:
        """Tells that the journal has a new event."""
        self._changed.set()

    def stop(self, finished: bool) -> None:
        """Ends the thread and sends what is due.

        Args:
            finished: Whether the stage has finished. If not, the user waits for nothing but the
                event that is being sent and the state of the run: reports that are due are left
                to the next sync.
        """
        if self.journal is None or self.journal.folder is None:
            return
        self._stopped.set()
        self._changed.set()
        self._thread.join()
        self._send(lambda: finished)
        if self.lost:
            warn(
                f"the tracking store lacks a part of {self.journal.folder}: the next stage, or "
                "python -m pipeline track, sends it"
            )
        elif finished:
            mark_sent(self.journal.folder, self.store)
        if self.fault is not None:
            raise self.fault

    def _follow(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait()
            self._changed.clear()
            if not self._stopped.is_set():
                self._send(lambda: not self._stopped.is_set())
                if self.lost:  # a store that is silent costs minutes to ask: not for each event
                    self._stopped.wait(RETRY_AFTER)

    def _send(self, go_on: Callable[[], bool]) -> None:
        folder = self.journal.folder if self.journal else None
        if folder is None or self.fault is not None:
            return
        try:
            sync_journal(folder, self.experiment, self.say, go_on)
        except Exception as error:
            if not (raised_by_store(error) or isinstance(error, OSError)):
                self.fault = error  # of ours: raised when the stage has ended
                return
            if not self.lost:
                warn(f"the tracking store was lost, the stage goes on: {reason(error)}")
            self.lost = True
        else:
            if self.lost:
                warn("the tracking store is back, and has everything")
            self.lost = False


def warn(text: str) -> None:
    """Prints a warning on standard error."""
    print(f"WARNING: {text}", file=sys.stderr, flush=True)
