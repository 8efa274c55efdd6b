"""The command, on registered versions; tests/pipeline/explorer looks at the pages themselves."""

import json
import re

import numpy as np
import pytest

from pipeline.artifacts.dataset import Split, write_dataset
from pipeline.artifacts.paths import MODEL
from pipeline.tools import explore
from pipeline.tracking import registry, store
from pipeline.tracking.registry import NAME
from vaegan.model.vae import WEIGHTS_FILE


@pytest.fixture
def version(told) -> str:
    """The number of a version, and the folder in which it was trained."""
    told.train()
    store.connect()
    (found,) = registry.list_versions()
    return str(found.version)


def data_of(path) -> dict:
    (found,) = re.findall(r'id="data">(.*?)</script>', path.read_text())
    return json.loads(found)


def test_a_versions_page_has_its_classes_and_the_map_of_its_data(version, tmp_path, capsys):
    path = tmp_path / "new folder" / "page.html"
    assert explore.main([version, "-o", str(path)]) == 0
    data = data_of(path)
    assert data["classes"] == list("abcd")
    assert data["known"] == [True] * 4
    assert len(data["map"]["labels"]) == 256
    assert f"{NAME} version {version}, bars" in path.read_text()
    assert str(path) in capsys.readouterr().out


def test_an_alias_names_a_version(version, tmp_path):
    assert explore.main(["candidate", "-o", str(tmp_path / "a.html")]) == 0
    assert explore.main([version, "-o", str(tmp_path / "b.html")]) == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_the_images_of_the_training_there_is_no_map_and_a_reason(
    version, bars, tmp_path, capsys
):
    other = Split(bars.labels, lambda: iter([255 - bars.images]))
    about = {"name": "negatives", "class_names": list("abcd"), "url": ""}
    write_dataset({"train": other, "test": other}, about)
    path = tmp_path / "page.html"
    assert explore.main([version, "-o", str(path)]) == 0
    assert data_of(path)["map"] is None
    note = capsys.readouterr().err
    assert "no map: data/prepared holds negatives" in note
    assert "trained on bars" in note


def test_an_unknown_version_is_told_in_a_line_and_nothing_is_written(version, tmp_path, capsys):
    path = tmp_path / "page.html"
    path.write_text("mine")
    for reference in ("99", "champion"):
        assert explore.main([reference, "-o", str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"error: VERSION: got {reference}; expected a version, {version}, or an alias, "
            "candidate, candidate-bars"
        )
    assert path.read_text() == "mine"


def test_without_any_version_the_command_says_what_makes_one(workspace, tmp_path, capsys):
    assert explore.main(["champion", "-o", str(tmp_path / "page.html")]) == 1
    assert "there is no version yet: dvc repro makes one" in capsys.readouterr().err


def test_a_version_whose_weights_are_damaged_is_refused(version, tmp_path, capsys):
    folder = registry.local_folder(registry.list_versions()[0])
    (weights,) = folder.rglob(WEIGHTS_FILE)
    content = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    content[-1] ^= 1
    weights.write_bytes(content.tobytes())
    assert (MODEL / WEIGHTS_FILE).read_bytes() != weights.read_bytes()
    assert explore.main([version, "-o", str(tmp_path / "page.html")]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
