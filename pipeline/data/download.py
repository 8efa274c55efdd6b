"""Downloads of files whose MD5 is known."""

import hashlib
import posixpath
import time
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

MOST_BYTES = 2**30  # of a file: far above any archive, far below a disk
LEAST_RATE = 1024  # bytes per second, on average
BLOCK = 1 << 16


class DownloadError(OSError):
    """A file could not be downloaded; the message says why in one line."""


def download(url: str, path: Path, md5: str, timeout: float) -> None:
    """Downloads a file and checks its MD5.

    Args:
        url: Address of the file.
        path: File to write; incomplete or wrong if an error is raised.
        md5: Its MD5, in hexadecimal.
        timeout: Seconds to wait for the connection, and for each next byte.

    Raises:
        DownloadError: the server cannot be reached, sends nothing for ``timeout`` seconds, less
            than ``LEAST_RATE`` on average, more than ``MOST_BYTES``, or another file.
    """
    headers = {"Accept-Encoding": "identity"}  # the file as it is stored
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            response.raise_for_status()
            found = _save(response, path, timeout)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        cause: BaseException = error
        while cause.__context__:  # the others repeat the address around it
            cause = cause.__context__
        if isinstance(cause, TimeoutError):
            raise DownloadError(f"no byte for {timeout:g} s") from error
        raise DownloadError(" ".join(str(cause).split()) or type(cause).__name__) from error
    if found != md5:
        raise DownloadError(f"{posixpath.basename(url)} came with MD5 {found}, expected {md5}")


def _save(response: requests.Response, path: Path, timeout: float) -> str:
    """Writes the body to a file; returns its MD5."""
    digest, received, begun = hashlib.md5(usedforsecurity=False), 0, time.monotonic()
    name, size = posixpath.basename(response.url), response.raw.length_remaining
    with (
        path.open("wb") as file,
        tqdm(desc=name, total=size, unit="B", unit_scale=True, disable=None) as bar,
    ):
        # Not iter_content: it waits for a whole block, and unpacks what is declared as gzip.
        while block := response.raw.read1(BLOCK, decode_content=False):
            received += len(block)
            if received > MOST_BYTES:
                raise DownloadError(f"more than {MOST_BYTES} bytes came")
            if received < LEAST_RATE * (time.monotonic() - begun - timeout):
                raise DownloadError(f"less than {LEAST_RATE} bytes per second came")
            file.write(block)
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()
