"""What a journal tells of the images that a version is for."""

import json

import numpy as np
import pytest

from pipeline.artifacts.dataset import Split, as_they_are, write_dataset
from pipeline.artifacts.paths import PREPARED
from pipeline.tracking import model_run
from vaegan.data import LabelledImages


def journal(folder, **dataset):
    """A journal whose first event tells of a data set."""
    (folder / "events.jsonl").write_text(json.dumps({"event": "begin", "dataset": dataset}) + "\n")
    return folder


def test_only_versions_of_mnist_frame_drawings(tmp_path):
    how = as_they_are((1, 28, 28))
    read = model_run.read_conversion
    assert read(journal(tmp_path, name="mnist", conversion=how)) == how | {"box": 20}
    assert read(journal(tmp_path, name="kmnist", conversion=how)) == how
    assert read(journal(tmp_path, name="mnist")) is None  # of before it was recorded


@pytest.mark.parametrize("prepared", ["the same", "another", "none"])
def test_test_images_are_those_of_the_data_set_that_was_trained_on(tmp_path, monkeypatch, prepared):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_run, "TEST_IMAGES", 7)
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    split = Split.from_images(LabelledImages(images, np.arange(20) % 2, 2))
    digest = "0" * 64
    if prepared != "none":
        about = {"name": "x", "class_names": ["a", "b"]}
        write_dataset({"train": split, "test": split}, about, PREPARED)
        written = json.loads((PREPARED / "dataset.json").read_text())
        if prepared == "the same":
            digest = written["splits"]["train"]["arrays"]["images"]["sha256"]
    folder = journal(tmp_path, name="x", arrays={"images": {"sha256": digest}})
    found = model_run.read_test_images(folder)
    if prepared != "the same":
        assert found is None
    else:
        assert found.shape == (7, 1, 8, 8)
        assert {image.tobytes() for image in found} <= {image.tobytes() for image in images}
