"""Figures on disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import FIGURES

if TYPE_CHECKING:  # every stage imports this module, few need these two: a second to start
    from matplotlib.figure import Figure


def write_figure(name: str, figure: "Figure", folder: Path = FIGURES) -> Path:
    """Writes a figure as PNG, the same bytes for the same figure; returns its path."""
    path = folder / f"{name}.png"
    with atomic_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path
