"""Intake: preparing a folder of 50,000 small PNG files, against a bare loop of Pillow on all cores.

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

IMAGES, FEW, CLASSES, SIDE = 50_000, 600, 10, 28
REPEATS = 3
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


def write_images(folder: Path, count: int) -> None:
    """Writes gray PNG files of blurred noise in a dark frame, which no two share, by class."""
    rng = np.random.default_rng(0)
    for number in range(count):
        image = Image.new("L", (SIDE, SIDE))
        noise = rng.integers(0, 256, (5, 5), dtype=np.uint8)
        image.paste(Image.fromarray(noise).resize((20, 20), Image.Resampling.BICUBIC), (4, 4))
        place = folder / f"class {number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number:05d}.png")


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


def run() -> list[Result]:
    """Measures the stage, the bare loop and DVC."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        many, few = root / "many", root / "few"
        write_images(many, IMAGES)
        write_images(few, FEW)
        script = root / "bare.py"
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
        idle = {images: idle_repro(root / f"dvc {images.name}", images) for images in (few, many)}
    ours, theirs = (times[which] - times[f"{which}, few"] for which in ("stage", "bare"))
    each = (own["many"] - own["few"]) / (IMAGES - FEW)
    return [
        Result(f"prepare {IMAGES:,} PNG files of {SIDE} x {SIDE}", times["stage"], "s", ("<=", 60)),
        Result("prepare / bare loop of Pillow, start-up left out", ours / theirs, "", ("<=", 1.3)),
        Result("bare loop of Pillow on all cores", theirs, "s"),
        Result("own memory per image: its line of the list", each, "bytes", ("<=", 2000)),
        Result("dvc repro with nothing to do, 50,000 files", idle[many], "s"),
        Result("of that, for the files", idle[many] - idle[few], "s", ("<=", 5)),
    ]
