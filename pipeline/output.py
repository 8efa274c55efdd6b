"""Standard output whose reader may leave, as ``head`` does."""

import io
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Pipe(io.FileIO):
    """A pipe; a write after its reader has left ends the command as SIGPIPE would, silently.

    Python ignores that signal, which also a connection to a server raises, and gives an OSError,
    which commands report as a fault of a file.
    """

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())  # for what is still in the buffer
            raise SystemExit(128 + signal.SIGPIPE) from None


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Ends the command silently when its output pipe is closed."""
    before: Any = sys.stdout
    if before is None or not stat.S_ISFIFO(os.fstat(before.fileno()).st_mode):
        yield
        return
    before.flush()
    pipe = _Pipe(before.fileno(), "wb", closefd=False)
    unbuffered = before.write_through  # python -u, or PYTHONUNBUFFERED
    sys.stdout = io.TextIOWrapper(
        pipe if unbuffered else io.BufferedWriter(pipe),
        before.encoding,
        before.errors,
        write_through=unbuffered,
    )
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = before
