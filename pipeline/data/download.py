"""Downloads files in a child process that is ended when nothing more comes.

torchvision sets no time-out, and a name server, a connection or a read may each hang. The
child is ``python -m pipeline.download``; it imports nothing but what downloads.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from torchvision.datasets.utils import calculate_md5, download_url

MOST_BYTES = 2**30  # of all archives of a data set: far above any, far below a disk


def download(mirror: str, archives: dict[str, str], work: Path, patience: float) -> str:
    """Downloads archives (file, MD5) from one mirror to a folder, as far as they come.

    The child can be ended wherever it hangs, and ends itself when its standard input does,
    so it never outlives this process.

    Args:
        mirror: Address of the folder that holds the archives, with its last slash.
        archives: MD5 by file name.
        work: Where to; what a file holds is for the caller to verify.
        patience: Seconds without a new byte on disk, where they come in blocks of 32 KiB,
            after which the mirror is given up; they count from when the child has started.

    Returns:
        Why it stopped, in one line.
    """
    command = [sys.executable, "-m", "pipeline.data.download", mirror, os.fspath(work)]
    with (
        tempfile.TemporaryFile() as report,
        subprocess.Popen(
            [*command, json.dumps(archives)],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt at the terminal is for the parent to handle
            stdout=report,
            stderr=None if sys.stderr.isatty() else subprocess.DEVNULL,  # progress bars
        ) as child,
    ):
        try:
            if gave_up := _ends_in_time(child, report.fileno(), work, patience):
                return gave_up
        finally:
            child.kill()
        report.seek(0)
        lines = report.read().decode(errors="replace").splitlines()
        return lines[-1] if lines else f"the download ended with code {child.returncode}"


def _ends_in_time(
    child: subprocess.Popen[bytes], report: int, work: Path, patience: float
) -> str | None:
    """None if the child ends as it should, else why it was given up: silence, or endless bytes."""
    seen, since = 0, time.monotonic()
    while child.poll() is None:
        time.sleep(0.05)
        size = sum(file.stat().st_size for file in work.iterdir())
        if size > MOST_BYTES:
            return f"more than {MOST_BYTES} bytes came"
        if size != seen or os.fstat(report).st_size == 0:
            seen, since = size, time.monotonic()
        elif time.monotonic() - since > patience:
            return f"no byte for {patience:g} s"
    return None


def _child(mirror: str, work: str, archives: str) -> int:
    """The child: downloads archives until one fails; its last line says why."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print("downloading", flush=True)
    for file, md5 in json.loads(archives).items():
        try:
            download_url(mirror + file, work, file, md5)
        except Exception as error:  # whatever a network does is a reason, not a traceback
            path = Path(work) / file
            if type(error) is RuntimeError and path.exists():  # torchvision's "corrupted"
                print(f"{file} came with MD5 {calculate_md5(path)}, expected {md5}")
            else:
                print(" ".join(str(error).split()) or type(error).__name__)
            return 1
    return 0


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    code = _child(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # torch takes a second to be torn down, which is not the mirror's
