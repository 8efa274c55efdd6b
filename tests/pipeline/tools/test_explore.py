"""The command, on registered versions; tests/pipeline/explorer looks at the pages themselves."""

import json
import re

import numpy as np
import pytest
from mlflow import MlflowClient

from pipeline.artifacts.dataset import Split, write_dataset
from pipeline.artifacts.paths import MODEL
from pipeline.explorer import atlas
from pipeline.tools import explore
from pipeline.tracking import champion, registry, store
from pipeline.tracking.registry import NAME
from vaegan.model.vae import WEIGHTS_FILE


@pytest.fixture
def version(told, monkeypatch) -> str:
    """The number of the only version, which was trained on the data set of the workspace."""
    monkeypatch.setattr(atlas, "MOST", 40)  # t-SNE of more takes seconds
    monkeypatch.setattr(atlas, "FEWEST", 20)
    told.train()
    store.connect()
    (found,) = registry.list_versions()
    return str(found.version)


def data_of(path) -> dict:
    (found,) = re.findall(r'id="data">(.*?)</script>', path.read_text())
    return json.loads(found)


def test_a_version_by_number_or_alias_gives_a_page_with_a_map_if_its_images_are_there(
    version, bars, tmp_path, capsys
):
    path, by_alias = tmp_path / "new folder" / "page.html", tmp_path / "alias.html"
    assert explore.main([version, "-o", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    data = data_of(path)
    assert data["classes"] == list("abcd")
    assert data["known"] == [True] * 4
    assert len(data["map"]["labels"]) == 40
    assert f"{NAME} version {version}, bars" in path.read_text()
    assert explore.main(["candidate", "-o", str(by_alias)]) == 0
    assert by_alias.read_bytes() == path.read_bytes()
    capsys.readouterr()
    assert explore.main(["-o", str(by_alias)]) == 0  # no champion: the one trained last
    assert by_alias.read_bytes() == path.read_bytes()
    assert "note: there is no champion of bars" in capsys.readouterr().err
    MlflowClient().set_registered_model_alias(NAME, champion.alias("bars"), version)
    assert explore.main(["-o", str(by_alias)]) == 0
    assert "note" not in capsys.readouterr().err
    other = Split(bars.labels, lambda: iter([255 - bars.images]))
    about = {"name": "negatives", "class_names": list("abcd"), "url": ""}
    write_dataset({"train": other, "test": other}, about)
    assert explore.main([version, "-o", str(path)]) == 0
    assert data_of(path)["map"] is None
    assert "page.errors" in data_of(path)["places"]  # recorded with the version
    note = capsys.readouterr().err
    assert "no map: data/prepared holds negatives" in note
    assert "trained on bars" in note


def test_an_unknown_version_and_a_damaged_one_are_told_in_a_line_and_nothing_is_written(
    version, tmp_path, capsys
):
    path = tmp_path / "page.html"
    path.write_text("mine")
    for reference in ("99", "champion"):
        assert explore.main([reference, "-o", str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"error: VERSION: got {reference}; expected a version, {version}, or an alias, "
            "candidate, candidate-bars"
        )
    folder = registry.local_folder(registry.list_versions()[0])
    (weights,) = folder.rglob(WEIGHTS_FILE)
    content = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    content[-1] ^= 1
    weights.write_bytes(content.tobytes())
    assert (MODEL / WEIGHTS_FILE).read_bytes() != weights.read_bytes()
    assert explore.main([version, "-o", str(path)]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert path.read_text() == "mine"


def test_without_any_version_the_command_says_what_makes_one(workspace, tmp_path, capsys):
    assert explore.main(["champion", "-o", str(tmp_path / "page.html")]) == 1
    assert "there is no version yet: dvc repro makes one" in capsys.readouterr().err
