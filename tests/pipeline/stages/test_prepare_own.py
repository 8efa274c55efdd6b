"""Stage prepare on own images: what is written, and that faults leave everything as it was."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import tree_digest
from pipeline.artifacts.paths import PREPARED
from pipeline.data import decoding
from pipeline.data.conversion import Conversion, open_image
from pipeline.run import run_stage
from pipeline.stages import prepare as stage
from tests.pipeline.data.folders import classes, config, picture, save
from tests.pipeline.data.test_survey import letters
from tests.pipeline.stages.test_prepare import write_params


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def pets(root: Path, color: bool = True) -> Path:
    """Two classes of different sizes and aspects, with a table of poses."""
    rows = ["file_name,label,pose,number"]
    for number in range(40):
        label = "ab"[number % 2]
        shape = (10 + number % 3, 20, 3)[: 2 + (color and number > 30)]
        pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        save(root / label / f"{number}.png", Image.fromarray(pixels))
        rows.append(f"{label}/{number}.png,{label},{['2', '10', 'x'][number % 3]},{number}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("chunk", [256, 7])
def test_every_image_is_written_as_its_own_conversion_gives_it(tmp_path, monkeypatch, color, chunk):
    monkeypatch.setattr("pipeline.data.decoding.CHUNK", chunk)
    monkeypatch.setattr("pipeline.data.spool.CHUNK", chunk)
    path = pets(tmp_path / "images/pets", color)

    stage.prepare_own(config(path, image_size=(8, 12), labels="labels.csv"))

    dataset = read_dataset()
    assert dataset.name == "pets"
    assert dataset.kind == "pictures"
    assert dataset.description["class_names"] == ["a", "b"]
    assert dataset.factor_names == {"pose": ["2", "10", "x"]}  # a number each is no style
    conversion = Conversion.from_dict(dataset.conversion)
    assert conversion == Conversion((8, 12), "pad", "color" if color else "gray", "black", False)
    whole = {}
    for number in range(40):
        image = open_image(path / "ab"[number % 2] / f"{number}.png")
        whole[conversion.convert(image).tobytes()] = number
    found = []
    for split, data in dataset.splits.items():
        for row, pixels in enumerate(data.images):
            number = whole[pixels.tobytes()]
            assert data.labels[row] == number % 2
            assert dataset.factors[split][row].tolist() == [number % 3]
            found.append(number)
    assert sorted(found) == list(range(40))
    assert len(dataset.test) == 8


def test_unseen_classes_are_a_split_of_their_own_with_their_own_labels(tmp_path, capfd):
    rows = ["file_name,label,split,pose"]
    for number in range(28):
        split = "train" if number < 20 else "unseen"
        label = "bd"[number % 2] if number < 20 else "ac"[number % 2]
        save(tmp_path / f"pets/{number}.png", picture(number))
        rows.append(f"{number}.png,{label},{split},{['left', 'right'][number // 2 % 2]}")
    (tmp_path / "pets/labels.csv").write_text("\n".join(rows))
    write_params(tmp_path, dataset="folder", path="pets", labels="labels.csv")
    assert run_stage("prepare") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "2 classes in this order: b, d"
    assert lines[1] == "2 unseen classes, held out of the training: a, c"
    assert lines[-1].endswith(" 16 train, 4 test, 8 unseen")

    dataset = read_dataset()
    assert (dataset.description["class_names"], dataset.unseen_classes) == (["b", "d"], ["a", "c"])
    unseen = dataset.splits["unseen"]
    assert unseen.labels.tolist() == [0, 1] * 4
    assert dataset.factors["unseen"].ravel().tolist() == [0, 0, 1, 1] * 2
    expected = [np.asarray(picture(number)) for number in range(20, 28)]
    assert np.array_equal(unseen.images[:, 0], expected)


def test_black_letters_on_white_become_light_strokes(tmp_path):
    for split in range(4):
        for number, image in enumerate(letters(ink=0, ground=255)):
            image.putpixel((split, 0), 200)
            save(tmp_path / "letters" / chr(65 + number) / f"{split}.png", image)
    stage.prepare_own(config(tmp_path / "letters"))
    dataset = read_dataset()
    assert (dataset.kind, dataset.conversion["invert"]) == ("strokes", True)
    assert dataset.train.images[:, :, -1].max() == 0
    stage.prepare_own(config(tmp_path / "letters", invert=False))
    assert read_dataset().kind == "pictures"
    assert read_dataset().train.images[:, :, -1].min() == 255


def test_the_same_images_elsewhere_give_the_same_bytes(tmp_path):
    first = pets(tmp_path / "one/pets")
    shutil.copytree(first, tmp_path / "two/pets")
    for place in ("one", "two"):
        wanted = config(tmp_path / place / "pets", image_size=8)
        stage.prepare_own(wanted, tmp_path / f"out/{place}")
    assert tree_digest(tmp_path / "out/one") == tree_digest(tmp_path / "out/two")
    assert str(tmp_path) not in (tmp_path / "out/one/dataset.json").read_text()


def test_faults_are_lines_and_the_previous_data_set_stays(tmp_path, capfd):
    classes(tmp_path / "pets", each=60)
    write_params(tmp_path, dataset="folder", path="pets")
    assert run_stage("prepare") == 0
    assert "2 classes in this order: a, b" in capfd.readouterr().out
    before = tree_digest(PREPARED)
    for number in range(60):
        (tmp_path / f"pets/a/{number}.png").write_bytes(b"x")
    assert run_stage("prepare") == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "error: 61 faults in pets:"
    assert lines[1].startswith("a/0.png is no image")
    assert lines[-1] == "and 11 more: python -m pipeline inspect pets lists them all"
    assert tree_digest(PREPARED) == before
    assert [path.name for path in PREPARED.parent.iterdir()] == ["prepared"]


def test_a_spool_that_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / "data/.prepared.spool-abc.part"
    left.mkdir(parents=True)
    (left / "00000000").touch()
    stage.prepare_own(config(classes(tmp_path / "pets")))
    assert not left.exists()


def test_a_folder_named_like_a_data_set_is_not_taken_for_it(tmp_path):
    stage.prepare_own(config(classes(tmp_path / "mnist")))
    described = json.loads((PREPARED / "dataset.json").read_text())
    assert (described["name"], described["requested"]) == ("own mnist", "folder")


def test_validation_images_keep_copies_together_too(tmp_path):
    for label in "ab":
        for number in range(60):
            name = f"pets/{label}/{number}.png"
            save(tmp_path / name, picture(1000 * ord(label) + number // 2))
    stage.prepare_own(config(tmp_path / "pets", validation_size=20))
    splits = read_dataset().splits
    sets = [{image.tobytes() for image in data.images} for data in splits.values()]
    assert [len(data) for data in splits.values()] == [76, 20, 24]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_more_images_than_one_process_decodes_give_the_same_bytes(tmp_path, monkeypatch):
    path = classes(tmp_path / "pets", "abc", each=200)
    stage.prepare_own(config(path), tmp_path / "many")
    monkeypatch.setattr(decoding, "FEW", 10**6)
    stage.prepare_own(config(path), tmp_path / "one")
    assert tree_digest(tmp_path / "many") == tree_digest(tmp_path / "one")
