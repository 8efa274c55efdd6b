"""Intake: preparing a folder of 50,000 PNG files, against a bare loop of Pillow on all cores.

The bare loop opens and decodes every file in as many processes, and does nothing with the pixels.
Both are timed as commands, less the time of the same command on a few files: start-up is left out.
Own memory is the peak of resident memory without the pages of files, of the stage's own process.
``dvc repro`` with nothing to do is timed with and without the folder as a dependency.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.defaults import stage_environment
from benchmarks.growth import run_stage
from benchmarks.measure import Result, seconds, side_by_side
from pipeline.params import PARAMS_FILE, read_yaml

IMAGES, FEW, CLASSES = 50_000, 600, 10
KINDS = {"28 x 28, gray": (28, "L"), "64 x 64, colour": (64, "RGB")}
REPEATS = 2
BARE = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
import numpy as np
from PIL import Image

def decode(paths):
    for path in paths:
        np.asarray(Image.open(path))

if __name__ == "__main__":
    paths = sorted(map(str, Path(sys.argv[1]).rglob("*.png")))
    chunks = [paths[start : start + 256] for start in range(0, len(paths), 256)]
    with ProcessPoolExecutor(int(sys.argv[2]), get_context("spawn")) as pool:
        list(pool.map(decode, chunks))
"""
DVC = """
stages:
  prepare:
    cmd: touch done
    deps: ["{path}"]
    outs: [done]
"""


def write_images(folder: Path, count: int, side: int, mode: str) -> None:
    """Writes PNG files of smooth noise in a dark frame, which no two share, by class."""
    rng = np.random.default_rng(0)
    for number in range(count):
        image = Image.new(mode, (side, side))
        noise = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        inner = Image.fromarray(noise).resize((side - 8, side - 8), Image.Resampling.BICUBIC)
        image.paste(inner.convert(mode), (4, 4))
        place = folder / f"class {number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number:05d}.png", compress_level=1)


def prepare(images: Path, folder: Path) -> dict[str, float]:
    """Runs the stage on a folder of images; returns its seconds and peak of own memory."""
    folder.mkdir(exist_ok=True)
    content = read_yaml(PARAMS_FILE)
    content["prepare"] |= {"dataset": "folder", "path": str(images)}
    (folder / PARAMS_FILE).write_text(json.dumps(content))  # JSON is YAML
    return run_stage("prepare", folder)


def bare(script: Path, images: Path) -> None:
    """Decodes a folder of images and does nothing else."""
    cores = len(os.sched_getaffinity(0))
    subprocess.run([sys.executable, script, images, str(cores)], check=True)


def idle_repro(folder: Path, path: Path) -> float:
    """Times ``dvc repro`` with nothing to do, in a repository whose only dependency is ``path``."""
    folder.mkdir()
    run = partial(
        subprocess.run, cwd=folder, env=stage_environment(folder), check=True, capture_output=True
    )
    run(["git", "init", "-q"])
    run(["dvc", "init", "-q"])
    (folder / "dvc.yaml").write_text(DVC.format(path=path))
    run(["dvc", "repro"])
    return min(seconds(lambda: run(["dvc", "repro"])) for _ in range(REPEATS))


def measure(root: Path, side: int, mode: str) -> dict[str, float]:
    """Times the stage and the bare loop on images of a kind; ``own`` is the stage's memory."""
    many, few, script = root / "many", root / "few", root / "bare.py"
    write_images(many, IMAGES, side, mode)
    write_images(few, FEW, side, mode)
    script.write_text(BARE)
    own: dict[str, float] = {}

    def stage(images: Path) -> None:
        own[images.name] = prepare(images, root / "stage")["own"]

    times = side_by_side(
        {
            "stage": lambda: stage(many),
            "stage, few": lambda: stage(few),
            "bare": lambda: bare(script, many),
            "bare, few": lambda: bare(script, few),
        },
        REPEATS,
    )
    ours, theirs = (times[which] - times[f"{which}, few"] for which in ("stage", "bare"))
    own_per_image = (own["many"] - own["few"]) / (IMAGES - FEW)
    return {"seconds": times["stage"], "bare": theirs, "ratio": ours / theirs, "own": own_per_image}


def run() -> list[Result]:
    """Measures the stage, the bare loop and DVC."""
    rows = []
    for kind, (side, mode) in KINDS.items():
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            found = measure(root, side, mode)
            print(kind, found, flush=True)
            rows += [
                Result(f"prepare {IMAGES:,} files, {kind}", found["seconds"], "s", ("<=", 60)),
                Result(f"bare loop of Pillow, {kind}", found["bare"], "s"),
                Result(f"prepare / bare loop, {kind}", found["ratio"], "", ("<=", 1.3)),
                Result(f"own memory per image, {kind}", found["own"], "bytes", ("<=", 2000)),
            ]
            if len(rows) == len(KINDS) * 4:
                idle = [idle_repro(root / f"dvc {n}", root / n) for n in ("few", "many")]
    name = f"dvc repro with nothing to do, {IMAGES:,} files"
    return [*rows, Result(name, idle[1], "s"), Result("of that, for files", idle[1] - idle[0], "s")]
