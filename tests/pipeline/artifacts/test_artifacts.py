import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.artifacts.codes import CODE_ARRAYS, read_codes, write_codes
from pipeline.artifacts.curves import read_curves, write_curves
from pipeline.artifacts.dataset import Dataset, Split, as_they_are, read_dataset, write_dataset
from pipeline.artifacts.figures import write_figure
from pipeline.artifacts.files import ArtifactError, sha256, tree_digest, write_array
from pipeline.artifacts.paths import SWAPS, repository
from pipeline.artifacts.reports import read_swaps, write_swaps
from vaegan.data import LabelledImages


def dataset(tmp_path, bars: LabelledImages) -> None:
    about = {"name": "bars", "class_names": list("abcd")}
    splits = {
        "train": Split.from_images(LabelledImages(bars.images[:200], bars.labels[:200], 4)),
        "test": Split.from_images(LabelledImages(bars.images[200:], bars.labels[200:], 4)),
    }
    write_dataset(splits, about, tmp_path)


def test_a_data_set_is_read_memory_mapped_with_its_name_and_digests(tmp_path, bars):
    dataset(tmp_path, bars)
    read = read_dataset(tmp_path)
    assert read.name == "bars"
    assert isinstance(read.train.images, np.memmap)
    assert np.array_equal(read.train.images, bars.images[:200])
    assert np.array_equal(read.test.labels, bars.labels[200:])
    described = json.loads((tmp_path / "dataset.json").read_text())["splits"]["train"]
    assert described["class_counts"] == np.bincount(bars.labels[:200]).tolist()
    assert described["arrays"]["images"]["shape"] == [200, 1, 16, 16]
    digest = sha256(tmp_path / "train/images.npy")
    assert described["arrays"]["images"]["sha256"] == digest


def test_known_style_factors_and_the_conversion_are_read_back(tmp_path, bars):
    factors = np.stack([np.arange(256) % 3, np.arange(256) % 2], axis=1)
    names = {"light": ["dim", "even", "bright"], "font": ["1", "2"]}
    about = {"name": "bars", "class_names": list("abcd"), "kind": "pictures", "factors": names}
    about["conversion"] = as_they_are((1, 16, 16)) | {"invert": True}
    whole = Split(bars.labels, lambda: iter([bars.images[:100], bars.images[100:]]), factors)
    kept = np.arange(256) < 200
    write_dataset({"train": whole.subset(kept), "test": whole.subset(~kept)}, about, tmp_path)
    read = read_dataset(tmp_path)
    assert (read.kind, read.factor_names) == ("pictures", names)
    assert read.conversion == about["conversion"]
    assert np.array_equal(read.factors["train"], factors[:200])
    assert np.array_equal(read.factors["test"], factors[200:])
    assert np.load(tmp_path / "test/factors.npy").dtype == np.int64


def test_a_data_set_written_before_factors_were_known_still_opens(tmp_path, bars):
    dataset(tmp_path, bars)
    read = read_dataset(tmp_path)
    assert (read.kind, read.factor_names) == ("strokes", {})
    assert [array.shape for array in read.factors.values()] == [(200, 0), (56, 0)]
    assert read.conversion == as_they_are((1, 16, 16))
    assert not list(tmp_path.rglob("factors.npy"))


@pytest.mark.parametrize(
    ("kind", "channels", "strokes"),
    [("strokes", 1, True), ("strokes", 3, False), ("pictures", 1, False)],
)
def test_only_grey_strokes_are_taken_as_strokes(kind, channels, strokes):
    images = LabelledImages(np.zeros((2, channels, 8, 8), np.uint8), np.arange(2), 2)
    assert Dataset({"train": images}, {}, {"kind": kind}).strokes == strokes


@pytest.mark.parametrize(
    ("column", "message"),
    [([0, 1, 3, 0], r"factors must lie in \[0, \[3\]\), got \[3\]"), ([0, 1, -1, 0], "lie in")],
)
def test_a_value_that_no_factor_has_is_rejected(tmp_path, bars, column, message):
    about = {"name": "bars", "class_names": list("abcd"), "factors": {"light": list("abc")}}
    images = bars.images[:4]
    split = Split(bars.labels[:4], lambda: iter([images]), np.array(column)[:, None])
    write_dataset({"train": split, "test": split}, about, tmp_path)
    with pytest.raises(ArtifactError, match=message):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["dataset.json", "train/images.npy", "test/labels.npy"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "one flipped bit"])
def test_a_missing_or_damaged_file_is_named_in_the_error(tmp_path, bars, name, harm):
    dataset(tmp_path, bars)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(content[:-10])
    else:
        content[-30 if path.suffix == ".json" else -5] ^= 1
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=path.name):
        read_dataset(tmp_path)


def test_arrays_of_inconsistent_shapes_are_rejected(tmp_path, bars):
    dataset(tmp_path, bars)
    write_array(tmp_path / "test/labels.npy", bars.labels[:3])
    description = json.loads((tmp_path / "dataset.json").read_text())
    digest = sha256(tmp_path / "test/labels.npy")
    description["splits"]["test"]["arrays"]["labels"]["sha256"] = digest
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(ArtifactError, match=r"test: labels must be int64 \(56,\)"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (5, [0, 1, 2, 3, 4], r"labels must lie in \[0, 4\), got \[0, 4\]"),
        (4, [0, 1, 2, 3, 3], "got 4 rows, expected 5"),
        (6, [0, 1, 2, 3, 3], "expected up to 5"),
    ],
)
def test_an_invalid_split_leaves_the_previous_data_set_unchanged(
    tmp_path, bars, images, labels, message
):
    dataset(tmp_path / "d", bars)
    before = tree_digest(tmp_path)
    about = {"class_names": list("abcd")}
    wrong = Split(np.array(labels), lambda: iter([bars.images[:images]]))
    with pytest.raises(ValueError, match=message):
        write_dataset({"train": wrong, "test": wrong}, about, tmp_path / "d")
    assert tree_digest(tmp_path) == before


