"""The journal: complete after a kill at any byte, resumed by one process, never rewritten."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.paths import MODEL
from pipeline.journal import EVENTS, EXAMPLES, FOLDER, Journal, is_gone, read_events, this_process

ROOT = Path(__file__).parents[2]


def begun(key: str | None = "key", **options) -> Journal:
    journal = Journal("train", **options)
    journal.begin(read_dataset(), {}, key)
    return journal


def test_events_are_lines_in_order_with_their_files_beside_them(workspace):
    journal = begun()
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    journal.report(5, {"loss": 0.5}, image)
    journal.keep_file(MODEL)
    journal.outputs({"model": "digest"}, {"models": "of the folder"})
    journal.end("FINISHED")
    begin, report, outputs, end = read_events(journal.folder)
    assert begin["dataset"]["name"] == "bars"
    assert (report["step"], report["metrics"]) == (5, {"loss": 0.5})
    with Image.open(journal.folder / report["image"]) as found:
        assert np.array_equal(np.asarray(found), image[..., 0])
    assert outputs["files"] == ["models/model.json", "models/weights.safetensors"]
    assert (end["status"], end["reason"]) == ("FINISHED", None)
    assert np.load(journal.folder / EXAMPLES).shape == (8, 1, 16, 16)
    times = [event["time"] for event in (begin, report, outputs, end)]
    assert times == sorted(times)


def test_an_incomplete_line_is_ignored_and_overwritten(workspace):
    journal = begun()
    journal.report(5, {"loss": 0.5})
    path = journal.folder / EVENTS
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        assert [event["event"] for event in read_events(journal.folder)] == ["begin"]
    again = Journal("train")
    again.folder = journal.folder
    again.report(6, {"loss": 0.25})
    assert [event.get("step") for event in read_events(journal.folder)] == [None, 6]


def test_the_report_of_a_step_is_written_once(workspace):
    journal = begun()
    journal.report(5, {"loss": 0.5})
    before = (journal.folder / EVENTS).read_bytes()
    journal.report(5, {"loss": 9.0})
    journal.report(4, {"loss": 9.0})
    assert (journal.folder / EVENTS).read_bytes() == before


def test_a_stopped_training_resumes_in_its_own_journal(workspace):
    first = begun()
    first.report(5, {"loss": 0.5})
    first.end("KILLED", "Ctrl-C")
    assert begun(key="another").folder != first.folder
    again = begun()
    assert (again.folder, again.last_step) == (first.folder, 5)
    kinds = [event["event"] for event in read_events(first.folder)]
    assert kinds == ["begin", "report", "end", "begin"]
    again.end("FINISHED")
    assert begun().folder != first.folder


def test_what_a_killed_process_was_writing_is_removed(workspace):
    """Beside the journals, and in its own journal; the files that it had finished stay."""
    stopped = begun()
    stopped.report(5, {"loss": 0.5}, np.zeros((8, 8, 1), np.uint8))
    stopped.end("KILLED")
    finished = sorted(stopped.folder.rglob("*"))
    for folder in (stopped.root, stopped.folder, stopped.folder / "files"):
        (folder / ".new.new.part").mkdir(parents=True)
        (folder / ".new.new.part/half.npy").touch()
        (folder / ".new.lock.part").touch()
    assert begun().folder == stopped.folder
    assert not list(stopped.root.rglob("*.part*"))
    assert set(finished) <= set(stopped.folder.rglob("*"))


def test_a_journal_of_a_living_process_is_not_taken_over(workspace):
    assert begun().folder != begun().folder


LEFT = """
import os
from pipeline.artifacts.dataset import read_dataset
from pipeline.journal import Journal
journal = Journal("train")
journal.begin(read_dataset(), {}, "key")
journal.report(5, {"loss": 0.5})
print(journal.folder.name, flush=True)
os._exit(9)
"""


def test_a_journal_of_a_process_that_vanished_is_resumed(workspace):
    done = subprocess.run(
        [sys.executable, "-c", LEFT],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    journal = begun()
    assert (journal.folder.name, journal.last_step) == (done.stdout.strip(), 5)


def test_only_one_of_several_resuming_processes_gets_the_journal(workspace):
    first = begun()
    first.end("KILLED", "Ctrl-C")
    taken: list[Path] = []
    dataset = read_dataset()

    def resume() -> None:
        journal = Journal("train")
        journal.begin(dataset, {}, "key")
        taken.append(journal.folder)

    threads = [threading.Thread(target=resume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(first.folder) == 1
    assert len(set(taken)) == 4


def test_an_error_of_the_store_stops_a_stage_before_anything_is_written(workspace):
    def refuse() -> None:
        raise ValueError("no store")

    journal = Journal("train", on_begin=refuse)
    with pytest.raises(ValueError, match="no store"):
        journal.begin(read_dataset(), {}, "key")
    journal.end("FAILED", "no store")
    assert not Path(FOLDER).exists()


def test_a_report_with_nan_is_rejected(workspace):
    journal = begun()
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.report(5, {"loss": float("nan")})
    assert len(read_events(journal.folder)) == 1


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, False),
        ({"host": "another machine"}, False),  # not known
        ({"started": 1.0}, True),  # another process has its number
        ({"pid": "?"}, False),
        ({"pid": 2**22 + 1}, True),  # above the largest number that Linux gives
    ],
)
def test_only_a_process_known_to_have_ended_counts_as_gone(change, gone):
    assert is_gone(json.loads(json.dumps(this_process())) | change) == gone
