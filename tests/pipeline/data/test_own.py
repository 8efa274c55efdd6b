"""Every bad input has one clear answer: a fault by name, or images left out and counted."""

import os
import re
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data import own
from pipeline.data.own import OwnImages
from pipeline.data.spool import open_spool, spooled
from tests.pipeline.data.folders import classes, config, packed, picture, save
from tests.pipeline.data.test_survey import letters


def examine(path: Path, **changes: object) -> OwnImages:
    return own.examine(path, config(path, **changes), None)


def faults(path: Path, **changes: object) -> str:
    return "\n".join(examine(path, **changes).faults)


def of_split(images: OwnImages, split: str) -> list[str]:
    return [images.listing.items[p].name for p in images.splits[split].tolist()]


JUNK = (
    ".DS_Store", "a/.DS_Store", "a/Thumbs.db", "b/desktop.ini", "__MACOSX/._a.png", "a/._0.png",
    ".ipynb_checkpoints/0.png", "a/.hidden/0.png", ".git/objects/x", "@eaDir/0.png",
)  # fmt: skip


def test_files_of_systems_and_hidden_folders_are_no_classes_and_no_images(tmp_path):
    classes(tmp_path)
    for name in JUNK:
        save(tmp_path / f"{name}.png", picture(1)).rename(tmp_path / name)
    images = examine(tmp_path)
    assert images.faults == []
    assert images.class_names == ["a", "b"]
    assert len(images.seen) == 10
    assert images.tree.system == len(JUNK)
    again = examine(packed(tmp_path, tmp_path.with_suffix(".zip")))
    assert (again.class_names, len(again.seen), again.tree.system) == (["a", "b"], 10, len(JUNK))


def test_classes_are_in_natural_order_and_images_too(tmp_path):
    names = ["10", "1", "2", "02", "a10", "a9", "b"]
    classes(tmp_path, names, each=11)
    images = examine(tmp_path)
    assert images.class_names == ["1", "02", "2", "10", "a9", "a10", "b"]
    of_2 = [item.name for item in images.listing.items if item.label == "2"]
    assert of_2 == [f"2/{number}.png" for number in range(11)]


def test_a_class_name_is_in_normal_form_and_two_that_collide_are_a_fault(tmp_path):
    decomposed = unicodedata.normalize("NFD", "é")
    classes(tmp_path, [decomposed, "z"])
    assert examine(tmp_path).class_names == ["z", "é"]
    classes(tmp_path, ["é"])
    assert "'\\xe9'" in faults(tmp_path)
    assert "é is the name of several class folders" in faults(tmp_path)


def test_a_class_of_test_that_training_lacks_is_a_fault(tmp_path):
    classes(tmp_path / "train")
    classes(tmp_path / "test", "ab", each=2)
    save(tmp_path / "test/c/0.png", picture(7))
    assert "the split test has classes that training has not: c" in faults(tmp_path)


def test_a_class_that_only_training_has_is_a_note(tmp_path):
    classes(tmp_path / "train", "abc")
    classes(tmp_path / "test", "ab", each=2, size=9)
    images = examine(tmp_path, image_size=8)
    assert images.faults == []
    assert "the split test has no image of 1 classes: c" in images.notes


@pytest.mark.parametrize("inside", [None, "note.txt", ".DS_Store", "nested/"])
def test_an_empty_class_folder_is_named(tmp_path, inside):
    classes(tmp_path)
    (tmp_path / "empty").mkdir()
    if inside:
        (tmp_path / "empty" / inside).mkdir() if inside.endswith("/") else (
            tmp_path / "empty" / inside
        ).touch()
    assert faults(tmp_path) == "empty is a class folder without a picture"


def test_nested_folders_belong_to_their_class(tmp_path):
    classes(tmp_path)
    save(tmp_path / "a/deep/er/0.png", picture(9))
    images = examine(tmp_path)
    assert Counter(item.label for item in images.listing.items) == {"a": 6, "b": 5}


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "TEST"), ("training", "testing")])
def test_top_folders_are_splits_if_all_are_named_so(tmp_path, names):
    for seed, name in enumerate(names):
        for label in "ab":
            for number in range(3):
                path = tmp_path / name / label / f"{number}.png"
                save(path, picture(100 * seed + 10 * ord(label) + number))
    images = examine(tmp_path)
    assert images.faults == []
    assert images.class_names == ["a", "b"]
    assert {name: len(rows) for name, rows in images.splits.items()} == {"train": 6, "test": 6}


def test_a_top_folder_of_another_name_makes_all_of_them_classes(tmp_path):
    classes(tmp_path, ["train", "test", "bus"])
    assert examine(tmp_path).class_names == ["bus", "test", "train"]


