"""The page that compares runs: a table over seeds, what differs, loss curves and swap grids.

It is asked for by ``python -m pipeline compare --html FILE`` and is no output of a stage.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from pipeline.report import pictures
from pipeline.report.curves import COLOURS, Line, plot
from pipeline.report.pages import FOLDER, fill
from pipeline.report.tables import number

# Shown at most, as the page says: rows with curves, curves of a row, rows with swaps, rows.
CURVES, SEEDS, GRIDS, ROWS = len(COLOURS), 5, 8, 200
LOSS, ACCURACY = "_loss", "_accuracy"


@dataclass(frozen=True)
class Compared:
    """Runs of one set of parameters, which differ in their seeds.

    Attributes:
        name: What was changed.
        marks: What else a person should know, such as "champion".
        seeds: Number of runs.
        cells: By metric: mean and half-width of the interval over seeds; None for a single run.
        changes: Parameters that differ from the default, by dotted key.
        curves: Loss curves of each seed whose run has them: a table with the column ``step``.
        grid: Picture of swaps of the first seed; None if its run has none.
    """

    name: str
    seeds: int
    cells: Mapping[str, tuple[float, float | None]]
    marks: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    curves: tuple[pd.DataFrame, ...] = ()
    grid: Path | None = None


def build_comparison(
    rows: Sequence[Compared],
    titles: Mapping[str, str],
    default: Mapping[str, Any],
    others: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Returns the page; equal arguments give equal text.

    Args:
        rows: In the order of the page.
        titles: Of the columns, by metric.
        default: All parameters that changes are relative to, by dotted key.
        others: A line about each run that is not in the table.
        notes: Sentences for the head of the page.
    """
    script = (FOLDER / "sort.js").read_text()
    shown, keys = rows[:ROWS], [key for key in default if any(key in row.changes for row in rows)]
    grids = [(row.name, row.grid) for row in shown if row.grid is not None][:GRIDS]
    sources = pictures.addresses([grid for _, grid in grids])
    return fill(
        "comparison.html",
        script=Markup(script),  # noqa: S704 (our own file)
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        titles=titles,
        rows=shown,
        cells=[[_cell(key, row.cells.get(key)) for key in titles] for row in shown],
        left_out=len(rows) - len(shown),
        keys=keys,
        default=default,
        panels=_panels([row for row in shown if row.curves][:CURVES]),
        most={"curves": CURVES, "seeds": SEEDS, "grids": GRIDS},
        grids=[(name, source) for (name, _), source in zip(grids, sources, strict=True)],
        others=others,
        notes=notes,
    )


def _cell(key: str, value: tuple[float, float | None] | None) -> dict[str, Any]:
    """Text of a cell and the number by which it is sorted."""
    if value is None:
        return {"text": "", "value": ""}
    mean, half = value
    text = number(key, mean)
    if half is not None:
        unit = " %" * text.endswith(" %")
        text = f"{text.removesuffix(unit)} ± {number(key, half).removesuffix(unit)}{unit}"
    return {"text": text, "value": mean}


def _panels(rows: Sequence[Compared]) -> list[dict[str, Any]]:
    """A picture of curves for each loss and accuracy, all runs in one."""
    names = dict.fromkeys(str(name) for row in rows for curve in row.curves for name in curve)
    panels = []
    for name in names:
        if not name.endswith((LOSS, ACCURACY)):
            continue
        lines = [
            Line(row.name, place, curve["step"].to_numpy(float), curve[name].to_numpy(float))
            for place, row in enumerate(rows)
            for curve in row.curves[:SEEDS]
            if name in curve
        ]
        words = name.removesuffix(LOSS).replace("_", " ")
        panels.append({"words": words, "picture": Markup(plot(words, lines))})  # noqa: S704
    return panels
