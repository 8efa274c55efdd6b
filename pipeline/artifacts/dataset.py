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

UNSEEN = "unseen"  # split of images of classes that were held out of the training
SPLITS = ("train", "validation", "test", UNSEEN)  # the second and the last only if there are any


@dataclass(frozen=True)
class Dataset:
    """The prepared data set.

    Attributes:
        splits: Memory-mapped images by name of the split: "train" and "test", "validation" if
            some training images were held out, and "unseen" if whole classes were. The labels of
            "unseen" are positions in ``unseen_classes``.
        factors: By name of the split, int64 (N, F): the values of the known style factors, a
            column per factor, as positions in ``factor_names``; F may be 0.
        description: Content of ``dataset.json``; its ``name`` is that of the data set used, which
            may be the fallback.
    """

    splits: dict[str, LabelledImages]
    factors: dict[str, np.ndarray]
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

    @property
    def kind(self) -> str:
        """ "strokes", light on dark, or "pictures"."""
        return self.description.get("kind", "strokes")  # as all were before it was recorded

    @property
    def unseen_classes(self) -> list[str]:
        """Names of the classes of the split "unseen"; none of them is a class of the others."""
        return _names(UNSEEN, self.description)

    @property
    def strokes(self) -> bool:
        """Whether the images are grey strokes: their style is measured, and changed, as such."""
        return self.kind == "strokes" and self.train.image_shape[0] == 1

    @property
    def factor_names(self) -> dict[str, list[str]]:
        """Names of the values of each known style factor, in the order of the columns."""
        return self.description.get("factors", {})

    @property
    def conversion(self) -> dict[str, Any]:
        """How an image becomes one of this data set: a ``Conversion`` as a dictionary."""
        return self.description.get("conversion") or as_they_are(self.train.image_shape)


def _names(split: str, description: dict[str, Any]) -> list[str]:
    """Names of the classes that the labels of a split stand for."""
    return description.get("unseen_classes", []) if split == UNSEEN else description["class_names"]


def as_they_are(image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """The conversion that leaves images of a shape (C, H, W) as they are."""
    channels, height, width = image_shape
    return {
        "image_size": [height, width],
        "fit": "pad",
        "channels": "gray" if channels == 1 else "color",
        "background": "black",
        "invert": False,
    }


@dataclass(frozen=True)
class Split:
    """Labelled images that are read block by block, so that a split need not fit into memory.

    Attributes:
        labels: int64 (N,).
        blocks: Returns an iterator over the N images, uint8 (B, C, H, W) at a time; each call
            starts with the first image.
        factors: Values of the known style factors, int64 (N, F); None if there are none.
    """

    labels: np.ndarray
    blocks: Callable[[], Iterator[np.ndarray]]
    factors: np.ndarray | None = None

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

        return Split(
            self.labels[kept], blocks, None if self.factors is None else self.factors[kept]
        )

    def rows(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields blocks of the arrays "images", "labels" and, if there are any, "factors"."""
        start = 0
        for block in self.blocks():
            rows = slice(start, start + len(block))
            found = {"images": block, "labels": self.labels[rows]}
            yield found if self.factors is None else found | {"factors": self.factors[rows]}
            start += len(block)


def write_dataset(splits: dict[str, Split], about: dict[str, Any], folder: Path = PREPARED) -> None:
    """Writes the arrays of each split and ``dataset.json``; they replace an older data set at once.

    Args:
        splits: By name: "train" and "test", perhaps "validation" and "unseen".
        about: The other entries of ``dataset.json``: name, source, licence, class_names, and
            perhaps unseen_classes, kind, factors and conversion.
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
            class_count = len(_names(name, about))
            LabelledImages(images, split.labels, class_count)  # raises if invalid
            counts = np.bincount(split.labels, minlength=class_count)
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
    splits, factors = {}, {}
    names = description.get("factors", {})
    for split in described_splits(folder, description):
        try:
            arrays = description["splits"][split]["arrays"]
            images, labels = (
                read_array(folder / split / f"{name}.npy", arrays[name]["sha256"])
                for name in ("images", "labels")
            )
            splits[split] = LabelledImages(images, labels, len(_names(split, description)))
            factors[split] = np.zeros((len(labels), 0), np.int64)
            if names:
                path, digest = folder / split / "factors.npy", arrays["factors"]["sha256"]
                factors[split] = _known(read_array(path, digest), names, len(labels))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / 'dataset.json'} lacks {error} of {split}") from error
        except ArtifactError:
            raise
        except ValueError as error:
            raise ArtifactError(f"{folder / split}: {error}") from error
    return Dataset(splits, factors, description)


def _known(factors: np.ndarray, names: dict[str, list[str]], count: int) -> np.ndarray:
    """Values of the known style factors, checked."""
    counts = [len(values) for values in names.values()]
    if factors.dtype != np.int64 or factors.shape != (count, len(names)):
        raise ValueError(
            f"factors must be int64 ({count}, {len(names)}), got {factors.dtype} {factors.shape}"
        )
    if count and ((factors < 0) | (factors >= counts)).any():
        raise ValueError(f"factors must lie in [0, {counts}), got {factors.max(axis=0).tolist()}")
    return factors


def described_splits(folder: Path, description: dict[str, Any]) -> list[str]:
    """Names of the splits that ``dataset.json`` describes.

    Raises:
        ArtifactError: "train" or "test" is missing, or a name is unknown.
    """
    names = list(description.get("splits", ()))
    if not {"train", "test"} <= set(names) <= set(SPLITS):
        raise ArtifactError(
            f"{folder / 'dataset.json'} describes the splits {names}, "
            "expected train, test and perhaps validation and unseen"
        )
    return names
