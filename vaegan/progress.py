"""Progress of long loops, as log records that whoever runs them may show.

The library prints nothing. A record of the logger ``vaegan.progress`` has the attribute
``progress``, a :class:`Progress`. Loops may be nested: what an inner one has done is a part of the
item that the outer one is at.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar

Item = TypeVar("Item")

EVERY = 0.2  # seconds between two records of one loop, at least

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a loop is.

    Attributes:
        loop: Number of the loop; a record of each ends with ``item`` None.
        what: What the loop does.
        item: What it is at, "" if that has no name; None once it has ended.
        done: Share of the loop before this item, in [0, 1].
        share: Of this item.
    """

    loop: int
    what: str
    item: str | None
    done: float
    share: float


def followed(
    items: Iterable[Item], what: str, total: int, weights: Sequence[float] = ()
) -> Iterator[Item]:
    """Yields items and logs how far the loop over them is.

    Args:
        items: About ``total``; pairs whose first part is text name themselves.
        what: What the loop does.
        total: Number of items.
        weights: How long each item takes, in any unit; by default all take equally long.
    """
    if not log.isEnabledFor(logging.DEBUG):
        yield from items
        return
    weights = weights or [1.0] * total
    whole, loop, told, before = sum(weights), time.monotonic_ns(), 0.0, 0.0
    try:
        for item, weight in zip(items, chain(weights, repeat(0.0)), strict=False):
            named = isinstance(item, tuple) and item and isinstance(item[0], str)
            if named or not told or time.monotonic() > told + EVERY:
                name = str(item[0]) if named else ""  # type: ignore[index]
                _tell(Progress(loop, what, name, before / whole, weight / whole))
                told = time.monotonic()
            yield item
            before += weight
    finally:
        _tell(Progress(loop, what, None, 1.0, 0.0))


def _tell(progress: Progress) -> None:
    log.debug("%s: %.0f %%", progress.what, 100 * progress.done, extra={"progress": progress})
