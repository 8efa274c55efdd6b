"""What passes between stages: file names and formats, known here and nowhere else.

Paths are relative to the folder that a stage runs in. Every file appears under its
name only when it is whole; arrays are checked against their digests when they are read.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts.files import (
    ArtifactError,
    array_writer,
    described_array,
    read_array,
    read_json,
    write_json,
)
from pipeline.artifacts.paths import PREPARED
from vaegan.data import LabelledImages

if TYPE_CHECKING:  # every stage imports this module, few need these two: a second to start
    pass

SPLITS = ("train", "validation", "test")  # the second one only if it was asked for


@dataclass(frozen=True)
class Dataset:
    """The prepared data set.

    Attributes:
        splits: By name, memory-mapped; "train" and "test", and "validation" if some training
            images were held out.
        description: Content of ``dataset.json``; ``name`` is of the data set really used.
    """

    splits: dict[str, LabelledImages]
    description: dict[str, Any]

    @property
    def train(self) -> LabelledImages:
        """Images to learn from."""
        return self.splits["train"]

    @property
    def test(self) -> LabelledImages:
        """Images to judge by, in the end."""
        return self.splits["test"]

    @property
    def name(self) -> str:
        """Name of the data set that was really used."""
        return self.description["name"]


@dataclass(frozen=True)
class Split:
    """Labelled images that are read as they are written: no more than a few are in memory.

    Attributes:
        labels: int64 (N,).
        image_shape: (C, H, W).
        class_count: Number of classes.
        blocks: Gives the images anew with each call, uint8 (B, C, H, W), N in all.
    """

    labels: np.ndarray
    image_shape: tuple[int, int, int]
    class_count: int
    blocks: Callable[[], Iterator[np.ndarray]]

    @classmethod
    def of(cls, data: LabelledImages) -> "Split":
        """Images that are in memory."""
        return cls(data.labels, data.image_shape, data.class_count, lambda: iter([data.images]))

    def only(self, kept: np.ndarray) -> "Split":
        """The images, in their order, where ``kept``, bool (N,), is true."""

        def blocks() -> Iterator[np.ndarray]:
            start = 0
            for block in self.blocks():
                yield block[kept[start : start + len(block)]]
                start += len(block)

        return Split(self.labels[kept], self.image_shape, self.class_count, blocks)


def write_dataset(splits: dict[str, Split], about: dict[str, Any], folder: Path = PREPARED) -> None:
    """Writes the arrays of each split and ``dataset.json``, in that order.

    The arrays take their names when all of them are whole; an old ``dataset.json`` goes before
    that, so that it never describes a mixture of two data sets, and a split that is not among
    the new ones after it.

    Args:
        splits: By name, "train" and "test", perhaps "validation".
        about: What else ``dataset.json`` holds: name, source, licence, class names.
        folder: Where to.

    Raises:
        ValueError: a split gives other than as many images as it has labels.
    """
    described = {}
    with _removed_if_empty(folder, *(folder / split for split in splits)), ExitStack() as stack:
        for split, data in splits.items():
            LabelledImages(  # its checks
                np.empty((len(data.labels), 0, 0, 0), np.uint8), data.labels, data.class_count
            )
            shapes = {
                "images": ((len(data.labels), *data.image_shape), np.dtype(np.uint8)),
                "labels": (data.labels.shape, data.labels.dtype),
            }
            writers = {
                name: stack.enter_context(array_writer(folder / split / f"{name}.npy", *of))
                for name, of in shapes.items()
            }
            for block in data.blocks():
                writers["images"].append(block)
            writers["labels"].append(data.labels)
            counts = np.bincount(data.labels, minlength=data.class_count)
            described[split] = {
                "images": len(data.labels),
                "class_counts": counts.tolist(),
                "arrays": {
                    name: described_array(*shapes[name], writer.digest.hexdigest())
                    for name, writer in writers.items()
                },
            }
        (folder / "dataset.json").unlink(missing_ok=True)
    for split in set(SPLITS) - set(splits):
        shutil.rmtree(folder / split, ignore_errors=True)
    write_json(folder / "dataset.json", about | {"splits": described})


@contextmanager
def _removed_if_empty(*folders: Path) -> Iterator[None]:
    """Where the body fails, leaves no folder behind that it made and did not fill."""
    try:
        yield
    except BaseException:
        for folder in reversed(folders):
            with suppress(OSError):
                folder.rmdir()
        raise


def read_dataset(folder: Path = PREPARED) -> Dataset:
    """Opens the prepared data set.

    Raises:
        ArtifactError: a file is missing or damaged, or the arrays do not fit together.
    """
    description = read_json(folder / "dataset.json")
    splits = {}
    for split in described_splits(folder, description):
        try:
            arrays = description["splits"][split]["arrays"]
            images, labels = (
                read_array(folder / split / f"{name}.npy", arrays[name]["sha256"])
                for name in ("images", "labels")
            )
            splits[split] = LabelledImages(images, labels, len(description["class_names"]))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / 'dataset.json'} lacks {error} of {split}") from error
        except ArtifactError:
            raise
        except ValueError as error:
            raise ArtifactError(f"{folder / split}: {error}") from error
    return Dataset(splits, description)


def described_splits(folder: Path, description: dict[str, Any]) -> list[str]:
    """The names of the splits that ``dataset.json`` describes.

    Raises:
        ArtifactError: "train" or "test" is not among them, or there is an unknown one.
    """
    names = list(description.get("splits", ()))
    if not {"train", "test"} <= set(names) <= set(SPLITS):
        raise ArtifactError(
            f"{folder / 'dataset.json'} describes the splits {names}, "
            "expected train, test and perhaps validation"
        )
    return names
