"""Atomic writing of files and folders, and reading with checksums."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock


class ArtifactError(ValueError):
    """An output of an earlier stage is missing or damaged."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; that file replaces ``path`` at the end.

    It is flushed to disk before it is renamed. On failure the previous file is kept.
    """
    with _sole_writer(path) as (new, _):
        yield new
        _synchronise(new)
        new.replace(path)
        _synchronise(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder to fill; it replaces the folder ``path`` at the end.

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
    """Yields temporary paths for the new and the old content, while holding a lock on ``path``.

    Other writers of ``path`` wait. The system releases the lock when its process ends, even if it
    is killed; the next writer then clears the leftovers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, new, old = (path.with_name(f".{path.name}.{use}.part") for use in ("lock", "new", "old"))
    with FileLock(lock):
        try:
            _clear(path, new, old)
            yield new, old
        finally:
            _clear(path, new, old)
            lock.unlink(missing_ok=True)  # still locked: a waiting FileLock then retries


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
    """Flushes a file's content, or a folder's names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON; NaN and infinity raise ValueError."""
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
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from error


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a ``.npy`` file that can be memory-mapped."""
    with atomic_file(path) as part, part.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def write_arrays(
    folder: Path, blocks: Iterable[dict[str, np.ndarray]], count: int
) -> dict[str, dict[str, Any]]:
    """Writes ``.npy`` files block by block: memory does not grow with the number of rows.

    Args:
        folder: An existing folder, such as :func:`atomic_folder` yields, for the files NAME.npy.
        blocks: The next rows, (B, ...), of each array by its name; names, dtypes and the shape of
            a row are those of the first block.
        count: Rows in all blocks together.

    Returns:
        Shape, dtype and SHA-256 of each array by its name.

    Raises:
        ValueError: a block differs from the first one, or there are not ``count`` rows.
    """
    remaining = iter(blocks)
    first = next(remaining, {})
    kinds = {name: (array.dtype, array.shape[1:]) for name, array in first.items()}
    row = 0
    with ExitStack() as stack:
        # Not memory maps: on a full disk those end the process with SIGBUS, write raises OSError.
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in kinds}
        for name, (dtype, shape) in kinds.items():
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
            np.lib.format.write_array_header_1_0(files[name], header | {"shape": (count, *shape)})
        for block in chain([first], remaining):
            found = {name: (array.dtype, array.shape[1:]) for name, array in block.items()}
            lengths = {len(array) for array in block.values()}
            if found != kinds or len(lengths) > 1 or row + sum(lengths) > count:
                raise ValueError(
                    f"{folder}: row {row} is followed by {sorted(lengths)} rows of {found}, "
                    f"expected up to {count - row} of {kinds}"
                )
            for name, array in block.items():
                files[name].write(np.ascontiguousarray(array).data)
            row += sum(lengths)
    if row != count:
        raise ValueError(f"{folder}: got {row} rows, expected {count}")
    return {
        name: {"shape": [count, *shape], "dtype": str(dtype)}
        | {"sha256": sha256(folder / f"{name}.npy")}
        for name, (dtype, shape) in kinds.items()
    }


def read_array(path: Path, expected: str | None = None) -> np.ndarray:
    """Memory-maps a ``.npy`` file copy-on-write: changes in memory do not reach the file.

    Args:
        path: The file.
        expected: Its expected SHA-256; None skips the check.

    Raises:
        ArtifactError: the file is missing, truncated or not an array, or has another digest.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from error
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path} is not a whole array file: {error}") from error
    if expected is not None and (found := sha256(path)) != expected:
        raise ArtifactError(
            f"{path} is damaged: its SHA-256 is {found[:16]}..., expected {expected[:16]}...; "
            "run the stage that writes it again"
        )
    return array


def sha256(path: Path) -> str:
    """Computes the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(path: Path) -> str:
    """Computes the SHA-256 of a file, or of the names and digests of all files in a folder."""
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        raise ArtifactError(f"{path} is missing: run the stage that writes it")
    listed = "".join(
        f"{file.relative_to(path).as_posix()} {sha256(file)}\n"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    )
    return hashlib.sha256(listed.encode()).hexdigest()
