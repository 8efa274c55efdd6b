"""Opening a version, reading image files and writing pictures, as all these commands do it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.data.conversion import Conversion
from pipeline.tools import encode_folder, own_images, reconstruct, sample, swap
from pipeline.tracking import registry
from tests.pipeline.test_dvc_yaml import import_closure

KINDS = ("colour.png", "small.JPG", "flat.webp", "gray.png", "deep.png", "clear.png")


@pytest.mark.parametrize("reference", ["1", "2", "champion", "candidate", "latest"])
def test_a_version_is_found_by_number_alias_or_as_the_newest(here, reference):
    version = own_images.open_version(reference)
    gray = reference in ("1", "champion")
    assert version.name == ("version 1 (gray)" if gray else "version 2 (colours)")
    assert version.classes == (["é", "a, b", "01"] if gray else [])
    assert version.conversion.channels == ("gray" if gray else "color")


def test_a_version_that_records_no_conversion_takes_images_whole_on_black(here, monkeypatch):
    """As those registered before do; the first ones know no classes either."""
    model = own_images.open_version("2").model.unwrap_python_model().model
    older = SimpleNamespace(unwrap_python_model=lambda: SimpleNamespace(model=model))
    monkeypatch.setattr("pipeline.tracking.registry.load", lambda address: older)
    version = own_images.open_version("2")
    assert version.conversion == Conversion((16, 12), "pad", "color", "black", False)
    assert version.classes == []


@pytest.mark.parametrize("main", [swap.main, reconstruct.main, sample.main, encode_folder.main])
@pytest.mark.parametrize("reference", ["9", "Champion", ""])
def test_a_version_that_does_not_exist_is_named_beside_those_that_do(here, run, main, reference):
    files = {swap.main: ["gray.png", "deep.png"], encode_folder.main: ["."]}
    done = run(main, *files.get(main, ["gray.png"]), "--version", reference)
    assert done.status == 1
    known = "2, 1, candidate, candidate-colours, candidate-gray, champion, latest"
    assert done.errors == [f"error: --version: got {reference}, expected one of {known}"]


def test_without_any_version_a_line_says_what_makes_one(here, run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/empty.db")
    done = run(reconstruct.main, "gray.png")
    assert done.status == 1
    assert done.errors == ["error: there is no registered version yet; dvc repro makes one"]


def test_a_version_whose_files_are_gone_is_named(here, run, monkeypatch):
    def gone(address):
        raise FileNotFoundError(f"no files at {address}")

    monkeypatch.setattr("pipeline.tracking.registry.load", gone)
    done = run(sample.main, "gray.png", "--version", "1")
    (line,) = done.errors
    assert line.startswith("error: version 1 cannot be loaded (no files at models:/vaegan/1): ")
    assert "python -m pipeline track restores it" in line


@pytest.mark.parametrize("main", [swap.main, reconstruct.main, sample.main])
def test_all_faults_of_all_files_are_told_before_a_version_is_opened(
    here, run, main, truncated, monkeypatch
):
    monkeypatch.setattr(own_images, "open_version", None)
    Path("notes.png").write_text("no image")
    Path("empty.png").touch()
    bad = [truncated, "notes.png", "empty.png", "absent.png", "."]
    for chunk in [bad[:2], bad[2:4]] if main is swap.main else [["gray.png", *bad]]:
        done = run(main, *chunk)
        named = [name for name in chunk if name != "gray.png"]
        assert done.status == 1
        assert [line.split(" ", 2)[1] for line in done.errors] == named
        assert all(line.startswith("error: ") for line in done.errors)
        assert not Path(f"{main.__module__.rpartition('.')[2]}.png").exists()


def test_an_image_whose_range_is_unknown_is_named_by_its_file(here, run):
    Image.fromarray(np.ones((9, 9), np.float32)).save("float.tif")
    done = run(reconstruct.main, "float.tif", "gray.png", "--version", "1")
    (line,) = done.errors
    assert line.startswith("error: float.tif has float values, whose range is not known")


@pytest.mark.parametrize("main", [swap.main, reconstruct.main, sample.main, encode_folder.main])
def test_nothing_is_overwritten_without_force(here, run, main):
    files = {swap.main: ["gray.png", "deep.png"], encode_folder.main: ["."]}
    name = "kept.csv" if main is encode_folder.main else "kept.webp"
    Path(name).write_text("mine")
    arguments = [*files.get(main, ["gray.png"]), "-o", name, "--version", "1"]
    done = run(main, *arguments)
    assert done.status == 1
    assert done.errors == [f"error: -o: {name} exists; --force replaces it"]
    assert Path(name).read_text() == "mine"
    assert run(main, *arguments, "--force").status == 0
    assert not Path(name).read_bytes().startswith(b"mine")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("picture", "-o: got picture, expected a name that ends in .png, .jpg, "),
        ("picture.pdf", "-o: got picture.pdf, expected a name that ends in .png, .jpg, "),
        ("folder.png", "-o: folder.png is a folder, expected a file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_first(here, run, output, message):
    Path("folder.png").mkdir()
    done = run(reconstruct.main, "absent.png", "-o", output)
    (line,) = done.errors
    assert line.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("ending", "kind"), [("png", "PNG"), ("JPG", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF")]
)
def test_the_format_of_a_picture_is_that_of_its_ending(tmp_path, ending, kind):
    path = tmp_path / f"picture.{ending}"
    own_images.write_picture(path, [[np.zeros((3, 8, 8), np.float32)]])
    assert Image.open(path).format == kind


def test_a_picture_has_each_image_in_its_place_and_nothing_lost(tmp_path):
    rows = np.linspace(0, 1, 5 * 2 * 3, dtype=np.float32).reshape(5, 1, 2, 3)
    own_images.write_picture(tmp_path / "picture.png", [rows[:3], rows[3:]])
    pixels = np.asarray(Image.open(tmp_path / "picture.png"))
    scale = 38  # 3 pixels on at least 112
    assert pixels.shape == (2 * 2 * scale + 4, 3 * 3 * scale + 2 * 4)
    for number, image in enumerate(rows):
        y, x = divmod(number, 3)
        top, left = y * (2 * scale + 4), x * (3 * scale + 4)
        found = pixels[top : top + 2 * scale : scale, left : left + 3 * scale : scale]
        np.testing.assert_array_equal(found, np.rint(image[0] * 255))
    assert (pixels[-1, -3 * scale :] == 128).all()  # no image there


def test_a_picture_that_is_too_large_for_its_format_is_told_and_not_written(tmp_path):
    rows = np.zeros((1, 150, 1, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"webp cannot be written, 17396 x 112 pixels: .* limit"):
        own_images.write_picture(tmp_path / "picture.webp", rows)
    assert not list(tmp_path.iterdir())


def test_a_colour_picture_keeps_its_channels(tmp_path):
    image = np.stack([np.full((8, 8), value, np.float32) for value in (0, 0.2, 1)])
    own_images.write_picture(tmp_path / "picture.png", [[image]])
    assert Image.open(tmp_path / "picture.png").getpixel((0, 0)) == (0, 51, 255)


@pytest.mark.parametrize("module", ["swap", "reconstruct", "sample", "encode_folder"])
def test_no_command_imports_training_or_plotting_code(module):
    needed = import_closure(f"pipeline.tools.{module}")
    assert "pipeline/tracking/registry.py" in needed
    assert not [file for file in needed if file.startswith(("vaegan/training/", "vaegan/figures/"))]


class Comparing:
    """A version's model that finds every second image unlike the others."""

    def predict(self, images, params):
        assert params == {"task": "compare"}
        return {"unlike": np.arange(len(images)) % 2 == 1}


@pytest.mark.parametrize("compares", [True, False], ids=["knows test images", "registered before"])
def test_images_unlike_the_trained_ones_are_named(here, monkeypatch, capsys, compares):
    how = Conversion((16, 12), "pad", "gray", "black", False)
    version = own_images.Version("version 1", {}, Comparing(), [], how, compares)
    monkeypatch.setattr(own_images, "open_version", lambda reference: version)
    files = [Path(name) for name in KINDS[:4]]
    given = SimpleNamespace(output=Path("out.png"), force=False, files=files, version="1")
    own_images.load(given)
    said = capsys.readouterr().err
    told = "note: unlike the images that the model was trained on: small.JPG, gray.png; "
    assert said.startswith(told) if compares else said == ""


def test_a_version_of_mnist_frames_a_drawing_whenever_it_was_registered(here, monkeypatch):
    found = MlflowClient().get_model_version(registry.NAME, "1")
    found.tags["dataset"] = "mnist"
    monkeypatch.setattr(registry, "list_versions", lambda: [found])
    assert own_images.open_version("1").conversion.box == 20
