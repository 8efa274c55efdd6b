"""The first pass over own images: every one is decoded and checked, on all cores.

An image that has the final size, or is converted to it, is kept in the spool, so that the second
pass copies pixels and decodes nothing.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from pipeline.data.conversion import Conversion, decode, flatten, is_gray, strict_warnings
from pipeline.data.spool import CHUNK, spool_file
from pipeline.data.tree import Tree

FEW = 2 * CHUNK  # images that are decoded here: starting other processes would take longer


@dataclass(frozen=True)
class Decoding:
    """How images are decoded, and where they are kept.

    Attributes:
        conversion: The final one, except that ``channels`` may still be open.
        open_channels: Whether channels are decided by all images: a chunk without colour is then
            kept in gray.
        spool: Folder to keep converted images in; None to check them only.
        any_size: Whether images of another size are converted; otherwise they are not kept, as the
            data set cannot be made of them.
    """

    conversion: Conversion
    open_channels: bool
    spool: Path | None
    any_size: bool


class Seen(NamedTuple):
    """Facts about a decoded image.

    Attributes:
        fault: Why it cannot be used; "" if it can.
        size: (height, width), upright.
        mode: Pillow's name of the mode as stored.
        kind: Pillow's name of the format; "" for an image of an array.
        gray: Whether it has no colour.
        digest: Of its pixels: equal images have equal digests.
    """

    fault: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    kind: str = ""
    gray: bool = True
    digest: bytes = b""


def decode_files(tree: Tree, names: list[str], how: Decoding) -> list[Seen]:
    """Decodes files on all cores; shows progress on a terminal."""
    tasks = [(start, names[start : start + CHUNK]) for start in range(0, len(names), CHUNK)]
    seen: list[Seen] = []
    with tqdm(desc="decoding", total=len(names), unit="image", disable=None) as bar:
        for found in _chunks(tree, tasks, how, len(names)):
            seen += found
            bar.update(len(found))
    return seen


def _chunks(
    tree: Tree, tasks: list[tuple[int, list[str]]], how: Decoding, count: int
) -> Iterator[list[Seen]]:
    if count <= FEW:
        yield from (_decode_chunk(tree, how, *task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's locks
    with ProcessPoolExecutor(_cores(), context, _remember, (tree, how)) as pool:
        try:
            yield from pool.map(_decode_remembered, tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


_remembered: list[tuple[Tree, Decoding]] = []  # of a process of the pool


def _remember(tree: Tree, how: Decoding) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the process that waits ends them
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _remembered.append((tree, how))


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, even if that was killed."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _decode_remembered(task: tuple[int, list[str]]) -> list[Seen]:
    return _decode_chunk(*_remembered[0], *task)


def _decode_chunk(tree: Tree, how: Decoding, start: int, names: list[str]) -> list[Seen]:
    def images() -> Iterator[Image.Image | str]:
        for name in names:
            try:
                yield decode(tree.read(name))
            except ValueError as error:
                yield str(error)

    with strict_warnings():
        return _check_chunk(images(), how, start)


def check_arrays(images: Iterable[np.ndarray], how: Decoding) -> list[Seen]:
    """Checks, and keeps, images that are in arrays, uint8 (H, W) or (H, W, 3)."""
    seen: list[Seen] = []
    remaining = iter(images)
    while chunk := [Image.fromarray(pixels) for pixels in islice(remaining, CHUNK)]:
        seen += _check_chunk(chunk, how, len(seen))
    return seen


def _check_chunk(images: Iterable[Image.Image | str], how: Decoding, start: int) -> list[Seen]:
    """Checks the images of a chunk, in place of some their fault, and keeps them."""
    final = how.conversion
    gray = replace(final, channels="gray")
    seen: list[Seen] = []
    # In gray until an image has colour.
    whole = np.zeros((CHUNK if how.spool else 0, 1, *final.image_size), np.uint8)
    for image in images:
        found, flat, pixels = _check(image, final.shade)
        if flat is not None and how.spool and (how.any_size or found.size == final.image_size):
            wanted = gray if how.open_channels and found.gray else final
            converted = wanted.convert_flat(flat, pixels)
            if len(converted) > whole.shape[1]:
                whole = whole.repeat(len(converted), axis=1)
            whole[len(seen)] = converted
        seen.append(found)
    if how.spool:
        whole[: len(seen)].tofile(spool_file(how.spool, start // CHUNK))
    return seen


def _check(
    image: Image.Image | str, shade: str
) -> tuple[Seen, Image.Image | None, np.ndarray | None]:
    """Facts about an image, the image flattened, and its pixels; of a fault the facts alone."""
    if isinstance(image, str):
        return Seen(image), None, None
    try:
        flat = flatten(image, shade)
    except ValueError as error:
        return Seen(str(error)), None, None
    # Faster than np.asarray.
    size = flat.height, flat.width
    pixels = np.frombuffer(flat.tobytes(), np.uint8)
    pixels = pixels.reshape(size if flat.mode == "L" else (*size, 3))
    gray = is_gray(pixels)
    if gray and flat.mode == "RGB":
        flat, pixels = flat.getchannel(0), np.ascontiguousarray(pixels[..., 0])
    digest = _digest_of(pixels.shape).copy()
    digest.update(pixels.data)
    seen = Seen("", size, image.mode, image.format or "", gray, digest.digest())
    return seen, flat, pixels


@lru_cache(64)
def _digest_of(shape: tuple[int, ...]) -> hashlib.blake2b:
    """The digest of the pixels of images of a shape, before the first pixel."""
    return hashlib.blake2b(digest_size=16, key=f"{shape}".encode())
