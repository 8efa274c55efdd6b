"""Classifiers on disk: their places, and what is refused."""

import numpy as np
import pytest
import torch

from pipeline.artifacts.classifiers import (
    factor_classifier,
    factor_splits,
    factor_words,
    read_classifier,
)
from pipeline.artifacts.dataset import Dataset
from vaegan.evaluation.classifier import Classifier

CPU = torch.device("cpu")


def test_words_of_factors_can_be_keys_and_folders_and_differ():
    names = ["pose", "light (lux)", "light/lux", "Pose", "écriture", "..", "a-b_1"]
    words = factor_words(names)
    assert list(words) == names
    assert list(words.values()) == [
        "pose", "light_lux", "light_lux_2", "Pose_2", "écriture", "factor", "a-b_1",
    ]  # fmt: skip
    assert factor_classifier("pose").parts == ("classifier", "factors", "pose")


def test_the_images_are_labelled_by_each_factor(bars):
    factors = np.stack([np.arange(256) % 3, np.arange(256) % 2], axis=1)
    names = {"light": ["dim", "even", "bright"], "font (no)": ["1", "2"]}
    dataset = Dataset({"train": bars}, {"train": factors}, {"factors": names})
    found = factor_splits(dataset, "train")
    assert list(found) == ["light", "font_no"]
    assert [labelled.class_count for labelled in found.values()] == [3, 2]
    assert np.array_equal(found["font_no"].labels, np.arange(256) % 2)
    assert found["light"].images is bars.images


def test_a_classifier_of_other_images_or_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="classifier.json is missing: run the stage classifier"):
        read_classifier(tmp_path, (1, 8, 8), 3, CPU)
    Classifier((1, 8, 8), 3).save(tmp_path, {})
    read_classifier(tmp_path, (1, 8, 8), 3, CPU)
    with pytest.raises(ValueError, match=r"expects images of \(1, 8, 8\), got \(3, 8, 8\)"):
        read_classifier(tmp_path, (3, 8, 8), 3, CPU)
    with pytest.raises(ValueError, match="knows 3 classes, expected 4"):
        read_classifier(tmp_path, (1, 8, 8), 4, CPU)
