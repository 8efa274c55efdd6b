"""The prepared data set on disk: arrays per split, and ``dataset.json``, which describes them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import (
    ArtifactError,
    atomic_folder,
    read_array,
    read_json,
    write_arrays,
    write_json,
)
from pipeline.artifacts.paths import PREPARED
from vaegan.data import LabelledImages

SPLITS = ("train", "validation", "test")  # validation only if prepare.validation_size is not 0


@dataclass(frozen=True)
class Dataset:
    """The prepared data set.

    Attributes:
        splits: Memory-mapped images by name of the split: "train" and "test", and "validation"
            if some training images were held out.
        description: Content of ``dataset.json``; its ``name`` is that of the data set used, which
            may be the fallback.
    """

    splits: dict[str, LabelledImages]
    description: dict[str, Any]

    @property
    def train(self) -> LabelledImages:
        """The training images."""
        return self.splits["train"]

    @property
    def test(self) -> LabelledImages:
        """The images for the final evaluation."""
        return self.splits["test"]

    @property
    def name(self) -> str:
        """Name of the data set used, which may be the fallback."""
        return self.description["name"]


@dataclass(frozen=True)
class Split:
    """Labelled images that are read block by block, so that a split need not fit into memory.

    Attributes:
        labels: int64 (N,).
        blocks: Returns an iterator over the N images, uint8 (B, C, H, W) at a time; each call
            starts with the first image.
    """

    labels: np.ndarray
    blocks: Callable[[], Iterator[np.ndarray]]

    @classmethod
    def from_images(cls, data: LabelledImages) -> "Split":
        """A split whose images are in memory."""
        return cls(data.labels, lambda: iter([data.images]))

    def subset(self, kept: np.ndarray) -> "Split":
        """The images for which ``kept``, bool (N,), is true, in the same order."""

        def blocks() -> Iterator[np.ndarray]:
            start = 0
            for block in self.blocks():
                yield block[kept[start : start + len(block)]]
                start += len(block)

        return Split(self.labels[kept], blocks)

    def rows(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields blocks of the arrays "images" and "labels"."""
        start = 0
        for block in self.blocks():
            yield {"images": block, "labels": self.labels[start : start + len(block)]}
            start += len(block)


def write_dataset(splits: dict[str, Split], about: dict[str, Any], folder: Path = PREPARED) -> None:
    """Writes the arrays of each split and ``dataset.json``; they replace an older data set at once.

    Args:
        splits: By name: "train" and "test", perhaps "validation".
        about: The other entries of ``dataset.json``: name, source, licence, class_names.
        folder: The folder that is written.

    Raises:
        ValueError: a split has more or fewer images than labels, or a label that is no class.
    """
    described = {}
    with atomic_folder(folder) as new:
        for name, split in splits.items():
            (new / name).mkdir()
            arrays = write_arrays(new / name, split.rows(), len(split.labels))
            images = read_array(new / name / "images.npy")
            LabelledImages(images, split.labels, len(about["class_names"]))  # raises if invalid
            counts = np.bincount(split.labels, minlength=len(about["class_names"]))
            described[name] = {
                "images": len(split.labels),
                "class_counts": counts.tolist(),
                "arrays": arrays,
            }
        write_json(new / "dataset.json", about | {"splits": described})


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
    """Names of the splits that ``dataset.json`` describes.

    Raises:
        ArtifactError: "train" or "test" is missing, or a name is unknown.
    """
    names = list(description.get("splits", ()))
    if not {"train", "test"} <= set(names) <= set(SPLITS):
        raise ArtifactError(
            f"{folder / 'dataset.json'} describes the splits {names}, "
            "expected train, test and perhaps validation"
        )
    return names
