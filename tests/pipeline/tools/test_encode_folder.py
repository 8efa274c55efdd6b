"""Tables of codes of the images in a folder."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from pipeline.__main__ import main as door
from pipeline.data.conversion import open_image
from pipeline.tools import encode_folder, own_images


@pytest.fixture
def folder(here):
    """A folder with images at two depths and with files that systems leave."""
    for name in ("pictures/b, c/deep.png", "pictures/colour.png", "pictures/b, c/small.JPG"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(Path(name).name).rename(name)
    for name in (".DS_Store", "Thumbs.db", ".hidden/a.png", "__MACOSX/a.png"):
        Path("pictures", name).parent.mkdir(exist_ok=True)
        Path("pictures", name).write_text("no image")
    Path("pictures/labels.csv").write_text("file_name,label\n")
    return Path("pictures")


FILES = ["b, c/deep.png", "b, c/small.JPG", "colour.png"]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("reference", ["1", "2"])
def test_every_image_has_a_row_with_the_codes_that_the_model_gives(
    folder, run, ending, reference, monkeypatch
):
    monkeypatch.setattr(encode_folder, "BATCH", 2)
    output = f"codes.{ending}"
    done = run(encode_folder.main, folder, "-o", output, "--version", reference)
    assert (done.status, done.errors) == (0, [])
    assert ": codes of 3 images; files that are no images, left aside: 1\n" in done.out
    table = {"parquet": pd.read_parquet, "csv": pd.read_csv}[ending](output)
    assert table["file"].tolist() == FILES
    version = own_images.open_version(reference)
    images = [version.conversion.convert(open_image(folder / name)) for name in FILES]
    given = np.stack(images).astype(np.float32) / 255
    codes = version.model.predict(given, params={"task": "encode"})
    columns = [f"{name}_{i}" for name, code in codes.items() for i in range(code.shape[1])]
    assert table.columns.tolist() == ["file", *columns]
    np.testing.assert_allclose(table[columns], np.hstack(list(codes.values())), rtol=1e-4)


def test_a_parquet_table_says_which_model_made_it(folder, run):
    run(encode_folder.main, folder, "--version", "1")
    about = parquet.read_schema("codes.parquet").metadata
    assert about[b"version"] == b"version 1 (gray)"
    assert about[b"model.sha256"] == own_images.open_version("1").tags["model.sha256"].encode()


def test_an_archive_gives_the_table_of_its_folder(folder, run):
    shutil.make_archive("packed", "zip", folder)
    for name, output in ((folder, "folder.csv"), ("packed.zip", "archive.csv")):
        assert run(encode_folder.main, name, "-o", output, "--version", "1").status == 0
    assert Path("archive.csv").read_text() == Path("folder.csv").read_text()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_in_an_archive_twice_is_left_out(folder, run):
    shutil.make_archive("packed", "zip", folder)
    with zipfile.ZipFile("packed.zip", "a") as archive:
        archive.write(folder / FILES[0], FILES[0])
    done = run(encode_folder.main, "packed.zip", "--version", "1", "--unreadable", "skip")
    assert (done.status, done.errors) == (0, [])
    assert done.out.startswith(f"skipped: {FILES[0]} is in the archive twice\n")
    assert pd.read_parquet("codes.parquet")["file"].tolist() == FILES[1:]
    assert run(encode_folder.main, "packed.zip", "--version", "1", "-o", "b.csv").errors == [
        f"error: {FILES[0]} is in the archive twice",
        "error: --unreadable skip leaves such files out",
    ]


def test_all_files_that_are_no_images_are_told_and_nothing_is_written(folder, run, truncated):
    Path(truncated).rename(folder / truncated)
    (folder / "notes.png").write_text("no image")
    done = run(encode_folder.main, folder, "--version", "1")
    assert done.status == 1
    first, second, hint = done.errors
    assert first.startswith("error: half.png cannot be decoded: ")
    assert second.startswith("error: notes.png is no image, or in none of the formats")
    assert hint == "error: --unreadable skip leaves such files out"
    assert not Path("codes.parquet").exists()

    done = run(encode_folder.main, folder, "--version", "1", "--unreadable", "skip")
    assert (done.status, done.errors) == (0, [])
    assert [line.split()[:2] for line in done.out.splitlines()[:2]] == [
        ["skipped:", "half.png"],
        ["skipped:", "notes.png"],
    ]
    assert pd.read_parquet("codes.parquet")["file"].tolist() == FILES


def test_a_table_in_the_folder_is_not_taken_for_an_image_the_next_time(folder, run):
    for options in ([], ["--force"]):
        output = folder / "codes.csv"
        done = run(encode_folder.main, folder, "-o", output, "--version", "1", *options)
        assert (done.status, done.errors) == (0, [])
    assert len(pd.read_csv(output)) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "empty has no images; files that are no images, left aside: 1"),
        ("absent", "absent does not exist"),
        ("gray.png", "gray.png is neither a folder nor a .zip or .npz file"),
    ],
)
def test_a_folder_without_images_is_refused(here, run, name, message):
    Path("empty/.hidden").mkdir(parents=True)
    Path("empty/notes.txt").touch()
    done = run(encode_folder.main, name)
    assert done.errors == [f"error: {message}"]


def test_a_folder_in_which_every_file_is_skipped_gives_no_table(here, run):
    Path("texts").mkdir()
    Path("texts/a.png").write_text("no image")
    done = run(encode_folder.main, "texts", "--version", "1", "--unreadable", "skip")
    assert done.status == 1
    assert done.errors[-1] == "error: texts has no image that can be used"
    assert not Path("codes.parquet").exists()


def test_a_name_that_no_table_can_hold_is_told(here, run):
    Path("odd").mkdir()
    os.rename("gray.png", b"odd/\xff.png")
    done = run(encode_folder.main, "odd", "--version", "1")
    assert (
        done.errors[0] == r"error: '\udcff.png' has a name that is not UTF-8, which no table holds"
    )


def test_the_door_tells_the_stage_from_the_command_by_its_arguments(folder, run, monkeypatch):
    monkeypatch.setattr("pipeline.run.run_stage", lambda name: print(f"stage {name}") or 0)
    assert run(door, "encode").out == "stage encode\n"
    assert run(door, "encode", folder, "--version", "1").out.startswith("codes.parquet, by ")
    assert run(door, "train", folder).status == 2
