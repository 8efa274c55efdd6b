"""Sources of images: torchvision's archives, on disk or downloaded, and scikit-learn's digits."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision import datasets

from pipeline.artifacts.dataset import Split
from pipeline.artifacts.files import atomic_file
from pipeline.data.download import DownloadError, download
from pipeline.data.idx import ArchiveError, idx_blocks
from vaegan.data import LabelledImages

ARCHIVED: dict[str, type[datasets.MNIST]] = {
    "mnist": datasets.MNIST,
    "fashion_mnist": datasets.FashionMNIST,
    "kmnist": datasets.KMNIST,
}
CLASS_COUNT = 10
DIGITS_SPLIT_SEED = 0

Splits = dict[str, Split]


class UnavailableError(OSError):
    """Archives are neither on disk nor available from a mirror."""


def load_archives(name: str, raw: Path, timeout: float) -> Splits:
    """Opens a data set of torchvision's, downloading the archives that are not on disk.

    Only verified archives are read; files extracted beside them, which torchvision would trust,
    are ignored. A downloaded archive is kept in ``raw`` as soon as it is verified.

    Args:
        name: Key of ``ARCHIVED``.
        raw: Folder in torchvision's layout: the archives are in ``<class>/raw`` below it.
        timeout: Seconds without a new byte after which a mirror is given up.

    Raises:
        ArchiveError: an archive on disk has a wrong checksum, or does not hold what it should;
            it is not changed. The bytes after its header are checked when they are read.
        UnavailableError: archives are missing and no mirror provides them.
    """
    kind = ARCHIVED[name]
    folder = raw / kind.__name__ / "raw"
    missing = _verify(dict(kind.resources), folder)
    try:
        _download(kind.mirrors, missing, folder, timeout)
    except UnavailableError as error:
        needed = ", ".join(file for file, _ in kind.resources)
        lacking = "all of them" if len(missing) == len(kind.resources) else ", ".join(missing)
        raise UnavailableError(
            f"{name} needs {needed} in {folder}; neither there nor to be downloaded: "
            f"{lacking} ({error})"
        ) from error
    return {"train": _open_split(folder, "train"), "test": _open_split(folder, "t10k")}


def _verify(archives: dict[str, str], folder: Path) -> dict[str, str]:
    """Checks the archives (MD5 by file name) that are on disk; returns those that are not."""
    missing = {}
    for file, md5 in archives.items():
        path = folder / file
        if not os.path.lexists(path):
            missing[file] = md5
            continue
        with path.open("rb") as archive:
            found = hashlib.file_digest(archive, "md5").hexdigest()
        if found != md5:
            raise ArchiveError(
                f"{path}: wrong checksum: its MD5 is {found}, expected {md5}; "
                "put the right archive there, or remove this one to have it downloaded"
            )
    return missing


def _download(mirrors: list[str], archives: dict[str, str], folder: Path, timeout: float) -> None:
    """Downloads archives (MD5 by file name), from each mirror those that the previous ones lack.

    Raises:
        UnavailableError: an archive is on no mirror; the message has each mirror's reason.
    """
    missing, reasons = dict(archives), []
    for mirror in mirrors:
        try:
            for file, md5 in list(missing.items()):
                with atomic_file(folder / file) as part:
                    download(mirror + file, part, md5, timeout)
                del missing[file]
        except DownloadError as error:
            reasons.append(f"{urlsplit(mirror).netloc}: {error}")
    if missing:
        raise UnavailableError("; ".join(reasons))


def _open_split(folder: Path, prefix: str) -> Split:
    """A split in MNIST's layout; its images are unpacked as they are read."""
    labels = np.concatenate(list(_blocks(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)))
    images = folder / f"{prefix}-images-idx3-ubyte.gz"
    return Split(labels.astype(np.int64), lambda: (block[:, None] for block in _blocks(images, 3)))


def _blocks(archive: Path, rank: int) -> Iterator[np.ndarray]:
    return idx_blocks(archive.open("rb"), archive.name, rank)


def load_embedded_digits() -> Splits:
    """Loads scikit-learn's 1,797 handwritten digits, 8x8 in [0, 16], resized to 28x28 in [0, 255].

    The interpolation is antialiased and bicubic. A fifth is the test split; the split is fixed
    and stratified by class.
    """
    from sklearn.datasets import load_digits  # takes a second to import, rarely needed
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    levels = torch.from_numpy(bunch.images)[:, None] * (255 / 16)
    large = interpolate(levels, size=(28, 28), mode="bicubic", antialias=True)
    # Some values are ties, x.5 up to rounding errors that differ by processor: round them down.
    images = large.clamp(0, 255).add(0.5 - 1e-9).floor().to(torch.uint8).numpy()
    labels = bunch.target.astype(np.int64)
    positions = train_test_split(
        np.arange(len(labels)), test_size=0.2, random_state=DIGITS_SPLIT_SEED, stratify=labels
    )
    return {
        split: Split.from_images(LabelledImages(images[chosen], labels[chosen], CLASS_COUNT))
        for split, chosen in zip(("train", "test"), positions, strict=True)
    }
