"""Growth: cost per image and memory of the stages on 1, 4 and 16 times the prepared data set.

The larger sets repeat the images. Each stage runs as ``dvc repro`` runs it, in its own process.
Time per image is what more images add for ``encode``, and the loop's own rate for ``train``. Own
memory is the peak of resident memory without the pages of memory-mapped files, which the system
takes back when it needs them. ``evaluate`` and ``visualize`` use a bounded number of images
(``evaluate.test_images`` and so on), the fit of the class transport ``train.transport.images``.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.defaults import stage_environment, write_params
from benchmarks.measure import Result
from pipeline.artifacts.dataset import Dataset, Split, read_dataset, write_dataset
from pipeline.artifacts.paths import PREPARED
from vaegan.data import LabelledImages

FACTORS = (1, 4, 16)
STAGES = ("train", "encode", "classifier", "evaluate", "visualize")
STEPS, INTERVALS = 50, 7  # of training

Stages = dict[str, dict[str, float]]  # by stage, from run_stage


def repeated(data: LabelledImages, factor: int) -> Split:
    """Returns a split with every image ``factor`` times, without copying them."""
    return Split(np.tile(data.labels, factor), lambda: (data.images for _ in range(factor)))


def own_memory(process: int) -> int:
    """Returns a process's resident bytes without pages of files, 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0  # a process that has just ended has no such line


def run_stage(stage: str, folder: Path) -> dict[str, float]:
    """Runs a stage; returns its seconds, peak of own memory, and images per second if printed.

    Raises:
        RuntimeError: the stage failed.
    """
    begun, own = time.perf_counter(), 0
    with (folder / f"{stage}.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", stage],
            cwd=folder,
            env=stage_environment(folder),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            own = max(own, own_memory(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        log.seek(0)
        output = log.read()
    if process.returncode:
        raise RuntimeError(f"{stage} failed:\n{output}")
    rates = [float(rate) for rate in re.findall(r"(\d+) images/s", output)]
    rate = statistics.median(rates[1:]) if rates else 0.0
    return {"seconds": seconds, "own": own, "rate": rate}


def measure(factor: int, dataset: Dataset, stages: tuple[str, ...]) -> Stages:
    """Runs stages on ``factor`` times the data set, in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = {"steps": STEPS * INTERVALS, "report_every": STEPS, "transport": {"steps": STEPS}}
        write_params(folder, device="cpu", **short)
        about = {key: value for key, value in dataset.description.items() if key != "splits"}
        splits = {name: repeated(data, factor) for name, data in dataset.splits.items()}
        write_dataset(splits, about, folder / PREPARED)
        found = {}
        for stage in stages:
            found[stage] = run_stage(stage, folder)
            print(factor, stage, found[stage], flush=True)
        return found


def results(found: dict[int, Stages], images: int, pixels: int) -> list[Result]:
    """Returns the table's rows.

    Args:
        found: By factor and stage, from :func:`run_stage`.
        images: Number of images at factor 1, all splits.
        pixels: Number of pixels of an image.
    """
    small, middle, large = (found[factor] for factor in FACTORS)
    train = [1 / found[factor]["train"]["rate"] for factor in FACTORS]
    encode = [
        (more["encode"]["seconds"] - less["encode"]["seconds"]) / (added * images)
        for less, more, added in ((small, middle, 3), (middle, large, 12))
    ]
    rows = []
    for name, each, where in (("train", train, "1, 4, 16x"), ("encode", encode, "1-4, 4-16x")):
        listed = ", ".join(f"{1e6 * seconds:.1f}" for seconds in each)
        words = f"{name}: most / least time per image ({listed} µs at {where})"
        rows.append(Result(words, max(each) / min(each), "", ("<=", 1.15)))
    seconds = small["evaluate"]["seconds"]
    rows.append(Result("evaluate: the whole stage", seconds, "s", ("<=", 240.0)))
    added_pixels = (FACTORS[-1] - FACTORS[0]) * images * pixels
    for stage in STAGES:
        own = (large[stage]["own"] - small[stage]["own"]) / added_pixels
        rows.append(Result(f"{stage}: own memory", own, "bytes per added pixel", ("<=", 0.1)))
    return rows


def run() -> list[Result]:
    """Measures all stages on the smallest and largest set, two stages on the one between."""
    if not Path("/proc/self/status").exists():
        raise OSError("memory is measured through /proc, on Linux only")
    dataset = read_dataset()
    stages = dict.fromkeys(FACTORS, STAGES) | {FACTORS[1]: ("train", "encode")}
    found = {factor: measure(factor, dataset, stages[factor]) for factor in FACTORS}
    images = sum(map(len, dataset.splits.values()))
    return results(found, images, int(np.prod(dataset.train.image_shape)))
