"""The journal: what a stage has to tell while it runs, as plain files.

A journal is a folder below ``.journal/`` in the user's repository. Its file ``events.jsonl`` holds
one JSON object per line and is only ever appended to; a line names files that lie beside it and
were complete before the line was written. Any prefix of a journal is a journal: a killed process
leaves one that is read as far as it goes. ``pipeline/tracking/sync.py`` turns journals into MLflow.

Events, each with ``event`` and ``time`` (milliseconds since 1970):

- ``begin``: a process starts or resumes the stage: parameters, data set, provenance, process.
- ``report``: metrics of a training step, and the name of a PNG file with sample images.
- ``resumed``: work goes on from the checkpoint of a step.
- ``outputs``: the stage has finished: digests of its outputs and a summary.
- ``end``: the process has ended: FINISHED, FAILED or KILLED, and the reason.
"""

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock

from pipeline.artifacts.dataset import Dataset
from pipeline.artifacts.files import atomic_file, atomic_folder, write_array
from pipeline.artifacts.paths import repository

FOLDER = Path(".journal")  # below the user's repository
EVENTS, EXAMPLES, FILES = "events.jsonl", "examples.npy", "files"
CLASS_IMAGES, CLASS_LABELS = "class_images.npy", "class_labels.npy"
PATCH = "changes.patch"  # in a folder of its own for each process
MODELS = "models"  # folder of trained models, each under the SHA-256 of its weights
EXAMPLE_IMAGES = 8
PER_CLASS, MOST_BYTES = 8, 4_000_000  # training images of each class, and of all together
STARTS_ALIKE = 2.0  # seconds by which two readings of the start of one process may differ

Event = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """Facts about the run of a stage that the stage itself does not know.

    Attributes:
        params: The stage's parameters by dotted key.
        tags: Provenance: commit, machine, libraries, DVC's experiment.
        patch: From the commit to the tree; empty if the tree has no changes.
        version_tags: Tags of the registered version that the stage's model belongs to.
        store: Digest of the address of the tracking store that the journal is written for.
    """

    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    patch: bytes = b""
    version_tags: dict[str, str] = field(default_factory=dict)
    store: str = ""


class Journal:
    """Writes the journal of one run of a stage.

    Args:
        stage: Name of the stage.
        context: Recorded when the stage begins.
        on_begin: Called before anything is written; what it raises stops the stage.
        on_event: Called with each event once it is on disk.
        root: Folder of all journals; below the user's repository by default.

    Attributes:
        folder: The journal's own folder; None until :meth:`begin`.
        last_step: Step of the last report; -1 if there is none.
    """

    def __init__(
        self,
        stage: str,
        context: Context | None = None,
        on_begin: Callable[[], None] = lambda: None,
        on_event: Callable[[Event], None] = lambda event: None,
        root: Path | None = None,
    ) -> None:
        self.stage, self.context = stage, context or Context()
        self.on_begin, self.on_event = on_begin, on_event
        self.root = root or repository() / FOLDER
        self.folder: Path | None = None
        self.last_step = -1

    def begin(self, dataset: Dataset, about: dict[str, Any], key: str | None = None) -> None:
        """Opens the journal, or the unfinished one of a stopped process with the same key.

        Args:
            dataset: The data set that the stage works on.
            about: Facts about the run that the stage has worked out, as JSON values.
            key: Identifies work that can be resumed; None if the stage always starts anew.
        """
        self.on_begin()
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".lock"):  # two processes never resume the same journal
            _remove(self.root.glob(".*.part"))  # of a process that was killed here
            self.folder = self._unfinished(key) if key else None
            if self.folder is None:
                self.folder = self.root / _new_name(self.stage)
                with atomic_folder(self.folder) as part:
                    write_array(part / EXAMPLES, dataset.train.images[:EXAMPLE_IMAGES])
                    rows = _class_rows(dataset.train.labels, dataset.train.images[:1].nbytes)
                    write_array(part / CLASS_IMAGES, dataset.train.images[rows])
                    write_array(part / CLASS_LABELS, dataset.train.labels[rows])
            else:
                _remove(self.folder.rglob(".*.part"))  # of the process that was stopped
                reports = (e for e in read_events(self.folder) if e["event"] == "report")
                self.last_step = max((event["step"] for event in reports), default=-1)
            patch = None
            if self.context.patch:
                patch = f"patch-{len(read_events(self.folder))}/{PATCH}"
                with atomic_file(self.folder / patch) as part:
                    part.write_bytes(self.context.patch)
            event = {
                "stage": self.stage,
                "key": key,
                "process": this_process(),
                "dataset": _describe(dataset),
                "params": self.context.params,
                "tags": self.context.tags,
                "version_tags": self.context.version_tags,
                "patch": patch,
                "store": self.context.store,
                "about": about,
            }
            self._tell("begin", event)

    def report(self, step: int, metrics: dict[str, float], image: np.ndarray | None = None) -> None:
        """Appends a report; one of a step that the journal has already is left as it is.

        Args:
            step: Steps done.
            metrics: By name; none before the first step.
            image: Sample images, uint8 (H, W, C).
        """
        folder = self._opened()
        if step <= self.last_step:
            return
        event: Event = {"step": step, "metrics": metrics}
        if image is not None:
            from PIL import Image  # only a training has images to tell

            event["image"] = f"{step:09d}.png"
            with atomic_file(folder / event["image"]) as part:
                pixels = image[..., 0] if image.shape[-1] == 1 else image
                Image.fromarray(pixels).save(part, format="PNG")
        self._tell("report", event)
        self.last_step = step

    def resumed(self, step: int) -> None:
        """Appends that work goes on from a checkpoint at a step."""
        self._tell("resumed", {"step": step})

    def outputs(self, summary: dict[str, Any], digests: dict[str, str]) -> None:
        """Appends that the stage has finished.

        Args:
            summary: What the stage says of its work, as JSON values.
            digests: SHA-256 by output.
        """
        event = {"summary": summary, "digests": digests, "files": self._kept_files()}
        self._tell("outputs", event)

    def end(self, status: str, reason: str | None = None) -> None:
        """Appends how the process ended; without effect if the stage has not begun."""
        if self.folder is not None:
            self._tell("end", {"status": status, "reason": reason})

    def keep_file(self, path: Path) -> None:
        """Copies a file or folder into the journal, under its own relative path."""
        target = self._opened() / FILES / path
        if path.is_dir():
            with atomic_folder(target) as part:
                shutil.copytree(path, part, dirs_exist_ok=True)
        else:
            with atomic_file(target) as part:
                shutil.copyfile(path, part)

    def keep_model(self, model: Path, digest: str) -> None:
        """Copies a trained model into the folder of models, under the digest of its weights."""
        target = self.root / MODELS / digest
        if not target.exists():
            with atomic_folder(target) as part:
                shutil.copytree(model, part, dirs_exist_ok=True)

    def _kept_files(self) -> list[str]:
        kept = self._opened() / FILES
        paths = sorted(path for path in kept.rglob("*") if path.is_file())
        return [path.relative_to(kept).as_posix() for path in paths]

    def _opened(self) -> Path:
        if self.folder is None:
            raise RuntimeError("the journal has not begun")
        return self.folder

    def _tell(self, kind: str, event: Event) -> None:
        self.on_event(_append(self._opened(), kind, event))

    def _unfinished(self, key: str) -> Path | None:
        """The newest journal of this key that did not finish and whose process is gone."""
        for folder in reversed(journals(self.root)):
            events = read_events(folder)
            if not events or last_begin(events)["key"] != key:
                continue
            ended = events[-1]["event"] == "end"
            finished = ended and events[-1]["status"] == "FINISHED"
            if not finished and (ended or is_gone(last_begin(events)["process"])):
                return folder
        return None


