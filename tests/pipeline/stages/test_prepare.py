"""Stage prepare: where images come from, what is refused, and what dataset.json says."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits
from torchvision import datasets

from pipeline.artifacts.dataset import as_they_are, read_dataset
from pipeline.data.config import TRAINING_IMAGES, PrepareConfig
from pipeline.data.download import DownloadError, download
from pipeline.data.sources import ArchiveError, UnavailableError, load_embedded_digits
from pipeline.params import load_params
from pipeline.run import run_stage
from pipeline.stages import prepare as stage

REPOSITORY = Path(__file__).resolve().parents[3]
# Where the pipeline keeps the archives, or beside the repository.
PLACES = (REPOSITORY / "data/raw/MNIST/raw", REPOSITORY.parent / "shared" / "mnist")
FILES = [file for file, _ in datasets.MNIST.resources]


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in an empty folder, and where every mirror is a port that refuses connections."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        for kind in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
            monkeypatch.setattr(kind, "mirrors", [address(taken)])
        yield


@pytest.fixture
def mnist_archives(tmp_path: Path) -> Path:
    """The folder ``data/raw`` with the four real archives."""
    place = next((place for place in PLACES if all((place / f).is_file() for f in FILES)), None)
    if place is None:
        pytest.skip(f"the archives of MNIST are in none of {', '.join(map(str, PLACES))}")
    folder = tmp_path / "data/raw/MNIST/raw"
    folder.mkdir(parents=True)
    for file in FILES:
        shutil.copyfile(place / file, folder / file)
    return tmp_path / "data/raw"


@pytest.fixture
def small_archives(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four made-up archives, which pass for those of MNIST and of KMNIST."""
    archives = {}
    for split, count in (("train", 30), ("t10k", 20)):
        images, labels = small_split(split, count)
        archives[f"{split}-images-idx3-ubyte.gz"] = idx_archive(images)
        archives[f"{split}-labels-idx1-ubyte.gz"] = idx_archive(labels)
    resources = [(file, md5(archives[file])) for file in FILES]
    for kind in (datasets.MNIST, datasets.KMNIST):
        monkeypatch.setattr(kind, "resources", resources)
    return archives


def small_split(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(split))
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count) % 10


def idx_archive(array: np.ndarray) -> bytes:
    """The idx format: two zeros, 8 for uint8, the rank, each length, the values."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def address(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine, its address and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address(server.socket), folder
        server.shutdown()


class SilentServer:
    """Accepts a connection and never answers; sees when it is closed."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.accepted, self.closed = threading.Event(), threading.Event()
        self.accepted_at = self.closed_at = 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        connection, _ = self.listener.accept()
        self.accepted_at = time.monotonic()
        self.accepted.set()
        with connection, contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
        self.closed_at = time.monotonic()
        self.closed.set()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.listener.close()


def params(
    dataset: str = "mnist", fallback: str = "none", timeout: float = 30.0, held_out: int = 0
) -> PrepareConfig:
    return replace(
        load_params(REPOSITORY / "params.yaml").prepare,
        dataset=dataset,
        fallback=fallback,
        download_timeout=timeout,
        validation_size=held_out,
    )


def put(archives: dict[str, bytes], raw: Path, kind: str = "MNIST") -> Path:
    folder = raw / kind / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in archives.items():
        (folder / file).write_bytes(content)
    return folder