def test_three_given_splits_are_kept_and_two_of_one_name_are_a_fault(tmp_path):
    for seed, name in enumerate(("train", "val", "test")):
        for label in "ab":
            for number in range(3):
                save(tmp_path / name / label / f"{number}.png", picture(
                    1000 * seed + 10 * ord(label) + number))  # fmt: skip
    assert list(examine(tmp_path).splits) == ["train", "validation", "test"]
    assert "expected 0, as the images come with" in faults(tmp_path, validation_size=2)
    classes(tmp_path / "dev")
    assert "val names the same split as dev" in faults(tmp_path)


def test_classes_of_the_top_folder_unseen_are_held_out_of_the_training(tmp_path):
    classes(tmp_path / "train", ["b", "c10"])
    classes(tmp_path / "unseen", ["c9", "a", "c11"], each=3)
    images = examine(tmp_path)
    assert images.faults == []
    assert (images.class_names, images.unseen_classes) == (["b", "c10"], ["a", "c9", "c11"])
    assert {name: len(rows) for name, rows in images.splits.items()} == {
        "train": 8, "test": 2, "unseen": 9,
    }  # fmt: skip
    assert of_split(images, "unseen")[3:6] == [f"unseen/c9/{number}.png" for number in range(3)]
    assert images.labels(images.splits["unseen"]).tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert sorted(images.labels(images.splits["test"]).tolist()) == [0, 1]
    save(tmp_path / "unseen/d/0.png", picture(1))
    save(tmp_path / "unseen/d/1.png", picture(2))
    fewer = examine(tmp_path, min_images=3)
    assert (fewer.faults, fewer.unseen_classes) == ([], ["a", "c9", "c11"])
    assert fewer.notes[0].endswith("than 3 images (prepare.min_images) are left out: d (2)")


def test_unseen_classes_that_cannot_be_measured_are_faults(tmp_path):
    classes(tmp_path / "unseen", "cd", each=3)
    assert "has 0 classes with 2 training images or more; expected two" in faults(tmp_path)
    classes(tmp_path / "train", "ab")
    assert faults(tmp_path) == ""
    (tmp_path / "unseen/c").rename(tmp_path / "unseen/a")
    assert faults(tmp_path, duplicates="drop").splitlines() == [
        "classes of the split unseen have images in other splits: a"
    ]
    (tmp_path / "unseen/a").rename(tmp_path / "test")
    said = "the split unseen has {} with enough images, {}; expected two or more, one of them "
    (tmp_path / "test").rename(tmp_path / "train/e")
    assert faults(tmp_path).startswith(said.format("1 class", "d"))
    (tmp_path / "train/e").rename(tmp_path / "unseen/e")
    for label in "de":
        (tmp_path / f"unseen/{label}/2.png").unlink()
    assert faults(tmp_path).startswith(said.format("2 classes", "d, e"))
    (tmp_path / "unseen/d/1.png").unlink()
    assert faults(tmp_path).startswith("unseen classes with one image: d; expected two or more")


def test_an_image_of_an_unseen_class_that_training_has_is_a_copy_like_any_other(tmp_path):
    classes(tmp_path / "train", "ab")
    classes(tmp_path / "unseen", "cd", each=3)
    save(tmp_path / "unseen/c/same.png", Image.open(tmp_path / "train/a/0.png"))
    assert "equal images in several classes: train/a/0.png, unseen/c/same.png" in faults(tmp_path)
    allowed = examine(tmp_path, duplicates="allow")
    assert allowed.faults == []
    assert "WARNING: 1 images of the split unseen are in training too" in allowed.notes


def test_an_image_outside_of_every_class_is_named(tmp_path):
    save(classes(tmp_path) / "preview.png", picture(1))
    assert faults(tmp_path) == "preview.png lies in the top folder, in no class folder"


def test_classes_with_too_few_images_are_left_out_and_named(tmp_path):
    classes(tmp_path, "ab")
    classes(tmp_path, ["one"], each=1)
    images = examine(tmp_path)
    assert images.faults == []
    assert images.class_names == ["a", "b"]
    assert "1 classes with fewer than 2 images (prepare.min_images) are left out: one (1)" in (
        images.notes
    )
    assert not any("one/" in name for split in images.splits for name in of_split(images, split))
    assert "has 0 classes with 6 training images or more" in faults(tmp_path, min_images=6)


