"""The sync: turns journals into MLflow.

Both functions are idempotent: they ask the store what it has and send what it lacks, so they may
be stopped anywhere, repeated, and run by several processes at once.
"""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from pipeline.journal import Event, is_gone, journals, last_begin, read_events
from pipeline.tracking.model_run import ModelRun, Say
from pipeline.tracking.repair import repair


def sync_all(
    root: Path, experiment: str, store: str, say: Say = print, everything: bool = False
) -> int:
    """Sends what the store lacks of the journals of processes that have ended, the oldest first.

    What the store lists and has lost from its disk is restored, see ``repair.py``.

    Args:
        root: Folder of the journals.
        experiment: Id of the experiment that new runs belong to.
        store: Digest of the store's address.
        say: Called with a sentence about each journal that was sent or left alone.
        everything: Whether to compare every journal with the store; if not, only journals that
            were written for this store and are not marked as sent are looked at.

    Returns:
        The number of journals of which the store lacked something.

    Raises:
        Whatever the store raises: it does not answer; repeating the call sends the rest.
    """
    sent = 0
    for folder in journals(root):
        events, mark = read_events(folder), folder / f"synced-{store}"
        if not events or not (everything or _is_due(events, store, mark)):
            continue
        if events[-1]["event"] != "end" and not is_gone(last_begin(events)["process"]):
            continue  # its own process sends it
        if sync_journal(folder, experiment, say):
            sent += 1
            say(f"sent to the tracking store what it lacked of {folder.name}")
        mark_sent(folder, store)
    repair(root, experiment, say, everything)
    return sent


def mark_sent(folder: Path, store: str) -> None:
    """Marks that a store has every event that a journal holds now."""
    (folder / f"synced-{store}").write_text(f"{len(read_events(folder))}\n")


def sync_journal(
    folder: Path, experiment: str, say: Say = print, go_on: Callable[[], bool] = lambda: True
) -> bool:
    """Sends what the store lacks of one journal.

    Args:
        folder: Folder of the journal.
        experiment: Id of the experiment that a new run belongs to.
        say: Called with sentences for the user.
        go_on: Called before each report; once it returns False, only the state of the run is sent.

    Returns:
        Whether the store lacked something.

    Raises:
        Whatever the store raises: it does not answer.
    """
    with FileLock(folder / ".lock"):
        events = read_events(folder)
        return bool(events) and ModelRun(folder, events, experiment, say).send(go_on)


def _is_due(events: list[Event], store: str, mark: Path) -> bool:
    """Whether a journal was written for a store and has events that its mark does not count."""
    sent = int(mark.read_text()) if mark.exists() else 0
    return last_begin(events)["store"] == store and sent < len(events)
