"""Files that appear under their name only when they are whole, and are checked when read."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock


class ArtifactError(ValueError):
    """A file that should have come from an earlier stage is missing or damaged."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a path beside ``path`` to write to; that file replaces ``path`` at the end.

    It is flushed to disk before it is renamed. On failure the previous file is kept.
    """
    with _sole_writer(path) as (new, _):
        yield new
        _synchronise(new)
        new.replace(path)
        _synchronise(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``path`` to fill; it replaces the folder ``path`` at the end.

    Its content is flushed to disk before it is renamed. On failure the previous folder is kept.
    """
    with _sole_writer(path) as (new, old):
        new.mkdir()
        yield new
        for entry in (*new.rglob("*"), new):
            _synchronise(entry)
        if path.exists():
            path.replace(old)
        new.replace(path)
        _synchronise(path.parent)


@contextmanager
def _sole_writer(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yields paths for the new content and for the old one set aside, while no one else has them.

    Another writer of ``path`` waits. The lock ends with its process, however that ends; what a
    killed process left is cleared by the next writer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, new, old = (path.with_name(f".{path.name}.{use}.part") for use in ("lock", "new", "old"))
    with FileLock(lock):
        try:
            _clear(path, new, old)
            yield new, old
        finally:
            _clear(path, new, old)
            lock.unlink(missing_ok=True)  # still held: FileLock retries on a file that is gone


def _clear(path: Path, new: Path, old: Path) -> None:
    """Removes leftovers; a folder that was set aside and not replaced is restored first."""
    if old.exists() and not path.exists():
        old.replace(path)
    for left in (new, old):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Has the disk hold a file's content, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes strict JSON: NaN and infinity raise ValueError."""
    with atomic_file(path) as part:
        part.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ArtifactError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage that makes it") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from error


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a ``.npy`` file that can be memory-mapped."""
    with atomic_file(path) as part, part.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


class RowWriter:
    """Appends rows to an open ``.npy`` file of a known number; ``digest`` is its SHA-256."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.file, self.shape, self.dtype, self.rows = file, shape, dtype, 0
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        begin = io.BytesIO()
        np.lib.format.write_array_header_1_0(begin, header | {"shape": shape})
        self.digest = hashlib.sha256(begin.getvalue())
        file.write(begin.getvalue())

    def append(self, rows: np.ndarray) -> None:
        """Writes the next rows.

        Raises:
            ValueError: they are of another type or shape, or more than were announced.
        """
        fits = rows.dtype == self.dtype and rows.shape[1:] == self.shape[1:]
        if not fits or self.rows + len(rows) > self.shape[0]:
            raise ValueError(
                f"rows {rows.dtype} {rows.shape} do not go on from row {self.rows} "
                f"of an array {self.dtype} {self.shape}"
            )
        content = np.ascontiguousarray(rows).data
        self.file.write(content)
        self.digest.update(content)
        self.rows += len(rows)


@contextmanager
def array_writer(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[RowWriter]:
    """Opens a ``.npy`` file to be written row by row: no more than a few are ever in memory.

    Raises:
        ValueError: at the end, where other than ``shape[0]`` rows were written; there is no
            file then.
    """
    with atomic_file(path) as part:
        with part.open("wb") as file:
            writer = RowWriter(file, shape, dtype)
            yield writer
        if writer.rows != shape[0]:
            raise ValueError(f"{path} got {writer.rows} rows, expected {shape[0]}")


def read_array(path: Path, expected: str | None = None) -> np.ndarray:
    """Memory-maps a ``.npy`` file copy-on-write: what is changed in memory stays there.

    Args:
        path: The file.
        expected: Its SHA-256, if it is to be checked.

    Raises:
        ArtifactError: the file is missing, truncated or not an array, or has another digest.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage that makes it") from error
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path} is not a whole array file: {error}") from error
    if expected is not None and (found := sha256(path)) != expected:
        raise ArtifactError(
            f"{path} is damaged: its SHA-256 is {found[:16]}..., expected {expected[:16]}...; "
            "run the stage that makes it again"
        )
    return array


def described_array(shape: tuple[int, ...], dtype: np.dtype, digest: str) -> dict[str, Any]:
    """What a folder's description says of one of its arrays."""
    return {"shape": list(shape), "dtype": str(dtype), "sha256": digest}


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder: of the names and digests of all files below it."""
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        raise ArtifactError(f"{path} is missing: run the stage that makes it")
    listed = "".join(
        f"{file.relative_to(path).as_posix()} {sha256(file)}\n"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    )
    return hashlib.sha256(listed.encode()).hexdigest()
