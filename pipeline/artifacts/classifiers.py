"""The evaluation's classifiers on disk: of classes, of known style factors, of unseen classes."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from pipeline.artifacts.dataset import Dataset
from pipeline.artifacts.paths import CLASSIFIER
from vaegan.data import LabelledImages
from vaegan.evaluation.classifier import Classifier


def factor_words(names: Iterable[str]) -> dict[str, str]:
    """A word for each factor, by its name, for keys of metrics and for folders.

    Letters, digits, "_" and "-" are kept, others become "_"; a word that is taken gets a number.
    """
    words: dict[str, str] = {}
    for name in names:
        word = re.sub(r"[^\w-]+", "_", name).strip("_-") or "factor"
        taken = {other.casefold() for other in words.values()}
        unique, number = word, 2
        while unique.casefold() in taken:
            unique, number = f"{word}_{number}", number + 1
        words[name] = unique
    return words


def factor_splits(dataset: Dataset, split: str) -> dict[str, LabelledImages]:
    """The images of a split labelled by each factor, by the factor's word."""
    data, words = dataset.splits[split], factor_words(dataset.factor_names)
    columns = dataset.factors[split].T
    return {
        words[name]: LabelledImages(data.images, values, len(value_names))
        for (name, value_names), values in zip(dataset.factor_names.items(), columns, strict=True)
    }


def read_classifier(
    folder: Path, image_shape: tuple[int, int, int], class_count: int, device: torch.device
) -> tuple[Classifier, str]:
    """Loads a classifier, and its digest.

    Raises:
        ValueError: it is missing or damaged, or expects other images or classes.
    """
    try:
        classifier, digest = Classifier.load(folder, device)
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} is missing: run the stage classifier") from error
    if classifier.image_shape != image_shape:
        raise ValueError(
            f"{folder} expects images of {classifier.image_shape}, got {image_shape}: "
            "run the stage classifier"
        )
    if classifier.class_count != class_count:
        raise ValueError(
            f"{folder} knows {classifier.class_count} classes, expected {class_count}: "
            "run the stage classifier"
        )
    return classifier, digest


def factor_classifier(word: str, folder: Path = CLASSIFIER) -> Path:
    """Folder of the classifier of a factor."""
    return folder / "factors" / word