def journals(root: Path) -> list[Path]:
    """Folders of all journals, the oldest first."""
    return sorted(path.parent for path in root.glob(f"[0-9]*/{EVENTS}"))


def read_events(folder: Path) -> list[Event]:
    """Reads the events of a journal; a last line that is not complete is left out."""
    try:
        content = (folder / EVENTS).read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def last_begin(events: list[Event]) -> Event:
    """The event with which the last process of a journal began."""
    return [event for event in events if event["event"] == "begin"][-1]


def this_process() -> dict[str, Any]:
    """Host, number and start of this process: by them :func:`is_gone` tells whether it lives."""
    me = psutil.Process()
    return {"host": socket.gethostname(), "pid": me.pid, "started": me.create_time()}


def is_gone(process: dict[str, Any]) -> bool:
    """Whether a process ran on this machine and has ended; False if that is not known."""
    try:
        if process["host"] != socket.gethostname():
            return False
        started = psutil.Process(process["pid"]).create_time()
        return abs(started - process["started"]) > STARTS_ALIKE  # its number was given anew
    except psutil.NoSuchProcess:
        return True
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False


def _append(folder: Path, kind: str, event: Event) -> Event:
    """Appends a line, after cutting off an incomplete one that a killed process left."""
    event = {"event": kind, "time": int(time.time() * 1000)} | event
    line = json.dumps(event, allow_nan=False).encode()
    with (folder / EVENTS).open("a+b") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return event


def _remove(parts: Iterable[Path]) -> None:
    """Removes temporary files and folders that a process left."""
    for part in list(parts):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _new_name(stage: str) -> str:
    """A name that sorts by time and is like no other."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{stage}-{uuid.uuid4().hex[:8]}"


def _class_rows(labels: np.ndarray, image_bytes: int) -> np.ndarray:
    """Rows of the first images of each class: at least one, and more if they are small."""
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    fit = MOST_BYTES // (len(starts) * image_bytes)
    rank = np.arange(len(order)) - np.repeat(starts, counts)  # within the class
    return np.sort(order[rank < min(max(fit, 1), PER_CLASS)])


def _describe(dataset: Dataset) -> dict[str, Any]:
    """Name, source, classes and training arrays of a data set, with their digests."""
    return {
        "name": dataset.name,
        "class_names": dataset.description["class_names"],
        "url": dataset.description["url"],
        "conversion": dataset.conversion,
        "arrays": dataset.description["splits"]["train"]["arrays"],
    }