def write_params(folder: Path, **changes: object) -> None:
    yaml = YAML(typ="safe", pure=True)
    content = yaml.load((REPOSITORY / "params.yaml").read_text())
    content["prepare"] |= changes
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(content, file)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_real_archives_are_decoded_as_the_idx_format_specifies(mnist_archives):
    dataset = stage.prepare(params(), mnist_archives)

    assert dataset.name == "mnist"
    for split, data, prefix, count in (
        ("train", dataset.train, "train", 60_000),
        ("test", dataset.test, "t10k", 10_000),
    ):
        archives = mnist_archives / "MNIST/raw"
        pixels = gzip.decompress((archives / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((archives / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
        assert isinstance(data.images, np.memmap)
        assert data.images.shape == (count, 1, 28, 28)
        assert data.images.tobytes() == pixels[16:]
        assert data.labels.astype(np.uint8).tobytes() == labels[8:]
        described = dataset.description["splits"][split]
        assert sum(described["class_counts"]) == described["images"] == count
        for name in ("images", "labels"):
            content = Path(f"data/prepared/{split}/{name}.npy").read_bytes()
            assert described["arrays"][name]["sha256"] == hashlib.sha256(content).hexdigest()
    assert dataset.description["splits"]["train"]["class_counts"][:2] == [5923, 6742]


def test_the_description_does_not_depend_on_where_archives_come_from(
    small_archives, web, tmp_path, monkeypatch
):
    mirror, served = web
    for file, content in small_archives.items():
        (served / file).write_bytes(content)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror])
    put(small_archives, tmp_path / "found")

    stage.prepare(params(), tmp_path / "found", tmp_path / "a")
    stage.prepare(params(), tmp_path / "downloaded", tmp_path / "b")

    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    assert str(tmp_path) not in (tmp_path / "a/dataset.json").read_text()


def test_other_data_sets_are_loaded_by_name(small_archives, tmp_path):
    put(small_archives, tmp_path / "raw", kind="KMNIST")

    dataset = stage.prepare(params("kmnist"), tmp_path / "raw")

    assert (dataset.name, dataset.description["requested"]) == ("kmnist", "kmnist")
    assert dataset.description["class_names"] == datasets.KMNIST.classes
    assert dataset.description["archives"] == {f: md5(c) for f, c in small_archives.items()}
    assert (dataset.kind, dataset.factor_names) == ("strokes", {})
    assert dataset.description["conversion"] == dataset.conversion == as_they_are((1, 28, 28))
    np.testing.assert_array_equal(dataset.train.images[:, 0], small_split("train", 30)[0])
    np.testing.assert_array_equal(dataset.test.labels, small_split("t10k", 20)[1])


@pytest.mark.parametrize(
    "content",
    [
        bytes([0, 0, 8, 3]) + struct.pack(">3i", 30, 28, 28) + bytes(30 * 28 * 28 - 1),
        bytes([0, 0, 8, 3]) + struct.pack(">3i", 30, 28, 28) + bytes(30 * 28 * 28 + 1),
        bytes([0, 0, 8, 3]) + struct.pack(">3i", -1, 28, 28) + bytes(28 * 28),
        bytes([0, 0, 8, 1]) + struct.pack(">i", 30) + bytes(30),
        bytes([0, 0, 13, 3]) + struct.pack(">3i", 1, 28, 28) + bytes(28 * 28),
        b"x",
    ],
    ids=[
        "a byte short",
        "a byte more",
        "of negative length",
        "of another rank",
        "of floats",
        "no header",
    ],
)
def test_an_archive_without_the_expected_array_is_rejected_despite_its_checksum(
    small_archives, tmp_path, monkeypatch, content
):
    packed = gzip.compress(content)
    resources = [(f, md5(packed) if f == FILES[0] else s) for f, s in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    put(small_archives | {FILES[0]: packed}, tmp_path / "raw")

    with pytest.raises(ArchiveError, match=f"{FILES[0]} does not hold an IDX array"):
        stage.prepare(params(), tmp_path / "raw")

    assert not Path("data/prepared").exists()


@pytest.mark.parametrize("damage", ["truncated", "other content", "empty"])
def test_a_wrong_archive_is_named_with_both_checksums_and_kept(small_archives, tmp_path, damage):
    whole = small_archives[FILES[2]]
    wrong = {"truncated": whole[:-1], "other content": gzip.compress(b"x"), "empty": b""}[damage]
    folder = put(small_archives | {FILES[2]: wrong}, tmp_path / "raw")
    before = snapshot(tmp_path / "raw")

    with pytest.raises(ArchiveError) as error:
        stage.prepare(params(fallback="digits"), tmp_path / "raw")

    for part in (str(folder / FILES[2]), md5(wrong), md5(whole)):
        assert part in str(error.value)
    assert snapshot(tmp_path / "raw") == before
    assert not Path("data/prepared").exists()


def test_a_wrong_archive_is_rejected_before_any_download(small_archives, tmp_path, monkeypatch):
    def download(*_: object) -> str:
        raise AssertionError("a download was begun")

    monkeypatch.setattr("pipeline.data.sources.download", download)
    put({FILES[3]: b"wrong"}, tmp_path / "raw")

    with pytest.raises(ArchiveError):
        stage.prepare(params(fallback="digits"), tmp_path / "raw")


def test_an_extracted_file_beside_the_archives_is_not_trusted(small_archives, tmp_path):
    stray = gzip.decompress(idx_archive(np.zeros((30, 28, 28))))
    folder = put(small_archives, tmp_path / "raw")
    (folder / "train-images-idx3-ubyte").write_bytes(stray)

    dataset = stage.prepare(params(), tmp_path / "raw")

    np.testing.assert_array_equal(dataset.train.images[:, 0], small_split("train", 30)[0])
    assert (folder / "train-images-idx3-ubyte").read_bytes() == stray


def test_without_archives_mirror_and_fallback_the_error_lists_the_missing_files(tmp_path, capfd):
    write_params(tmp_path, fallback="none")
    earlier = stage.prepare(params("digits"), tmp_path / "data/raw")
    before = snapshot(tmp_path / "data")

    assert run_stage("prepare") == 1

    output = capfd.readouterr()
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err
    for part in (*FILES, str(tmp_path / "data/raw/MNIST/raw"), "Connection refused"):
        assert part in output.err
    assert output.out == ""
    assert snapshot(tmp_path / "data") == before
    assert earlier.name == "digits"


def test_without_archives_and_mirror_the_fallback_is_used_with_a_warning(tmp_path, capfd):
    write_params(tmp_path, fallback="digits")

    assert run_stage("prepare") == 0

    output = capfd.readouterr()
    assert output.err.startswith("WARNING:")
    assert output.err.count("\n") == 1
    for part in (
        "digits",
        "mnist",
        *FILES,
        str(tmp_path / "data/raw/MNIST/raw"),
        "Connection refused",
        "make refetch",
    ):
        assert part in output.err
    assert "digits" in output.out
    description = read_dataset().description
    assert (description["name"], description["requested"]) == ("digits", "mnist")
    assert description["archives"] == {}
    assert "CC BY 4.0" in description["licence"]


def test_digits_have_every_class_in_both_splits_and_the_same_bytes_each_time(tmp_path):
    dataset = stage.prepare(params("digits"), tmp_path / "raw", tmp_path / "a")
    stage.prepare(params("digits"), tmp_path / "raw", tmp_path / "b")

    assert len(dataset.train) + len(dataset.test) == 1797
    assert dataset.train.image_shape == (1, 28, 28)
    for split in ("train", "test"):
        assert min(dataset.description["splits"][split]["class_counts"]) >= 34
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    # Of the whole split: other bytes on another machine are another data set.
    assert dataset.description["splits"]["train"]["arrays"]["images"]["sha256"] == (
        "e3ac5ac7fd5465ee4a6d0b46dd11d14b679b439da4070919b432f0d1e2c86d0e"
    )


def test_held_out_images_are_exactly_those_missing_from_the_training_split(
    small_archives, tmp_path
):
    put(small_archives, tmp_path / "raw")
    before = stage.prepare(params(), tmp_path / "raw", tmp_path / "a").train.images.copy()

    held_out = stage.prepare(params(held_out=10), tmp_path / "raw", tmp_path / "a")

    parts = held_out.splits["train"], held_out.splits["validation"]
    assert [np.bincount(data.labels).tolist() for data in parts] == [[2] * 10, [1] * 10]
    together = np.concatenate([data.images for data in parts])
    assert sorted(image.tobytes() for image in together) == sorted(i.tobytes() for i in before)
    assert np.array_equal(held_out.test.images[:, 0], small_split("t10k", 20)[0])
    stage.prepare(params(), tmp_path / "raw", tmp_path / "a")
    assert not (tmp_path / "a/validation").exists()


def test_holding_out_all_images_is_rejected_before_anything_is_written(small_archives, tmp_path):
    put(small_archives, tmp_path / "raw")
    for size in (11, 29, 30, 10**9):
        said = f"validation_size: got {size}, expected at most 10 of the 30 training images"
        with pytest.raises(ValueError, match=said):
            stage.prepare(params(held_out=size), tmp_path / "raw")
    assert not Path("data/prepared").exists()


def test_the_sizes_that_the_parameters_are_checked_by_are_those_of_the_data_sets():
    assert set(TRAINING_IMAGES) == set(stage.ABOUT)
    assert TRAINING_IMAGES["digits"] == len(load_embedded_digits()["train"].labels)


def test_each_original_digit_appears_once_enlarged():
    bunch = load_digits()
    enlarged = np.stack(
        [
            Image.fromarray(image.astype(np.float32)).resize((28, 28), Image.Resampling.BICUBIC)
            for image in bunch.images * (255 / 16)
        ]
    ).clip(0, 255)
    splits = load_embedded_digits()
    found = []
    for data in splits.values():
        for image, label in zip(next(data.blocks())[:, 0], data.labels, strict=True):
            distance = np.abs(enlarged - image).max(axis=(1, 2))
            found.append(int(distance.argmin()))
            assert distance.min() < 0.51  # rounding, and Pillow's single precision
            assert bunch.target[found[-1]] == label
    assert sorted(found) == list(range(1797))


def test_missing_archives_are_downloaded_verified_and_kept_without_a_warning(
    small_archives, web, tmp_path, monkeypatch, capfd
):
    mirror, served = web
    for file in FILES[1:]:
        (served / file).write_bytes(small_archives[file])
    monkeypatch.setattr(datasets.MNIST, "mirrors", [*datasets.MNIST.mirrors, mirror])
    folder = put({FILES[0]: small_archives[FILES[0]]}, tmp_path / "raw")

    dataset = stage.prepare(params(), tmp_path / "raw")

    np.testing.assert_array_equal(dataset.train.images[:, 0], small_split("train", 30)[0])
    assert snapshot(folder) == small_archives
    assert capfd.readouterr() == ("", "")


def test_a_web_page_in_place_of_an_archive_is_rejected(small_archives, web, tmp_path, monkeypatch):
    mirror, served = web
    page = b"<html>Please log in to this network</html>"
    for file in FILES:
        (served / file).write_bytes(small_archives[file] if file == FILES[0] else page)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror])

    with pytest.raises(UnavailableError) as error:
        stage.prepare(params(), tmp_path / "raw")

    for part in (FILES[1], md5(page), md5(small_archives[FILES[1]])):
        assert part in str(error.value)
    assert snapshot(tmp_path / "raw") == {f"MNIST/raw/{FILES[0]}": small_archives[FILES[0]]}


def test_a_silent_mirror_is_abandoned_in_time_and_the_next_one_is_tried(
    silent, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        datasets.MNIST, "mirrors", [address(silent.listener), *datasets.MNIST.mirrors]
    )

    with pytest.raises(UnavailableError) as error:
        stage.prepare(params(timeout=2.0), tmp_path / "raw")

    assert "no byte for 2 s" in str(error.value)
    assert "Connection refused" in str(error.value)
    assert silent.closed.wait(5)
    assert 1.5 < silent.closed_at - silent.accepted_at < 5.0


class Sender(http.server.BaseHTTPRequestHandler):
    """Sends ``blocks`` blocks with ``pause`` seconds after each."""

    blocks, block, pause, kind = 6, bytes(64 * 1024), 0.7, "identity"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.block) * self.blocks))
        self.send_header("Content-Encoding", self.kind)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # given up
            for _ in range(self.blocks):
                self.wfile.write(self.block)
                time.sleep(self.pause)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def sending(kind: type[Sender]) -> Iterator[str]:
    """The address of a server that does."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address(server.socket)
        server.shutdown()


def test_an_endless_mirror_is_abandoned_before_the_disk_is_full(tmp_path, monkeypatch):
    class Endless(Sender):
        blocks, pause = 10**6, 0.01

    most = 2**20
    monkeypatch.setattr("pipeline.data.download.MOST_BYTES", most)
    with sending(Endless) as mirror, pytest.raises(DownloadError) as error:
        download(mirror, tmp_path / "a.gz", md5(b""), timeout=5.0)
    assert str(error.value) == f"more than {most} bytes came"
    assert (tmp_path / "a.gz").stat().st_size <= most


def test_a_trickling_mirror_is_abandoned(tmp_path):
    class Trickle(Sender):
        blocks, block, pause = 10**6, b"x", 0.05

    begun = time.monotonic()
    with sending(Trickle) as mirror, pytest.raises(DownloadError, match="less than 1024 bytes per"):
        download(mirror, tmp_path / "a.gz", md5(b""), timeout=1.0)
    assert 1.0 < time.monotonic() - begun < 5.0


def test_a_slow_but_steady_mirror_is_not_abandoned(tmp_path):
    content, timeout = Sender.block * Sender.blocks, 2.5
    begun = time.monotonic()
    with sending(Sender) as mirror:
        download(mirror, tmp_path / "a.gz", md5(content), timeout)
    assert time.monotonic() - begun > (Sender.blocks - 1) * Sender.pause > timeout
    assert (tmp_path / "a.gz").read_bytes() == content


def test_an_archive_is_stored_unchanged_even_if_the_mirror_declares_it_compressed(tmp_path):
    content = gzip.compress(b"images")

    class Compressed(Sender):
        blocks, block, pause, kind = 1, content, 0.0, "gzip"

    with sending(Compressed) as mirror:
        download(mirror, tmp_path / "a.gz", md5(content), timeout=5.0)
    assert (tmp_path / "a.gz").read_bytes() == content


def test_an_incomplete_download_is_rejected(tmp_path):
    class Breaking(Sender):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x")

    with sending(Breaking) as mirror, pytest.raises(DownloadError, match="1 bytes read, 999 more"):
        download(mirror, tmp_path / "a.gz", md5(b"x"), timeout=5.0)


def test_ctrl_c_ends_a_download_promptly_and_leaves_nothing(silent, tmp_path):
    write_params(tmp_path, fallback="none")
    wanted = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from torchvision import datasets; datasets.MNIST.mirrors = [sys.argv[1]]\n"
        "from pipeline.run import run_stage; sys.exit(run_stage('prepare'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", wanted, address(silent.listener)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert silent.accepted.wait(60)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)

    assert process.returncode == 130
    assert "Traceback" not in errors
    assert snapshot(tmp_path).keys() == {"params.yaml"}


def test_archives_are_searched_in_the_users_repository(
    small_archives, tmp_path, monkeypatch, capsys
):
    put(small_archives, tmp_path / "repository/data/raw")
    copy = tmp_path / "copy"
    copy.mkdir()
    write_params(copy, fallback="none")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))

    assert run_stage("prepare") == 0

    assert read_dataset(copy / "data/prepared").name == "mnist"
    assert not (tmp_path / "repository/data/prepared").exists()
    assert "30 train, 20 test" in capsys.readouterr().out


def test_invalid_parameters_stop_the_stage_before_it_changes_anything(tmp_path, capsys):
    write_params(tmp_path, dataset="cifar")

    assert run_stage("prepare") == 1

    error = capsys.readouterr().err
    assert "prepare.dataset" in error
    assert "'cifar'" in error
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_an_unreadable_archive_gives_a_one_line_error(small_archives, tmp_path, capsys):
    write_params(tmp_path, fallback="digits")
    folder = put(small_archives, tmp_path / "data/raw")
    (folder / FILES[0]).unlink()
    (folder / FILES[0]).symlink_to("nowhere")

    assert run_stage("prepare") == 1

    error = capsys.readouterr().err
    assert str(folder / FILES[0]) in error
    assert error.count("\n") == 1
    assert (folder / FILES[0]).is_symlink()


def test_every_data_set_states_its_source_and_licence():
    assert set(stage.ABOUT) == {"mnist", "fashion_mnist", "kmnist", "digits"}
    for about in stage.ABOUT.values():
        assert len(set(about["class_names"])) == 10
        assert about["kind"] in ("strokes", "pictures")
        assert about["source"]
        assert about["url"].startswith("http")
        assert about["licence"]
    json.dumps(stage.ABOUT)
