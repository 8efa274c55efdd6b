"""A CSV gives classes, splits, groups and known style; what does not fit is named by line."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.data import own
from pipeline.data.listing import Item, Listing
from pipeline.data.opening import factor_values
from pipeline.data.own import OwnImages
from pipeline.data.table import is_table
from pipeline.data.tree import list_tree
from tests.pipeline.data.folders import config, picture, save


def folder(root: Path, rows: list[str], header: str = "file_name,label", count: int = 8) -> Path:
    """Images 0.png to 7.png and a table of them."""
    for number in range(count):
        save(root / f"{number}.png", picture(number))
    (root / "t.csv").write_text("\n".join([header, *rows]) + "\n", newline="")
    return root


def examine(path: Path, **changes: object) -> OwnImages:
    return own.examine(path, config(path, labels="t.csv", **changes), None)


ROWS = [f"{number}.png,{'ab'[number % 2]}" for number in range(8)]


def test_leading_zeros_stay_and_numbers_are_text(tmp_path):
    rows = [f"{number}.png,{['007', '7', '1e5'][number % 3]}" for number in range(8)]
    images = examine(folder(tmp_path, rows), test_fraction=0.1)
    assert images.faults == []
    assert images.class_names == ["1e5", "007", "7"]


@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_marks_line_ends_and_delimiters_of_other_programs_are_read(tmp_path, mark, end, between):
    folder(tmp_path, [])
    lines = [line.replace(",", between) for line in ["file_name,label", *ROWS, "", ""]]
    (tmp_path / "t.csv").write_bytes(end.join(lines).encode(mark))
    images = examine(tmp_path)
    assert images.faults == []
    assert images.class_names == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*ROWS, "9.png,a"], r"t.csv (no such file) 1 rows: line 10: 9.png"),
        ([*ROWS, "../x/9.png,a"], r"t.csv (no such file) 1 rows: line 10: ../x/9.png"),
        ([*ROWS, "0.png,a"], "(a file of an earlier row) 1 rows: line 10: 0.png (line 2)"),
        (ROWS[:-1], "t.csv (images without a row) 1: 7.png"),
        ([*ROWS[:-1], "7.png,"], "t.csv (an empty label) 1 rows: line 9: 7.png"),
        ([*ROWS[:-1], "7.png"], "(a number of fields other than the header's) 1 rows: line 9"),
        ([*ROWS[:-1], "7.png,a,b"], "(a number of fields other than the header's) 1 rows: line 9"),
    ],
)
def test_rows_that_do_not_fit_the_images_are_named(tmp_path, rows, said):
    assert said in "\n".join(examine(folder(tmp_path, rows)).faults)


def test_only_the_first_five_of_many_rows_are_named(tmp_path):
    rows = [*ROWS, *(f"x{number}.png,a" for number in range(12))]
    (line,) = examine(folder(tmp_path, rows)).faults
    assert line.endswith("line 14: x4.png and 7 more")
    assert "12 rows" in line


def test_names_without_extension_are_completed_if_one_file_fits(tmp_path):
    rows = [row.replace(".png", "") for row in ROWS]
    folder(tmp_path, rows)
    (tmp_path / "0.txt").touch()
    assert examine(tmp_path).faults == []
    save(tmp_path / "0.bmp", picture(100))
    said = "\n".join(examine(tmp_path).faults)
    assert "t.csv (several files that fit) 1 rows: line 2: 0" in said


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id,label", "has the columns id, label, expected file_name, label.* file_name is missing"),
        ("file_name,class", "label is missing"),
        ("", "file_name is missing"),
        ("file_name,label,label", "has a column without a name or twice"),
        ("file_name,label,", "has a column without a name or twice"),
    ],
)
def test_a_table_without_the_columns_is_one_error(tmp_path, header, said):
    rows = [row + ",x" * (header.count(",") - 1) for row in ROWS]
    with pytest.raises(ValueError, match=said):
        examine(folder(tmp_path, rows, header))


def test_a_missing_table_and_one_in_another_encoding_are_one_error(tmp_path):
    folder(tmp_path, ROWS)
    with pytest.raises(ValueError, match=r"prepare.labels: got u.csv, expected a file in "):
        own.examine(tmp_path, config(tmp_path, labels="u.csv"), None)
    (tmp_path / "t.csv").write_bytes("file_name,label\n0.png,é\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"t.csv is not UTF-8: save it as CSV in UTF-8"):
        examine(tmp_path)
    assert not is_table(list_tree(tmp_path), "t.csv")


def test_splits_groups_and_factors_are_columns(tmp_path):
    header = "file_name,label,split,light,pose"
    splits = ["train"] * 4 + ["Val"] * 2 + ["TEST"] * 2
    poses = ["2", "10"] * 4
    rows = [f"{row},{s},dim,{p}" for row, s, p in zip(ROWS, splits, poses, strict=True)]
    images = examine(folder(tmp_path, rows, header))
    assert images.faults == []
    assert {name: len(found) for name, found in images.splits.items()} == {
        "train": 4, "validation": 2, "test": 2,
    }  # fmt: skip
    assert images.listing.factor_names == ("light", "pose")
    rows[3] = rows[3].replace("train", "later").replace(",10", ",")
    said = "\n".join(examine(folder(tmp_path, rows, header)).faults)
    assert (
        "(a split other than train, validation, test or unseen) 1 rows: line 5: 3.png (lat" in said
    )
    assert "(an empty pose) 1 rows: line 5: 3.png" in said


@pytest.mark.parametrize(
    ("count", "values", "used"),
    [(40, 4, True), (40, 5, False), (12_000, 1000, True), (12_000, 1001, False)],
)
def test_a_column_with_many_values_is_no_style_factor(count, values, used):
    items = [Item("", "", None, "", (str(n % values), str(n % 2))) for n in range(count)]
    images = SimpleNamespace(listing=Listing("", items, ("age", "side")), notes=[])
    names = factor_values(images, np.arange(count))
    assert {name: len(of) for name, of in names.items()} == (
        {"age": values, "side": 2} if used else {"side": 2}
    )
    note = (
        f"the column age is left out as a style factor: it has {values:,} values for {count:,} "
        "images, expected 2 to 1,000, with 10 images or more for each on average"
    )
    assert images.notes == ([] if used else [note])


def test_a_group_is_never_divided(tmp_path):
    count = 60
    rows = [f"{n}.png,{'ab'[n % 2]},writer {n // 4}" for n in range(count)]
    folder(tmp_path, rows, "file_name,label,group", count)
    images = examine(tmp_path)
    groups = [
        {images.listing.items[p].group for p in images.splits[split].tolist()}
        for split in ("train", "test")
    ]
    assert not groups[0] & groups[1]
    assert np.bincount(images.labels(images.splits["test"])).tolist() == [6, 6]
    assert images.listing.factor_names == ()
    one = [f"{n}.png,{'ab'[n % 2]},same" for n in range(count)]
    (line,) = examine(folder(tmp_path, one, "file_name,label,group", count)).faults
    assert line.startswith("the split test got 0 of 60 images")
    assert "60 images have to stay together" in line


def test_images_in_class_folders_may_have_a_table_too(tmp_path):
    rows = []
    for number in range(8):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", picture(number))
        rows.append(f"{'ab'[number % 2]}\\{number}.png,{number % 2}")
    folder(tmp_path, rows, count=0)
    images = examine(tmp_path)
    assert images.faults == []
    assert images.class_names == ["0", "1"]
