"""Figures on disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import FIGURES

if TYPE_CHECKING:  # importing matplotlib takes a second
    from matplotlib.figure import Figure


def write_figure(name: str, figure: "Figure", folder: Path = FIGURES) -> Path:
    """Writes a figure as PNG, equal bytes for equal figures; returns its path."""
    path = folder / f"{name}.png"
    with atomic_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path
