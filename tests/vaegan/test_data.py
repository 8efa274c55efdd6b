import numpy as np
import pytest
import torch

from vaegan.data import (
    LabelledImages,
    every_second,
    first_per_class,
    stratified_subset,
    to_unit_range,
)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 8, 8), np.float32), np.zeros(2, np.int64), "uint8"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64), r"\(2, 8, 8\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(3, np.int64), "labels must be int64"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 4]), r"\[0, 4\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.array([-1, 0]), "-1"),
    ],
)
def test_inconsistent_arrays_are_rejected_with_the_reason(images, labels, message):
    with pytest.raises(ValueError, match=message):
        LabelledImages(images, labels, 4)


def test_unit_range_maps_0_to_0_and_255_to_1():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert to_unit_range(images).tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_first_per_class_gives_positions_by_class():
    labels = np.array([2, 0, 2, 0, 3])
    assert first_per_class(labels).tolist() == [1, 0, 4]
    assert first_per_class(labels, 2).tolist() == [1, 3, 0, 2, 4]


def test_a_stratified_subset_keeps_the_proportions():
    labels = np.repeat([0, 1], [900, 100])
    rows = stratified_subset(labels, 100, np.random.default_rng(0))
    assert np.bincount(labels[rows]).tolist() == [90, 10]
    assert len(set(rows.tolist())) == 100
    assert stratified_subset(labels, 5000, np.random.default_rng(0)).tolist() == list(range(1000))


@pytest.mark.parametrize("count", [1, 7, 99, 500])
def test_a_stratified_subset_has_exactly_the_size_asked_for(count):
    labels = np.repeat([0, 1, 2], [333, 334, 334])
    rows = stratified_subset(labels, count, np.random.default_rng(0))
    assert len(rows) == count
    assert np.ptp(np.bincount(labels[rows], minlength=3)) <= 1


def test_every_second_image_of_each_class_is_marked():
    labels = np.array([1, 0, 1, 1, 0, 2])
    assert every_second(labels).tolist() == [False, False, True, False, True, False]
