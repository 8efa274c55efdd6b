"""Collects runs and their artifacts for the page that compares them, ``compare --html FILE``."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from pipeline.artifacts.curves import read_curves
from pipeline.artifacts.files import ArtifactError, atomic_file
from pipeline.report.comparison import CURVES, GRIDS, SEEDS, Compared, build_comparison
from pipeline.tools import compare

SWAPS_FIGURE, CURVES_FILE = "figures/swaps.png", "curves/curves.csv"  # artifacts of a run
OTHER_PROTOCOL = (
    "Rows marked with another protocol were measured otherwise than the first row: their numbers "
    "cannot be compared with its."
)


def write_page(
    path: Path,
    experiments: pd.DataFrame,
    default: dict[str, Any],
    runs: pd.DataFrame | None = None,
    others: list[str] | None = None,
) -> None:
    """Writes the page.

    Args:
        path: The file.
        experiments: As :func:`pipeline.tools.compare.summarize_runs` returns them.
        default: Parameters by dotted key that changes are relative to.
        runs: MLflow's table of runs, newest first; None if the experiments were recorded in a file:
            then there are no parameters, curves and swaps.
        others: A line about each run that is not among the experiments.
    """
    titles, ordered = compare.titles_of(experiments), compare.in_order(experiments)
    known = {} if runs is None else compare.choose_runs(runs, default)
    champions = champion_runs({run.get("tags.dataset") for run in known.values()})
    protocol, notes = ordered["protocol"].iloc[0], []
    rows: list[Compared] = []
    with TemporaryDirectory() as place:
        folder = Path(place)
        for name, group in ordered.groupby("name", sort=False):
            own = [known[key] for seed in group["seed"] if (key := (str(name), seed)) in known]
            marks = ["champion"] * any(run["run_id"] in champions for run in own)
            if group["protocol"].iloc[0] != protocol:
                marks.append("another protocol")
                notes = [OTHER_PROTOCOL]
            curves = _curves(own, folder) if sum(bool(r.curves) for r in rows) < CURVES else ()
            grid = _grid(own, folder) if sum(r.grid is not None for r in rows) < GRIDS else None
            cells, changes = _cells(group, list(titles)), _changes(own, default)
            rows.append(Compared(str(name), len(group), cells, tuple(marks), changes, curves, grid))
        text = build_comparison(rows, titles, default, others or [], notes)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def champion_runs(datasets: set[Any]) -> set[str]:
    """Ids of the runs of the champions of some data sets."""
    if not datasets:
        return set()
    from pipeline.tracking.champion import champion_of
    from pipeline.tracking.store import one_line

    with one_line():
        found = [champion_of(name) for name in datasets if isinstance(name, str)]
    return {str(version.run_id) for version in found if version is not None}


def _cells(group: pd.DataFrame, keys: list[str]) -> dict[str, tuple[float, float | None]]:
    cells = {}
    for key in keys:
        values = group[key].dropna().tolist() if key in group else []
        if values:
            cells[key] = compare.mean_and_half_width(values)
    return cells


def _changes(runs: list[dict[Any, Any]], default: dict[str, Any]) -> dict[str, Any]:
    """Parameters that differ from the default, without the seed."""
    changes = compare.changed_params(runs[0], default) if runs else {}
    changes.pop(compare.SEED, None)
    return changes


def _curves(runs: list[dict[Any, Any]], folder: Path) -> tuple[pd.DataFrame, ...]:
    """The loss curves of runs that have them, among runs restored from a cache some have none."""
    found = []
    for run in runs[:SEEDS]:
        path = _artifact(run, CURVES_FILE, folder)
        try:
            curves = None if path is None else read_curves(path)
        except ArtifactError:
            continue
        if curves is not None and "step" in curves:
            found.append(curves.select_dtypes("number"))
    return tuple(found)


def _grid(runs: list[dict[Any, Any]], folder: Path) -> Path | None:
    """The swaps of the first run that has them."""
    found = (_artifact(run, SWAPS_FIGURE, folder) for run in runs[:SEEDS])
    return next((path for path in found if path is not None), None)


def _artifact(run: dict[Any, Any], name: str, folder: Path) -> Path | None:
    """Fetches an artifact of a run; None if the run has none or has lost it."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    target = folder / run["run_id"]
    target.mkdir(exist_ok=True)
    try:
        return Path(MlflowClient().download_artifacts(run["run_id"], name, str(target)))
    except (MlflowException, OSError):
        return None