def test_labels_of_the_split_unseen_are_positions_among_the_unseen_classes(tmp_path, bars):
    of = {name: Split.from_images(bars) for name in ("train", "test", "unseen")}
    about = {"name": "bars", "class_names": list("abcd"), "unseen_classes": list("vwxyz")}
    write_dataset(of, about, tmp_path)
    read = read_dataset(tmp_path)
    assert read.unseen_classes == list("vwxyz")
    assert (read.splits["unseen"].class_count, read.test.class_count) == (5, 4)
    described = json.loads((tmp_path / "dataset.json").read_text())["splits"]["unseen"]
    assert described["class_counts"] == [64, 64, 64, 64, 0]
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), got \[0, 3\]"):
        write_dataset(of, about | {"unseen_classes": list("xyz")}, tmp_path)


def code_batch(first: int, count: int) -> dict[str, np.ndarray]:
    """Arrays whose rows count up from ``first``, each array its own hundred."""
    rows = np.arange(first, first + count, dtype=np.float32)[:, None]
    return {name: rows + 100 * i for i, name in enumerate(CODE_ARRAYS)}


def test_codes_are_read_in_the_order_of_their_batches(tmp_path):
    batches = [code_batch(0, 2), code_batch(2, 2), code_batch(4, 1)]
    write_codes("train", iter(batches), 5, "this model", tmp_path)
    read = read_codes("train", "this model", tmp_path)
    for i, name in enumerate(CODE_ARRAYS):
        assert read[name].dtype == np.float32
        assert read[name][:, 0].tolist() == [100 * i + row for row in range(5)]
    assert np.array_equal(np.load(tmp_path / "train/labels.npy"), read["labels"])


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([{"labels": np.zeros(3)}], "expected the arrays"),
        ([code_batch(0, 2)], "got 2 rows, expected 3"),
        ([code_batch(0, 2), code_batch(2, 2)], "row 2"),
        ([code_batch(0, 2), {k: v[:, [0, 0]] for k, v in code_batch(2, 1).items()}], "row 2"),
        ([code_batch(0, 2), {k: v.astype(int) for k, v in code_batch(2, 1).items()}], "int64"),
    ],
)
def test_an_incomplete_set_of_codes_leaves_no_file(tmp_path, batches, message):
    with pytest.raises(ValueError, match=message):
        write_codes("train", iter(batches), 3, "this model", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_damaged_codes_and_codes_of_another_model_are_rejected(tmp_path):
    write_codes("train", [code_batch(0, 5)], 5, "this model", tmp_path)
    with pytest.raises(ArtifactError, match=r"codes of the model this model, expected .*another"):
        read_codes("train", "another", tmp_path)
    path = tmp_path / "train/specified_mean.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"specified_mean.npy is damaged: its SHA-256"):
        read_codes("train", "this model", tmp_path)


def test_curves_are_read_bit_for_bit_as_written(tmp_path):
    curves = pd.DataFrame({"step": [1, 2], "loss": [1 / 3, 1e-17]})
    write_curves(curves, tmp_path / "c.csv")
    assert read_curves(tmp_path / "c.csv").equals(curves)
    with pytest.raises(ArtifactError, match="missing"):
        read_curves(tmp_path / "d.csv")


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    def figure() -> Figure:
        figure = Figure()
        figure.subplots().plot([1, 2])
        return figure

    paths = [write_figure(name, figure(), tmp_path) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_the_repository_is_the_users_even_in_a_temporary_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert repository() == tmp_path.resolve()
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "user"))
    assert repository() == (tmp_path / "user").resolve()


def test_swaps_are_read_back_by_kind_and_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matrices = {"mean": np.array([[5, 1], [0, 7]]), "prior": np.array([[6, 0], [2, 5]])}
    write_swaps(matrices, ["a, b", "c"])
    read = read_swaps(["a, b", "c"])
    assert {kind: matrix.tolist() for kind, matrix in read.items()} == {
        kind: matrix.tolist() for kind, matrix in matrices.items()
    }
    SWAPS.write_text("style,asked\nmean,a\n")
    with pytest.raises(ArtifactError, match="not a table of swaps"):
        read_swaps(["a, b", "c"])
    SWAPS.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        read_swaps(["a", "b"])


def test_of_many_classes_only_the_pairs_that_occur_are_written(workspace):
    names = [f"c{c}" for c in range(1000)]
    matrices = {kind: np.zeros((1000, 1000), np.int64) for kind in ("mean", "prior")}
    matrices["mean"][3, 4], matrices["mean"][999, 0], matrices["prior"][5, 5] = 7, 1, 2
    write_swaps(matrices, names)
    assert SWAPS.read_text().splitlines()[1:] == [
        "mean,c3,c4,7",
        "mean,c999,c0,1",
        "prior,c5,c5,2",
    ]
    read = read_swaps(names)
    assert all(np.array_equal(read[kind], matrix) for kind, matrix in matrices.items())
