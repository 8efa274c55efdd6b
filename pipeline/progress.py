"""Shows the progress of long loops: a bar on a terminal, elsewhere a line when a loop begins."""

import logging
import shutil
import sys
import time
from typing import Any

import vaegan.progress
from vaegan.progress import Progress

DELAY = 0.5  # seconds after which a bar appears: short loops have none
FORMAT = "{desc} {percentage:3.0f} %|{bar:20}| {elapsed}, {remaining} left{postfix}"


def follow_progress() -> None:
    """Makes this process show the progress that the library logs."""
    vaegan.progress.log.setLevel(logging.DEBUG)
    vaegan.progress.log.propagate = False
    vaegan.progress.log.handlers = [Bars()]


class Bars(logging.Handler):
    """Shows the outermost of the loops that run, with what the inner ones are at."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: dict[int, Progress] = {}
        self.bar: Any = None
        self.begun = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a record of :func:`vaegan.progress.followed`."""
        progress: Progress = record.progress  # type: ignore[attr-defined]
        begins = progress.loop not in self.loops
        if progress.item is None:
            self.loops.pop(progress.loop, None)
        else:
            self.loops[progress.loop] = progress
        if begins and len(self.loops) == 1:
            self.begun = time.monotonic()
            if not sys.stderr.isatty():
                print(f"{progress.what} ...", flush=True)
        if not self.loops:
            self._close()
        elif sys.stderr.isatty() and time.monotonic() > self.begun + DELAY:
            self._show()

    def _show(self) -> None:
        from tqdm import tqdm

        first, *inner = self.loops.values()
        share, done = 1.0, 0.0
        for loop in self.loops.values():
            done += share * loop.done
            share *= loop.share
        if self.bar is None:
            # Some pseudo-terminals say that they have no columns and no rows.
            width = shutil.get_terminal_size().columns - 1
            self.bar = tqdm(
                desc=first.what, total=1.0, initial=done, bar_format=FORMAT, ncols=width,
                nrows=2, smoothing=0, leave=False,
            )  # fmt: skip
        names = [loop.item or loop.what for loop in inner[-2:]] or [first.item or ""]
        self.bar.set_postfix_str(": ".join(name for name in names if name), refresh=False)
        self.bar.n = max(self.bar.n, done)
        self.bar.refresh()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
