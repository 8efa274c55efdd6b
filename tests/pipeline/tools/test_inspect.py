"""The dry run: it writes nothing, and its section is taken as it is."""

from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import tree_digest
from pipeline.params import load_params
from pipeline.stages.prepare import prepare_own
from pipeline.tools import inspect
from tests.pipeline.data.folders import ROOT, classes, picture, save
from tests.pipeline.stages.test_prepare_own import pets


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())


def pasted(printed: str) -> None:
    """Puts the proposed section into params.yaml."""
    yaml = YAML()
    content = yaml.load(Path("params.yaml").read_text())
    content["prepare"] = yaml.load(printed[printed.index("prepare:\n") :])["prepare"]
    with Path("params.yaml").open("w") as file:
        yaml.dump(content, file)


def test_the_proposed_section_prepares_what_was_shown(tmp_path, capsys):
    path = pets(tmp_path / "a place/pets")
    before = tree_digest(tmp_path)
    assert inspect.main([str(path)]) == 0
    assert tree_digest(tmp_path) == before
    printed = capsys.readouterr().out
    for line in (
        "images: 40, of which 0 unreadable",
        "width x height: 20 x 10 14, 20 x 12 13, 20 x 11 13",
        "modes: L 31, RGB 9",
        "       20  a",
        "splits: train 32, test 8",
        "known style factor pose: 3 values",
        "  labels: labels.csv",
        "  image_size: 20",
        "  channels: color",
        "  kind: pictures",
    ):
        assert line in printed.splitlines(), printed
    pasted(printed)
    params = load_params().prepare
    assert params.path == str(path)
    prepare_own(params)
    dataset = read_dataset()
    assert [len(data) for data in dataset.splits.values()] == [32, 8]
    assert dataset.train.image_shape == (3, 20, 20)


def test_every_fault_is_listed_and_makes_the_status_1(tmp_path, capsys):
    path = classes(tmp_path / "pets", each=70)
    for number in range(60):
        (path / f"a/{number}.png").write_bytes(b"")
    assert inspect.main([str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.err.count(" is empty\n") == 60
    assert "140, of which 60 unreadable" in printed.out
    assert inspect.main([str(path), "--unreadable", "skip"]) == 0
    assert "  unreadable: skip" in capsys.readouterr().out


def test_options_are_checked_as_parameters(tmp_path, capsys):
    path = classes(tmp_path / "pets")
    assert inspect.main([str(path), "--image-size", "[9, 300]"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: inspect: prepare.image_size: got [9, 300], expected 'auto', 8")
    assert inspect.main([str(path), "--image-size", "[9, 30]", "--invert", "true"]) == 0
    printed = capsys.readouterr().out
    assert "  image_size: [9, 30]\n" in printed
    assert "  invert: true\n" in printed


def test_what_is_no_folder_of_images_is_one_error(tmp_path, capsys):
    for path in ("absent", "params.yaml"):
        assert inspect.main([path]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {path} ")
    save(tmp_path / "flat/0.png", picture(0))
    assert inspect.main(["flat"]) == 1
    assert "0.png lies in the top folder, in no class folder" in capsys.readouterr().err


def test_unseen_classes_are_counted_apart(tmp_path, capsys):
    classes(tmp_path / "pets/train")
    classes(tmp_path / "pets/unseen", "cd", each=3)
    assert inspect.main(["pets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("classes, in this order: 2")
    assert lines[first + 1 : first + 7] == [
        "        5  a",
        "        5  b",
        "unseen classes, held out of the training: 2",
        "        3  c",
        "        3  d",
        "splits: train 8, test 2, unseen 6",
    ]


def test_hundreds_of_classes_are_counted(tmp_path, capsys):
    classes(tmp_path / "pets", [f"c{number}" for number in range(50)], each=3)
    save(tmp_path / "pets/c49/x.png", Image.new("L", (8, 8), 3))
    assert inspect.main(["pets"]) == 0
    assert "       31  in 10 more, 3 to 4 each" in capsys.readouterr().out.splitlines()
