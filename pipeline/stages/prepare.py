"""Stage ``prepare``: converts the data set named in ``params.yaml`` to memory-mappable arrays.

``python -m pipeline prepare`` writes ``data/prepared``. Archives of named data sets are read from,
and downloaded to, ``data/raw`` of the user's own repository; own images lie in ``prepare.path``.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.dataset import Dataset, as_they_are, read_dataset, write_dataset
from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import PREPARED, repository
from pipeline.data.config import FOLDER, PrepareConfig
from pipeline.data.opening import class_order, describe, open_splits, told
from pipeline.data.own import examine
from pipeline.data.sources import (
    ARCHIVED,
    Splits,
    UnavailableError,
    load_archives,
    load_embedded_digits,
)
from pipeline.data.spool import open_spool
from vaegan.data import stratified_subset
from vaegan.rng import numpy_rng

RAW = Path("data/raw")
SHAPE = 1, 28, 28  # of an image of every named data set
VALIDATION = 0, "validation"  # seed and purpose of the rng that chooses held-out images
MOST_FAULTS = 50  # lines of an error

NUMERALS = [str(numeral) for numeral in range(10)]
ABOUT: dict[str, dict[str, Any]] = {
    "mnist": {
        "kind": "strokes",
        "class_names": NUMERALS,
        "source": "MNIST by Yann LeCun, Corinna Cortes and Christopher J.C. Burges",
        "url": "http://yann.lecun.com/exdb/mnist/",
        "licence": "CC BY-SA 3.0",
    },
    "fashion_mnist": {
        "kind": "pictures",
        "class_names": ARCHIVED["fashion_mnist"].classes,
        "source": "Fashion-MNIST by Han Xiao, Kashif Rasul and Roland Vollgraf, Zalando",
        "url": "https://github.com/zalandoresearch/fashion-mnist",
        "licence": "MIT",
    },
    "kmnist": {
        "kind": "strokes",
        "class_names": ARCHIVED["kmnist"].classes,
        "source": "KMNIST Dataset created by ROIS-DS CODH, adapted from the Kuzushiji Dataset "
        "created by NIJL and others",
        "url": "http://codh.rois.ac.jp/kmnist/",
        "licence": "CC BY-SA 4.0",
    },
    "digits": {
        "kind": "strokes",
        "class_names": NUMERALS,
        "source": "test set of Optical Recognition of Handwritten Digits by E. Alpaydin and "
        "C. Kaynak, as embedded in scikit-learn; resized from 8x8 to 28x28 pixels",
        "url": "https://doi.org/10.24432/C50P49",
        "licence": "CC BY 4.0",
    },
}


def prepare(params: PrepareConfig, raw: Path, folder: Path = PREPARED) -> Dataset:
    """Writes the data set, or the fallback if it is unavailable, and opens it.

    Args:
        params: The section ``prepare``.
        raw: Folder of the archives, in torchvision's layout.
        folder: The folder that is written; unchanged on failure.

    Raises:
        ArchiveError: an archive on disk is damaged.
        UnavailableError: archives are unavailable and there is no fallback.
    """
    name, splits = _load(params, raw)
    splits = hold_out(splits, params.validation_size)
    archives = dict(ARCHIVED[name].resources) if name in ARCHIVED else {}
    about = {"name": name, "requested": params.dataset, **ABOUT[name], "archives": archives}
    about |= {"factors": {}, "conversion": as_they_are(SHAPE)}
    write_dataset(splits, about, folder)
    return read_dataset(folder)


def prepare_own(params: PrepareConfig, folder: Path = PREPARED) -> list[str]:
    """Writes the data set of the user's own images.

    Args:
        params: The section ``prepare``.
        folder: The folder that is written; unchanged on failure.

    Returns:
        Lines about them.

    Raises:
        ValueError: no data set can be made of them; a line per fault.
    """
    path = Path(params.path)
    with open_spool(folder) as spool:
        images = examine(path, params, spool)
        if images.faults:
            raise ValueError(_all(images.faults, path))
        splits, factors = open_splits(images, spool)
        name = path.resolve().name if path.is_dir() else path.stem
        name = f"own {name}" if name in ABOUT else name
        about = {"name": name, "requested": params.dataset, **describe(images, factors)}
        write_dataset(splits, about, folder)
    return class_order(images) + told(images)


def _all(faults: list[str], path: Path) -> str:
    """The faults as one message, as many as fit on a screen."""
    lines = [f"{len(faults):,} faults in {path}:"] if len(faults) > 1 else []
    lines += faults[:MOST_FAULTS]
    if len(faults) > MOST_FAULTS:
        more = len(faults) - MOST_FAULTS
        lines.append(f"and {more:,} more: python -m pipeline inspect {path} lists them all")
    return "\n".join(lines)


def hold_out(splits: Splits, size: int) -> Splits:
    """Moves ``size`` training images, stratified by class, to the split "validation".

    The choice is the same for every seed of a training, so that hyperparameters are compared on
    the same images.

    Raises:
        ValueError: a class would keep fewer than two training images, which a pair needs.
    """
    if not size:
        return splits
    train = splits["train"]
    held_out = np.zeros(len(train.labels), bool)
    held_out[stratified_subset(train.labels, size, numpy_rng(*VALIDATION))] = True
    counts = np.bincount(train.labels)
    left = np.bincount(train.labels[~held_out], minlength=len(counts))
    if (left < np.minimum(counts, 2)).any():
        rarest = counts[counts > 0].min()
        most = max(0, len(train.labels) * (rarest - 2) // rarest)
        raise ValueError(
            f"prepare.validation_size: got {size}, expected at most {most} of the "
            f"{len(train.labels)} training images: each class has to keep two or more"
        )
    return {
        "train": train.subset(~held_out),
        "validation": train.subset(held_out),
        "test": splits["test"],
    }


def _load(params: PrepareConfig, raw: Path) -> tuple[str, Splits]:
    """Returns the name of the data set used, which may be the fallback, and its splits."""
    if params.dataset == "digits":
        return "digits", load_embedded_digits()
    try:
        return params.dataset, load_archives(params.dataset, raw, params.download_timeout)
    except UnavailableError as error:
        if params.fallback == "none":
            raise UnavailableError(
                f"{error}: put them there, or set prepare.fallback: digits in params.yaml"
            ) from error
        print(
            f"WARNING: using digits, scikit-learn's 1,797 images, instead of "
            f"{params.dataset}: {error}. To use {params.dataset}, put them there and run: "
            "make refetch",
            file=sys.stderr,
        )
        return "digits", load_embedded_digits()


def run(params: PrepareConfig) -> dict[str, Any]:
    """Writes ``data/prepared``; archives lie in ``data/raw`` of the user's own repository.

    Returns:
        Name of the data set (``dataset``), (C, H, W) of an image (``shape``), the number of images
        by split (``images``), and lines about own images (``notes``).
    """
    notes: list[str] = []
    if params.dataset == FOLDER:
        notes = prepare_own(params)
    else:
        prepare(params, repository() / RAW)
    # Not the arrays, which were just written and would be read and hashed again.
    description = read_json(PREPARED / "dataset.json")
    splits = description["splits"]
    return {
        "dataset": description["name"],
        "shape": tuple(splits["train"]["arrays"]["images"]["shape"][1:]),
        "images": {split: about["images"] for split, about in splits.items()},
        "notes": notes,
    }
