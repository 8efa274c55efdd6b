"""Figures on disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import FIGURES

if TYPE_CHECKING:  # importing matplotlib takes a second
    from matplotlib.figure import Figure

COLOURS = 32  # of an animation's frame: few, because these compress well
LARGEST = 3 * 2**20  # bytes of an animation; with more, every second frame is left out
MILLISECONDS = 80  # per frame
REFERENCES = Path("docs/references.csv")  # values of released models on MNIST, and targets


def released_values() -> dict[str, tuple[str, float]]:
    """Reads the best released model and its value on MNIST, by metric."""
    rows = pd.read_csv(REFERENCES).to_dict("records")
    return {row["metric"]: (row["model"], float(row["best released"])) for row in rows}


def write_figure(name: str, figure: "Figure", folder: Path = FIGURES) -> Path:
    """Writes a figure as PNG, equal bytes for equal figures; returns its path."""
    path = folder / f"{name}.png"
    with atomic_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path


def write_animation(name: str, frames: Iterable[np.ndarray], folder: Path = FIGURES) -> Path:
    """Writes frames uint8 (H, W, 3) as a GIF that loops; returns its path.

    Equal frames give equal bytes. A file that would be larger than 3 MiB gets every second frame,
    each shown twice as long, until it is not.
    """
    path = folder / f"{name}.gif"
    pictures = [
        Image.fromarray(frame).quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames
    ]
    duration = MILLISECONDS
    while True:
        with atomic_file(path) as part:
            first, *rest = pictures
            first.save(part, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)
        if path.stat().st_size <= LARGEST or len(pictures) == 1:
            return path
        pictures, duration = pictures[::2], 2 * duration
