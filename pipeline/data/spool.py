"""The spool: converted images between the two passes, in files of ``CHUNK`` images each."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from pipeline.data.conversion import Conversion

CHUNK = 256  # images of a file, and of a task of the first pass


@contextmanager
def open_spool(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``target``, on its disk; it is removed at the end.

    A killed process leaves its folder; the next one removes it.
    """
    prefix = f".{target.name}.spool-"
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.spool.lock.part")
    with FileLock(lock):
        for abandoned in target.parent.glob(f"{prefix}*.part"):
            shutil.rmtree(abandoned, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory(".part", prefix, target.parent) as spool:
                yield Path(spool)
        finally:
            lock.unlink(missing_ok=True)  # still locked: a waiting FileLock then retries


def spool_file(spool: Path, chunk: int) -> Path:
    """The file that holds the images of a chunk, uint8 (N, C, H, W)."""
    return spool / f"{chunk:08d}"


def spooled(
    spool: Path, conversion: Conversion, count: int, chosen: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields kept images, uint8 (B, C, H, W): the second pass.

    Args:
        spool: The folder.
        conversion: The final conversion.
        count: Images of the first pass.
        chosen: Positions among them, int64, increasing.
    """
    channels = 1 if conversion.channels == "gray" else 3
    chunks = chosen // CHUNK
    for chunk in np.unique(chunks):
        images = min(CHUNK, count - chunk * CHUNK)
        pixels = np.fromfile(spool_file(spool, chunk), np.uint8)
        pixels = pixels.reshape(images, -1, *conversion.image_size)
        rows = pixels[chosen[chunks == chunk] - chunk * CHUNK]
        yield np.broadcast_to(rows, (len(rows), channels, *conversion.image_size))
