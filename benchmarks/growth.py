"""Growth: the cost per image, and the memory of each stage, for 1, 4 and 16 times MNIST.

The larger sets are MNIST's images, each moved, turned and scaled a little, as archives that
``prepare`` reads like MNIST's own. Each stage runs in a process of its own. "Own memory" is
the most that was resident without the pages of memory-mapped files, which the system takes
back when it needs them. ``evaluate`` and ``visualize`` are capped by ``evaluate.test_images``,
``probe_images``, ``swaps``, ``visualize.tsne_images`` and so on, the fit of the class
transport by ``train.transport.images``.
"""

import gzip
import hashlib
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torchvision import datasets
from torchvision.transforms.v2 import functional as transform

from benchmarks.measure import Memory, Result
from pipeline.artifacts.codes import write_codes
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.paths import MODEL, PREPARED
from pipeline.params import Params, load_params
from pipeline.stages.encode import encode_split
from vaegan.devices import to_channels_last
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng
from vaegan.training.trainer import Report, Trainer

FACTORS = (1, 4, 16)
STAGES = ("prepare", "train", "encode", "classifier", "evaluate", "visualize")
ARCHIVES = Path("data/raw/MNIST/raw")
STEPS, INTERVALS = 50, 7  # of training
CHUNK = 500  # images that are moved alike
REPEATS = 2  # timed runs of prepare and encode


def moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images uint8 (N, H, W) under small affine changes, the same for each few hundred."""
    changed = []
    for chunk in torch.from_numpy(images).split(CHUNK):
        changed.append(
            transform.affine(
                chunk,
                angle=float(rng.uniform(-10, 10)),
                translate=[int(n) for n in rng.integers(-2, 3, size=2)],
                scale=float(rng.uniform(0.9, 1.1)),
                shear=[0.0, 0.0],
            )
        )
    return torch.cat(changed).numpy()


def write_archives(data: Dataset, factor: int, folder: Path) -> list[tuple[str, str]]:
    """Archives of ``factor`` times as many images; returns file and MD5 of each."""
    folder.mkdir(parents=True)
    rng, resources = numpy_rng(0, "growth", factor), []
    for prefix, split in (("train", data.train), ("t10k", data.test)):
        original = np.array(split.images[:, 0])
        shape = factor * len(split), *original.shape[1:]
        parts = (original if i == 0 else moved(original, rng) for i in range(factor))
        labels = (np.array(split.labels, np.uint8) for _ in range(factor))
        for kind, lengths, blocks in (("images", shape, parts), ("labels", shape[:1], labels)):
            path = folder / f"{prefix}-{kind}-idx{len(lengths)}-ubyte.gz"
            with gzip.open(path, "wb", compresslevel=1) as file:
                file.write(
                    bytes([0, 0, 8, len(lengths)]) + struct.pack(f">{len(lengths)}I", *lengths)
                )
                for block in blocks:
                    file.write(block.tobytes())
            with path.open("rb") as archive:
                resources.append((path.name, hashlib.file_digest(archive, "md5").hexdigest()))
    return resources


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """Fills in, at its end, the most memory that was resident, in all and the process's own."""
    found, done = {"own": 0, "resident": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            found["own"] = max(found["own"], Memory.own())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield found
    done.set()
    thread.join()
    found["resident"] = Memory.peak()


def median_seconds(function: Callable[[], object]) -> float:
    """Of some calls, after one that is not timed."""
    taken = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def run_stage(stage: str, params: Params) -> float:
    """Runs a stage in the current folder; returns seconds per image, or of all it does."""
    if stage == "prepare":
        from pipeline.data import sources
        from pipeline.stages import prepare

        resources = json.loads(Path("resources.json").read_text())
        kind = type("MNIST", (datasets.MNIST,), {"resources": resources, "mirrors": []})
        sources.ARCHIVED["mnist"] = prepare.ARCHIVED["mnist"] = kind
        seconds = median_seconds(lambda: prepare.prepare(params.prepare, Path("data/raw")))
        return seconds / images(read_dataset())
    dataset = read_dataset()
    if stage == "train":
        return train(dataset, params)
    if stage == "encode":
        from pipeline.stages import encode

        encode.encode(dataset, params.encode)
        return encode_seconds(dataset, params) / images(dataset)
    begun = time.perf_counter()
    if stage == "classifier":
        from pipeline.stages import classifier

        classifier.classifier(dataset, params.classifier)
    elif stage == "evaluate":
        from pipeline.stages import evaluate

        evaluate.evaluate(dataset, params.evaluate)
    else:
        from pipeline.stages import visualize

        visualize.visualize(dataset, params.visualize)
    return time.perf_counter() - begun


def encode_seconds(dataset: Dataset, params: Params) -> float:
    """Seconds of the stage's loop, from the images to the files: what has to grow as they do."""
    model, digest = to_channels_last(DisentanglingVAE.load(MODEL)), weights_digest(MODEL)

    def all_splits() -> None:
        for split, data in dataset.splits.items():
            batches = encode_split(model, data, params.encode.batch_size, torch.device("cpu"))
            write_codes(split, batches, len(data), digest)

    return median_seconds(all_splits)


def train(dataset: Dataset, params: Params) -> float:
    """Trains for some intervals; returns the median seconds per image."""
    from pipeline.stages import train as stage

    transport = replace(params.train.transport, steps=STEPS)
    short = replace(params.train, steps=STEPS * INTERVALS, report_every=STEPS, transport=transport)
    rates: list[float] = []

    class Watched(Trainer):
        def run(self) -> Iterator[Report]:
            for report in super().run():
                rates.append(report.metrics["images_per_second"])
                yield report

    stage.Trainer = Watched  # type: ignore[misc]
    stage.train(dataset, params.model, short)
    return 1 / statistics.median(rates[1:])


def images(dataset: Dataset) -> int:
    """Of all splits."""
    return sum(map(len, dataset.splits.values()))


def child(stage: str) -> None:
    """Runs one stage here and prints what it took as JSON, on the last line."""
    os.environ["DVC_ROOT"] = os.getcwd()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with watched() as memory:
        seconds = run_stage(stage, load_params())
    print("\n" + json.dumps({"seconds": seconds} | memory), flush=True)


def grown(factor: int, dataset: Dataset) -> dict[str, dict[str, float]]:
    """What each stage took on ``factor`` times the data set, in a folder of its own."""
    repository = Path.cwd()
    environment = os.environ | {"PYTHONPATH": str(repository)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(repository / "params.yaml", folder)
        resources = write_archives(dataset, factor, folder / ARCHIVES)
        (folder / "resources.json").write_text(json.dumps(resources))
        taken = {}
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.growth", stage]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"{stage} on {factor} times the images:\n{done.stderr}")
            taken[stage] = json.loads(done.stdout.splitlines()[-1])
            print(factor, stage, taken[stage], flush=True)
        return taken


def run() -> list[Result]:
    """Measures all stages at all factors."""
    dataset = read_dataset(PREPARED)
    taken = {factor: grown(factor, dataset) for factor in FACTORS}
    small, large = taken[FACTORS[0]], taken[FACTORS[-1]]
    pixels = int(np.prod(dataset.train.image_shape))
    added = (FACTORS[-1] - FACTORS[0]) * images(dataset) * pixels
    results = []
    for stage in ("prepare", "train", "encode"):
        each = [taken[factor][stage]["seconds"] for factor in FACTORS]
        microseconds = ", ".join(f"{1e6 * seconds:.1f}" for seconds in each)
        name = f"{stage}: most / least time per image ({microseconds} µs at 1, 4, 16x)"
        results.append(Result(name, max(each) / min(each), "", ("<=", 1.15)))
    seconds = small["evaluate"]["seconds"]
    results.append(Result("evaluate: the whole stage", seconds, "s", ("<=", 240.0)))
    for stage in ("evaluate", "visualize"):
        ratio = large[stage]["seconds"] / small[stage]["seconds"]
        results.append(Result(f"{stage}: time of the whole stage, 16x / 1x", ratio))
    for stage in STAGES:
        own = (large[stage]["own"] - small[stage]["own"]) / added
        resident = (large[stage]["resident"] - small[stage]["resident"]) / added
        unit = "bytes per added pixel"
        results.append(Result(f"{stage}: own memory", own, unit, ("<=", 0.1)))
        results.append(Result(f"{stage}: with pages of mapped files", resident, unit))
    return results


if __name__ == "__main__":
    child(sys.argv[1])
