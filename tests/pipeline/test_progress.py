"""A person on a terminal sees how far a stage is, and for how long it goes on."""

import os
import sys

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


@pytest.mark.usefixtures("_at_once")
def test_a_terminal_gets_one_bar_with_share_time_left_and_what_is_done(monkeypatch, capsys):
    master, slave = os.openpty()
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        work()
        shown = os.read(master, 100_000).decode().replace("\r", "\n").split("\n")
    os.close(master)
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
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        work()
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 100)
    os.close(master)
