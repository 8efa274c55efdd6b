"""Images in arrays: MedMNIST's keys and MNIST's names, whole or refused."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import own
from pipeline.data.own import OwnImages
from tests.pipeline.data.folders import config


def examine(path: Path, **changes: object) -> OwnImages:
    return own.examine(path, config(path, **changes), None)


def medmnist(count: int = 12, color: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        shape = (count, 9, 8, 3)[: 3 + color]
        arrays[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 3).astype(np.uint8)[:, None]
    return arrays


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, images: str, labels: str, packed: bool, count: int = 20) -> None:
    rng = np.random.default_rng(len(images))
    folder.mkdir(exist_ok=True)
    for name, array in (
        (images, rng.integers(0, 256, (count, 8, 8))), (labels, np.arange(count) % 2 + 1),
    ):  # fmt: skip
        content = idx(array)
        path = folder / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_medmnist_files_have_three_splits(tmp_path, save, color):
    arrays = medmnist(color=color)
    save(tmp_path / "m.npz", **arrays)
    for path in (tmp_path / "m.npz", tmp_path):
        images = examine(path)
        assert images.faults == []
        assert images.class_names == ["0", "1", "2"]
        assert {name: len(rows) for name, rows in images.splits.items()} == {
            "train": 12, "validation": 12, "test": 12,
        }  # fmt: skip
        assert images.conversion.channels == ("color" if color else "gray")
        assert images.conversion.image_size == (9, 8)


def test_a_medmnist_file_in_an_archive_is_read(tmp_path):
    np.savez(tmp_path / "m.npz", **medmnist())
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.write(tmp_path / "m.npz", "folder/m.npz")
    assert len(examine(tmp_path / "m.zip").seen) == 36


@pytest.mark.parametrize("change", ["one channel", "Fortran order", "both"])
def test_one_channel_and_fortran_order_are_the_same_images(tmp_path, change):
    arrays = medmnist()
    np.savez(tmp_path / "plain.npz", **arrays)
    for name, array in arrays.items():
        if change != "Fortran order" and name.endswith("images"):
            array = array[..., None]
        arrays[name] = array if change == "one channel" else np.asfortranarray(array)
    np.savez(tmp_path / "m.npz", **arrays)
    plain, images = (examine(tmp_path / name) for name in ("plain.npz", "m.npz"))
    assert images.faults == []
    assert images.seen == plain.seen
    assert images.listing.items == plain.listing.items


@pytest.mark.parametrize("place", ["header", "values"])
def test_a_damaged_npz_file_is_one_error(tmp_path, place):
    np.savez_compressed(tmp_path / "m.npz", **medmnist())
    content = bytearray((tmp_path / "m.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        member = archive.getinfo("train_images.npy")
    # Right after the member's name and numpy's extra field, zlib's type of block; or at its end.
    start = content.index(b"train_images.npy") + len("train_images.npy") + 20
    content[start if place == "header" else start + member.compress_size - 9] ^= 0xFF
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "m.npz", tmp_path / "folder/m.npz"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^train_images\.npy cannot be read: "):
            examine(path if path.parent == tmp_path else path.parent)
    (tmp_path / "folder/m.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"^m\.npz is not a whole \.npz file: "):
        examine(tmp_path / "folder")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_labels": np.array([{"a": 1}], dtype=object)}, "expected rows of integers"),
        ({"train_images": np.zeros((12, 8, 8), np.float32)}, "expected rows of integers"),
        ({"train_images": np.zeros((12, 8, 8), np.uint16)}, "got uint16"),
        ({"train_images": np.zeros((12, 8, 8, 2), np.uint8)}, r"expected uint8 \(height"),
        ({"train_images": np.zeros((11, 8, 8), np.uint8)}, "has 11 images and 12 labels"),
        ({"train_labels": np.zeros((12, 14), int)}, r"labels of shape \(14,\) for an image"),
        ({"train_labels": None}, "holds train_images.npy without the labels of these images"),
    ],
)
def test_arrays_that_do_not_fit_are_one_error(tmp_path, change, said):
    arrays = {name: array for name, array in (medmnist() | change).items() if array is not None}
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match=said):
        examine(tmp_path / "m.npz")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("between", ["-", "."])
def test_files_under_mnists_names_are_read_in_any_folder(tmp_path, packed, between):
    for split in ("train", "t10k"):
        images, labels = f"{split}-images{between}idx3-ubyte", f"{split}-labels{between}idx1-ubyte"
        write_idx(tmp_path / "raw", images, labels, packed, count=20 + len(split))
    images = examine(tmp_path)
    assert images.faults == []
    assert images.class_names == ["1", "2"]
    assert {name: len(rows) for name, rows in images.splits.items()} == {"train": 25, "test": 24}


@pytest.mark.parametrize("split", ["train", "t10k", "emnist-letters-train"])
def test_the_only_split_is_divided(tmp_path, split):
    write_idx(tmp_path, f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte", packed=True)
    images = examine(tmp_path)
    assert images.faults == []
    assert {name: len(rows) for name, rows in images.splits.items()} == {"train": 16, "test": 4}


def test_several_sets_in_one_folder_are_named(tmp_path):
    for name in ("emnist-letters", "emnist-digits"):
        images, labels = f"{name}-train-images-idx3-ubyte", f"{name}-train-labels-idx1-ubyte"
        write_idx(tmp_path, images, labels, packed=False)
    with pytest.raises(ValueError, match=r"several sets of arrays, .*emnist-digits-, .*letters-"):
        examine(tmp_path)


@pytest.mark.parametrize("cut", [1, 300])
@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file_is_one_error(tmp_path, packed, cut):
    write_idx(tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", packed)
    path = next(tmp_path.glob("*images*"))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.* does not hold an IDX array"):
        examine(tmp_path)
