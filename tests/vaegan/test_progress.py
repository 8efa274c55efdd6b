"""What the library logs of the progress of long loops."""

import logging

import pytest

from vaegan import progress
from vaegan.progress import Progress, followed


@pytest.fixture
def told(monkeypatch):
    """All that is logged, and a clock that has always gone on far enough."""
    seen: list[Progress] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.progress)
    monkeypatch.setattr(progress.log, "handlers", [handler])
    monkeypatch.setattr(progress, "EVERY", 0.0)
    progress.log.setLevel(logging.DEBUG)
    yield seen
    progress.log.setLevel(logging.NOTSET)


def test_each_item_is_told_with_the_share_of_time_before_it(told):
    items = [("short", 1), ("long", 2)]
    assert list(followed(items, "work", 2, [1.0, 3.0])) == items
    assert [(one.item, one.done, one.share) for one in told] == [
        ("short", 0.0, 0.25),
        ("long", 0.25, 0.75),
        (None, 1.0, 0.0),
    ]


def test_a_loop_that_ends_early_is_told_to_have_ended(told):
    for number in followed(range(10), "work", 10):
        if number == 2:
            break
    assert [one.done for one in told] == [0.0, 0.1, 0.2, 1.0]
    assert told[-1].item is None


def test_nested_loops_are_told_apart(told):
    for _ in followed(range(2), "outer", 2):
        list(followed(range(1), "inner", 1))
    inner = {one.loop for one in told if one.what == "inner"}
    outer = {one.loop for one in told if one.what == "outer"}
    assert (len(inner), len(outer), inner & outer) == (2, 1, set())


def test_what_nobody_listens_to_is_not_even_computed(caplog):
    assert list(followed(range(3), "work", 0)) == [0, 1, 2]
    assert not caplog.records


def test_items_between_two_moments_are_not_told(told, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 3600.0)
    list(followed(range(1000), "work", 1000))
    assert [one.done for one in told] == [0.0, 1.0]
