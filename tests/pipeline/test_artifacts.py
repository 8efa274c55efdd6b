import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline import artifacts
from pipeline.artifacts import ArtifactError, Split, whole_file, whole_folder
from vaegan.data import LabelledImages


def test_a_file_that_fails_halfway_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_a_folder_that_fails_halfway_leaves_the_old_one_and_nothing_else(tmp_path):
    with whole_folder(tmp_path / "d") as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "old"]
    with whole_folder(tmp_path / "d") as folder:
        (folder / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["d", "new"]


def test_files_are_readable_by_others_as_the_umask_says(tmp_path):
    artifacts.write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~artifacts._umask()


def test_json_with_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="[Nn]a[Nn]|JSON"):
        artifacts.write_json(tmp_path / "m.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def dataset(tmp_path, bars: LabelledImages) -> None:
    about = {"name": "bars", "class_names": list("abcd")}
    splits = {
        "train": Split.of(LabelledImages(bars.images[:200], bars.labels[:200], 4)),
        "test": Split.of(LabelledImages(bars.images[200:], bars.labels[200:], 4)),
    }
    artifacts.write_dataset(splits, about, tmp_path)


def test_a_data_set_comes_back_memory_mapped_with_its_name_and_digests(tmp_path, bars):
    dataset(tmp_path, bars)
    read = artifacts.read_dataset(tmp_path)
    assert read.name == "bars"
    assert isinstance(read.train.images, np.memmap)
    assert np.array_equal(read.train.images, bars.images[:200])
    assert np.array_equal(read.test.labels, bars.labels[200:])
    described = json.loads((tmp_path / "dataset.json").read_text())["splits"]["train"]
    assert described["class_counts"] == np.bincount(bars.labels[:200]).tolist()
    assert described["arrays"]["images"]["shape"] == [200, 1, 16, 16]
    digest = artifacts.sha256(tmp_path / "train/images.npy")
    assert described["arrays"]["images"]["sha256"] == digest


@pytest.mark.parametrize("name", ["dataset.json", "train/images.npy", "test/labels.npy"])
@pytest.mark.parametrize("harm", ["missing", "truncated"])
def test_a_file_missing_or_truncated_is_named(tmp_path, bars, name, harm):
    dataset(tmp_path, bars)
    path = tmp_path / name
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match=path.name):
        artifacts.read_dataset(tmp_path)


def test_arrays_that_do_not_fit_together_are_refused(tmp_path, bars):
    dataset(tmp_path, bars)
    artifacts.write_array(tmp_path / "test/labels.npy", bars.labels[:3])
    with pytest.raises(ArtifactError, match=r"test: labels must be int64 \(56,\)"):
        artifacts.read_dataset(tmp_path)


def code_batch(first: int, count: int) -> dict[str, np.ndarray]:
    """Arrays whose rows count up from ``first``, each array its own hundred."""
    rows = np.arange(first, first + count, dtype=np.float32)[:, None]
    return {name: rows + 100 * i for i, name in enumerate(artifacts.CODE_ARRAYS)}


def test_codes_come_back_in_the_order_of_their_batches(tmp_path):
    batches = [code_batch(0, 2), code_batch(2, 2), code_batch(4, 1)]
    artifacts.write_codes("train", iter(batches), 5, tmp_path)
    read = artifacts.read_codes("train", tmp_path)
    for i, name in enumerate(artifacts.CODE_ARRAYS):
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
def test_codes_that_do_not_make_up_the_split_leave_no_file(tmp_path, batches, message):
    with pytest.raises(ValueError, match=message):
        artifacts.write_codes("train", iter(batches), 3, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_mapped_array_can_be_changed_in_memory_and_its_file_stays(tmp_path):
    artifacts.write_array(tmp_path / "a.npy", np.zeros(3))
    array = artifacts.read_array(tmp_path / "a.npy")
    array[0] = 1.0
    assert np.load(tmp_path / "a.npy").tolist() == [0, 0, 0]


def test_curves_come_back_to_the_bit(tmp_path):
    curves = pd.DataFrame({"step": [1, 2], "loss": [1 / 3, 1e-17]})
    artifacts.write_curves(curves, tmp_path / "c.csv")
    assert artifacts.read_curves(tmp_path / "c.csv").equals(curves)
    with pytest.raises(ArtifactError, match="missing"):
        artifacts.read_curves(tmp_path / "d.csv")


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    def figure() -> Figure:
        figure = Figure()
        figure.subplots().plot([1, 2])
        return figure

    paths = [artifacts.write_figure(name, figure(), tmp_path) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_the_repository_is_the_users_also_in_a_temporary_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert artifacts.repository() == tmp_path.resolve()
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "user"))
    assert artifacts.repository() == (tmp_path / "user").resolve()


def test_swaps_come_back_by_kind_and_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matrices = {"mean": np.array([[5, 1], [0, 7]]), "prior": np.array([[6, 0], [2, 5]])}
    artifacts.write_swaps(matrices, ["a, b", "c"])
    read = artifacts.read_swaps(["a, b", "c"])
    assert {kind: matrix.tolist() for kind, matrix in read.items()} == {
        kind: matrix.tolist() for kind, matrix in matrices.items()
    }
    artifacts.SWAPS.write_text("style,asked\nmean,a\n")
    with pytest.raises(ArtifactError, match="not a table of swaps"):
        artifacts.read_swaps(["a, b", "c"])
    artifacts.SWAPS.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        artifacts.read_swaps(["a", "b"])
