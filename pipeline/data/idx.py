"""IDX, the format of MNIST's files: arrays of uint8, gzipped or not, read block by block."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np

BLOCK = 1 << 22  # bytes of unpacked images in memory at a time


class ArchiveError(ValueError):
    """An archive differs from the published one, or does not contain the expected array."""


def idx_blocks(file: BinaryIO, name: str, rank: int) -> Iterator[np.ndarray]:
    """Yields the rows of an IDX file, uint8 (B, ...), a few megabytes at a time.

    IDX: two zero bytes, 8 for uint8, the rank, each length as big-endian uint32, the values.

    Args:
        file: The file, which can seek; it is closed at the end.
        name: Its name, for the message.
        rank: Rank of the array.

    Raises:
        ArchiveError: the file does not contain a uint8 array of that rank, or has more or fewer
            bytes than its header states.
    """
    with file, _unpacked(file) as unpacked:
        try:
            yield from _rows(unpacked, name, rank)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _not_idx(name, rank, str(error)) from error


def _unpacked(file: BinaryIO) -> BinaryIO:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(BinaryIO, gzip.open(file)) if packed else file


def _rows(file: BinaryIO, name: str, rank: int) -> Iterator[np.ndarray]:
    header = file.read(4 + 4 * rank)
    if len(header) < 4 + 4 * rank or header[:4] != bytes([0, 0, 8, rank]):
        raise _not_idx(name, rank, f"its header is {header.hex()}")
    left, *shape = struct.unpack(f">{rank}I", header[4:])
    size = math.prod(shape)
    while left:
        rows = min(left, max(1, BLOCK // max(1, size)))
        content = file.read(rows * size)
        if len(content) < rows * size:
            raise _not_idx(name, rank, "fewer bytes than its header states")
        yield np.frombuffer(content, np.uint8).reshape(rows, *shape)
        left -= rows
    if file.read(1):
        raise _not_idx(name, rank, "more bytes than its header states")


def _not_idx(name: str, rank: int, reason: str) -> ArchiveError:
    return ArchiveError(f"{name} does not hold an IDX array of uint8 of rank {rank}: {reason}")