def broken_files(root: Path) -> dict[str, str]:
    """Damaged files in a class, and a word of each reason."""
    whole = save(root / "a/whole.png", picture(50, 64)).read_bytes()
    files = {
        "a/cut.png": (whole[: len(whole) // 2], "cannot be decoded"),
        "a/empty.jpg": (b"", "is empty"),
        "a/text.jpeg": (b"not a picture", "is no image"),
        "b/drawing.svg": (b"<svg/>", "is no image"),
        "b/photo.heic": (b"\0\0\0\x18ftypheic", "is no image"),
        "b/no extension": (whole[:100], "cannot be decoded"),
    }
    for name, (content, _) in files.items():
        (root / name).write_bytes(content)
    (root / "a/whole.png").unlink()
    return {name: reason for name, (_, reason) in files.items()}


def test_all_damaged_files_are_named_at_once_with_their_reasons(tmp_path):
    reasons = broken_files(classes(tmp_path))
    said = examine(tmp_path).faults
    assert len(said) == len(reasons)
    for name, reason in reasons.items():
        (line,) = [line for line in said if line.startswith(f"{name} ")]
        assert reason in line


def test_damaged_files_are_left_out_and_counted_if_asked(tmp_path):
    reasons = broken_files(classes(tmp_path))
    images = examine(tmp_path, unreadable="skip")
    assert images.faults == []
    assert sum(map(len, images.splits.values())) == 10
    assert f"{len(reasons)} unreadable images are left out:" in images.notes
    assert all(any(name in note for note in images.notes) for name in reasons)


def test_an_image_with_damaged_exif_data_is_used_as_it_lies(tmp_path):
    save(classes(tmp_path) / "a/exif.png", picture(90), exif=b"garbage")
    images = examine(tmp_path)
    assert images.faults == []
    assert len(images.seen) == 11


def test_other_files_are_counted_and_pictures_are_told_by_content(tmp_path):
    classes(tmp_path)
    save(tmp_path / "a/x.png", picture(60)).rename(tmp_path / "a/scan")
    save(tmp_path / "a/y.png", picture(61)).rename(tmp_path / "a/photo.dat")
    save(tmp_path / "a/z.png", picture(62)).rename(tmp_path / "a/photo.JPG")
    for name in ("a/notes.txt", "README.md", "a/list.csv", "b/movie.mp4"):
        (tmp_path / name).write_text("x")
    images = examine(tmp_path)
    assert images.faults == []
    assert len(images.seen) == 13
    assert images.listing.others == {"txt": 1, "md": 1, "csv": 1, "mp4": 1}


def test_mixed_sizes_without_a_size_are_listed_and_one_is_proposed(tmp_path):
    classes(tmp_path, size=40)
    save(tmp_path / "a/large.png", picture(5, 300))
    said = faults(tmp_path)
    assert "40 x 40 (10), 300 x 300 (1)" in said
    assert said.endswith("expected a size from 8 to 128, such as 40")
    assert faults(tmp_path, image_size=16) == ""


@pytest.mark.parametrize(("size", "proposed"), [(4, 8), (200, 64)])
def test_equal_sizes_beyond_the_bounds_need_a_size(tmp_path, size, proposed):
    assert f"such as {proposed}" in faults(classes(tmp_path, size=size))


def test_a_bomb_is_refused_by_name_and_size(tmp_path):
    classes(tmp_path)
    save(tmp_path / "a/bomb.png", Image.new("1", (9000, 9000)))
    assert "a/bomb.png has 9000 x 9000 pixels" in faults(tmp_path)


def test_links_give_the_class_as_written_and_loops_are_refused(tmp_path):
    classes(tmp_path / "store", ["x"], each=4)
    root = classes(tmp_path / "root", "a")
    (root / "b").symlink_to(tmp_path / "store/x")
    (root / "a/link.png").symlink_to(tmp_path / "store/x/0.png")
    images = examine(root, duplicates="allow")
    assert images.faults == []
    assert images.class_names == ["a", "b"]
    assert images.tree.linked == ["b"]
    (root / "a/loop").symlink_to(root)
    (root / "a/gone.png").symlink_to("nowhere")
    said = faults(root, duplicates="allow").splitlines()
    assert said == [
        "a/gone.png is a broken symbolic link",
        "a/loop is a symbolic link to a folder that it lies in",
    ]


def test_equal_images_stay_on_one_side_of_the_split(tmp_path):
    for label in "ab":
        for number in range(40):  # 20 pairs
            path = tmp_path / label / f"{number}.png"
            save(path, picture(1000 * ord(label) + number // 2))
    images = examine(tmp_path)
    sides = {s: {images.seen[p].digest for p in rows} for s, rows in images.splits.items()}
    assert not sides["train"] & sides["test"]
    assert len(images.splits["test"]) == 16
    assert "80 images are 40 groups of equal ones: they stay in one split" in images.notes
    dropped = examine(tmp_path, duplicates="drop")
    assert sum(map(len, dropped.splits.values())) == 40


def test_equal_pixels_are_found_in_other_formats_and_modes(tmp_path):
    classes(tmp_path)
    first = Image.open(tmp_path / "a/0.png")
    save(tmp_path / "a/copy.bmp", first)
    save(tmp_path / "a/copy.webp", first.convert("RGB"), lossless=True)
    assert "3 images are 1 groups of equal ones" in examine(tmp_path).notes[0]


def test_equal_images_in_two_classes_are_a_fault_that_can_be_overruled(tmp_path):
    classes(tmp_path)
    save(tmp_path / "b/same.png", Image.open(tmp_path / "a/0.png"))
    said = faults(tmp_path)
    assert "equal images in several classes: a/0.png, b/same.png" in said
    assert faults(tmp_path, duplicates="drop") == said
    allowed = examine(tmp_path, duplicates="allow")
    assert allowed.faults == []
    together = [s for s in allowed.splits if {"a/0.png", "b/same.png"} & set(of_split(allowed, s))]
    assert len(together) == 1


def test_given_splits_that_overlap_are_a_warning_with_the_count(tmp_path):
    classes(tmp_path / "train")
    classes(tmp_path / "test", each=2)
    images = examine(tmp_path)
    assert images.faults == []
    assert "WARNING: 4 images of the split test are in training too" in images.notes


def test_given_splits_for_validation_and_test_that_overlap_are_a_warning_too(tmp_path):
    classes(tmp_path / "train", size=9)
    classes(tmp_path / "val", each=3)
    classes(tmp_path / "test", each=2)
    images = examine(tmp_path, image_size=8)
    assert images.faults == []
    assert "WARNING: 4 images of the split test are in validation too" in images.notes
    assert not any("training too" in note for note in images.notes)


@pytest.mark.parametrize("count", [1, 2, 200])
def test_one_class_is_a_fault_two_and_hundreds_work(tmp_path, count):
    classes(tmp_path, [f"c{n}" for n in range(count)], each=3)
    images = examine(tmp_path)
    if count == 1:
        said = "has 1 class with 2 training images or more, c0; expected two or more"
        assert said in images.faults[0]
    else:
        assert images.faults == []
        assert len(images.class_names) == count
        labels = images.labels(images.splits["test"])
        assert np.bincount(labels).tolist() == [1] * count


def test_a_class_with_nine_tenths_of_the_images_works(tmp_path):
    classes(tmp_path, "a", each=90)
    classes(tmp_path, ["b"], each=10, size=9)
    images = examine(tmp_path, image_size=8)
    assert np.bincount(images.labels(images.splits["test"])).tolist() == [18, 2]


def test_channels_are_decided_by_all_images(tmp_path):
    classes(tmp_path)
    assert examine(tmp_path).conversion.channels == "gray"
    save(tmp_path / "b/rgb.png", picture(70).convert("RGB"))
    assert examine(tmp_path).conversion.channels == "gray"
    save(tmp_path / "b/z.png", picture(71, color=True))
    assert examine(tmp_path).conversion.channels == "color"
    assert examine(tmp_path, channels="gray").conversion.channels == "gray"


def documents(root: Path, ink: int = 0) -> Path:
    """Dark letters on white, a class each."""
    for number, image in enumerate(letters(ink, 255)):
        for corner in range(30):  # so that no two are equal
            image.putpixel((0, 0), 255 - corner)
            save(root / chr(65 + number) / f"{corner}.png", image)
    return root


def test_a_coloured_image_that_the_sample_misses_leaves_all_images_as_they_are(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(own, "SAMPLE", 10)
    root = documents(tmp_path)
    assert examine(root).conversion.invert
    color = np.full((28, 28, 3), (255, 255, 0), np.uint8)
    save(root / "B/15.png", Image.fromarray(color))
    with open_spool(tmp_path / "spool") as spool:
        images = own.examine(root, config(root), spool)
        found = images.conversion
        assert (images.kind, found.channels, found.invert) == ("pictures", "color", False)
        every = np.arange(len(images.seen))
        kept = np.concatenate(list(spooled(spool, found, len(every), every)))
    position = [item.name for item in images.listing.items].index("B/15.png")
    assert position == 45  # between two of the sample, which has every 33rd
    assert (kept[position].transpose(1, 2, 0) == color).all()
    assert np.median(kept) == 255
    assert examine(root, invert=True).conversion.invert


@pytest.mark.parametrize(
    ("ink", "changes", "inverted"),
    [
        (0, {}, True),
        (0, {"kind": "pictures"}, False),
        (0, {"channels": "color"}, False),
        (0, {"kind": "strokes", "channels": "color"}, False),
        (150, {}, False),  # too faint to be told from a picture
        (150, {"kind": "strokes"}, True),
    ],
)
def test_only_what_is_decided_to_be_gray_strokes_is_inverted(tmp_path, ink, changes, inverted):
    assert examine(documents(tmp_path, ink), **changes).conversion.invert == inverted


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04 cut"])
def test_a_path_that_is_another_file_is_one_error(tmp_path, content):
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is neither a folder nor a .zip or .npz file"):
        examine(path)
    with pytest.raises(ValueError, match="does not exist"):
        examine(tmp_path / "absent")


def test_a_folder_without_images_tells_what_lies_there(tmp_path):
    (tmp_path / "a.csv").write_text("file_name,label\n")
    with pytest.raises(ValueError, match=r"holds no images.*1 \.csv.*set prepare.labels: a.csv"):
        examine(tmp_path)


@pytest.mark.parametrize(
    "name", ["with space.png", "new\nline.png", "é.png", os.fsdecode(b"\xff.png")]
)
def test_any_file_name_is_read_and_shown_on_one_line(tmp_path, name):
    classes(tmp_path)
    save(tmp_path / "a/x.png", picture(80)).rename(tmp_path / "a" / name)
    (tmp_path / "b" / name).write_bytes(b"")
    (line,) = examine(tmp_path).faults
    line.encode()
    assert "\n" not in line
    assert line.endswith("is empty")
    assert len(examine(tmp_path, unreadable="skip").splits["train"]) == 9


def test_a_class_name_that_cannot_be_printed_is_a_fault(tmp_path):
    classes(tmp_path, ["a", "b\nc"])
    assert re.search(r"'b\\nc' has the class name 'b\\nc', which cannot be", faults(tmp_path))


@pytest.mark.parametrize("below", ["", "set/", "a b/c d/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path, below):
    folder = classes(tmp_path / "folder", "abc")
    (folder / "README.txt").write_text("x")
    archive = packed(folder, tmp_path / "images.zip", below)
    found, wanted = examine(archive), examine(folder)
    assert found.faults == []
    assert found.class_names == wanted.class_names
    assert [s.digest for s in found.seen] == [s.digest for s in wanted.seen]
    assert {k: v.tolist() for k, v in found.splits.items()} == {
        k: v.tolist() for k, v in wanted.splits.items()
    }


@pytest.mark.parametrize("below", ["../", "a/../../", "C:/", "a\\..\\"])
def test_an_archive_with_paths_out_of_it_is_refused(tmp_path, below):
    archive = packed(classes(tmp_path / "folder"), tmp_path / "images.zip", below)
    with pytest.raises(ValueError, match="is no path within the archive"):
        examine(archive)


def test_a_damaged_member_of_an_archive_is_named(tmp_path):
    archive = packed(classes(tmp_path / "folder"), tmp_path / "images.zip")
    content = bytearray(archive.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 255  # of the first one, a/0.png
    archive.write_bytes(content)
    assert "a/0.png cannot be read: Bad CRC-32" in faults(archive)
    archive.write_bytes(content[:-30])
    with pytest.raises(ValueError, match="is neither a folder nor"):
        examine(archive)


def test_a_damaged_member_that_is_no_picture_is_another_file(tmp_path):
    classes(tmp_path / "folder")
    (tmp_path / "folder/notes").write_text("some text " * 99)
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in (tmp_path / "folder").rglob("*.*"):
            file.write(path, path.relative_to(tmp_path / "folder"))
        file.write(tmp_path / "folder/notes", "a/notes")
        offset = file.getinfo("a/notes").header_offset
    content = bytearray(archive.read_bytes())
    content[offset + 30 + len("a/notes")] = 0xFF  # no type of block that zlib knows
    archive.write_bytes(content)
    images = examine(archive)
    assert (images.faults, len(images.seen), images.listing.others) == ([], 10, {"": 1})


def test_a_loop_of_links_below_a_class_does_not_hang_and_pipes_are_refused(tmp_path):
    classes(tmp_path)
    (tmp_path / "a/one").symlink_to(tmp_path / "b")
    (tmp_path / "b/two").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "a/pipe.png")
    (tmp_path / "a/self.png").symlink_to("self.png")
    said = faults(tmp_path, duplicates="allow")
    assert "a/self.png cannot be followed: Too many levels of symbolic links" in said
    assert "a/pipe.png is no regular file" in said
    assert "a/one/two is a symbolic link to a folder that it lies in" in said
