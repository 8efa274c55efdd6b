"""A person on a terminal sees how far a stage is, and for how long it goes on."""

import os
import sys
from contextlib import suppress

import pytest

import pipeline.progress
import vaegan.progress
from pipeline.console import Console
from vaegan.progress import followed


@pytest.fixture
def _at_once(monkeypatch):
    monkeypatch.setattr(pipeline.progress, "DELAY", -1.0)
    monkeypatch.setattr(vaegan.progress, "EVERY", 0.0)


def work() -> None:
    """A stage with two parts, of which the second is a loop itself."""
    Console("evaluate")
    for name, _ in followed([("images", 1), ("codes", 2)], "measuring", 2, [1.0, 3.0]):
        if name == "codes":
            for _ in followed([("trees", 1), ("perceptron", 2)], "leakage/mean", 2):
                pass


def on_terminal(monkeypatch) -> str:
    """All that the stage writes on a pseudo-terminal."""
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setattr(sys, "stderr", terminal)
        work()
    shown = b""
    with suppress(OSError):  # raised at the end: nobody writes to it any more
        while part := os.read(master, 100_000):
            shown += part
    os.close(master)
    return shown.decode()


@pytest.mark.usefixtures("_at_once")
def test_a_terminal_gets_one_bar_with_share_time_left_and_what_is_done(monkeypatch, capsys):
    shown = on_terminal(monkeypatch).replace("\r", "\n").split("\n")
    lines = [line.strip() for line in shown if line.strip()]
    assert all(line.startswith("measuring") for line in lines)
    assert all(len(line) < 80 for line in lines)
    assert lines[1].endswith("left, images")
    assert any(" 25 %" in line and line.endswith("left, trees") for line in lines)
    assert any(" 62 %" in line and line.endswith("left, perceptron") for line in lines)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("_at_once")
def test_elsewhere_a_stage_prints_a_line_when_it_begins_a_long_loop(capsys):
    work()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("measuring ...\n", "")


def test_a_short_loop_shows_no_bar(monkeypatch):
    assert on_terminal(monkeypatch) == ""
