"""Tabulates experiments by what was changed in them, as mean and 95 % interval over seeds.

``python -m pipeline compare`` reads the finished runs of the tracking store and prints a Markdown
table with one row per set of parameters that differ from ``params.yaml``. A cell holds the mean
over training seeds and the half-width of Student's 95 % interval. ``--record FILE`` adds the runs
to a CSV file; ``--recorded FILE`` prints the table of such a file and needs no store.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import repository
from pipeline.params import load_params
from pipeline.sections import flat
from pipeline.tools import presets
from vaegan.evaluation.metrics import HEADLINES, OVERVIEW_KEYS

SEED, DATASET = "train.seed", "prepare.dataset"
LEVEL = 0.95
COLUMNS = {metric.key: metric.title for metric in HEADLINES}


def finished_runs() -> pd.DataFrame:
    """Finished runs in the tracking store, newest first, as MLflow's table of runs.

    Raises:
        ValueError: there is no store, or it cannot be read.
    """
    # Importing these takes two seconds; a recorded table does not need them.
    import mlflow
    from mlflow.exceptions import MlflowException

    from pipeline.tracking.store import connect

    store = os.environ.get("MLFLOW_TRACKING_URI") or repository() / "mlflow.db"
    if isinstance(store, Path) and not store.exists():  # connecting would create an empty one
        raise ValueError(f"there is no tracking store {store}; dvc repro creates it")
    try:
        return mlflow.search_runs(
            [connect()],
            filter_string="attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
        )
    except MlflowException as error:
        raise ValueError(f"the tracking store cannot be read: {error}") from error


def summarize_runs(runs: pd.DataFrame, default: dict[str, Any]) -> pd.DataFrame:
    """Names each run by its changed parameters and keeps the results that can be compared.

    Of several runs of one name and seed the newest counts. A row of the table averages only runs
    that were measured by the protocol of its newest run; others are reported and left out.

    Args:
        runs: MLflow's table of runs, newest first.
        default: Parameters by dotted key that changes are relative to.

    Returns:
        Columns ``name``, ``seed`` and one per metric; one row per run.

    Raises:
        ValueError: no run has results.
    """
    preset_changes = {
        name: {key: value for key, value in changes.items() if default.get(key) != value}
        for name, changes in presets.read_all().items()
    }
    rows = []
    for run in runs.to_dict("records"):
        changes = changed_params(run, default)
        seed = changes.pop(SEED, default[SEED])
        metrics = _results(run)
        if isinstance(run.get(f"params.{SEED}"), str) and COLUMNS.keys() & metrics.keys():
            protocol = str(run.get("tags.protocol"))
            name = name_changes(changes, preset_changes)
            rows.append({"name": name, "seed": seed, "protocol": protocol} | metrics)
    if not rows:
        raise ValueError("the tracking store has no finished run with results; dvc repro makes one")
    frame = pd.DataFrame(rows).drop_duplicates(["name", "seed"])
    other = frame["protocol"] != frame.groupby("name")["protocol"].transform("first")
    if other.any():
        print(
            f"note: {other.sum()} runs are left out: their row's newest run was measured by "
            "another protocol",
            file=sys.stderr,
        )
    return frame[~other].drop(columns="protocol")


def changed_params(run: Mapping[Any, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a run that differ from the default; keys unknown to the default are ignored.

    The tag ``now.KEY`` holds a value that was changed after the model was trained. The parameter
    ``dataset`` is the data set that was used, a fallback included.
    """
    changes = {}
    for key, value in default.items():
        logged = "dataset" if key == DATASET else key
        for text in (run.get(f"tags.now.{key}"), run.get(f"params.{logged}")):
            if isinstance(text, str):  # absent values are None or NaN
                if (typed := parse_like(text, value)) != value:
                    changes[key] = typed
                break
    return changes


def parse_like(text: str, value: Any) -> Any:
    """Parses a parameter, which MLflow keeps as text, in the type of another value.

    Text of another type, from an older version of the parameter, stays text.
    """
    if text == str(value):
        return value
    if isinstance(value, bool):
        return {"True": True, "False": False}.get(text, text)
    try:
        return type(value)(text)
    except (TypeError, ValueError):
        return text


def name_changes(changes: dict[str, Any], preset_changes: dict[str, dict[str, Any]]) -> str:
    """Names a set of changes: "default", the preset with the same changes, or the changes."""
    if not changes:
        return "default"
    for preset, same in preset_changes.items():
        if same == changes:
            return preset
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in changes.items())


def _results(run: Mapping[Any, Any]) -> dict[str, float]:
    """Metrics of ``metrics.json``; their names hold a slash, those of the curves none."""
    metrics = {
        column.removeprefix("metrics."): value
        for column, value in run.items()
        if column.startswith("metrics.") and "/" in column and pd.notna(value)
    }
    return {name: value for name, value in metrics.items() if not name.startswith("system/")}


def table(experiments: pd.DataFrame) -> str:
    """Formats experiments as a Markdown table, one row per name: the default first."""
    lines = [
        "| what was changed | seeds | " + " | ".join(COLUMNS.values()) + " |",
        "| --- " * (2 + len(COLUMNS)) + "|",
    ]
    columns = in_order(experiments).reindex(columns=["name", *COLUMNS])
    for name, runs in columns.groupby("name", sort=False):
        cells = [interval(runs[metric].dropna().tolist()) for metric in COLUMNS]
        lines.append(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def in_order(experiments: pd.DataFrame) -> pd.DataFrame:
    """Sorts rows: the default, presets, other changes; and columns: those of the table first."""
    rank = experiments["name"].map(lambda name: 2 if "=" in name else int(name != "default"))
    rows = experiments.assign(rank=rank).sort_values(["rank", "name", "seed"])
    first = ["name", "seed", *(metric for metric in COLUMNS if metric in rows)]
    return rows[first + sorted(set(map(str, rows)) - {*first, "rank"})]


def interval(values: Sequence[float]) -> str:
    """Mean ± half-width of Student's 95 % interval; a single value alone; nothing for none."""
    if not len(values):
        return ""
    mean = float(np.mean(values))
    if len(values) == 1:
        return _number(mean)
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return f"{_number(mean)} ± {_number(student.ppf((1 + LEVEL) / 2, len(values) - 1) * error)}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.4f}"


def record(experiments: pd.DataFrame, path: Path) -> None:
    """Adds runs to a CSV file; a run replaces the recorded one of the same name and seed."""
    before = [recorded(path)] if path.exists() else []
    merged = pd.concat([*before, experiments]).drop_duplicates(["name", "seed"], keep="last")
    with atomic_file(path) as part:
        in_order(merged).to_csv(part, index=False)


def recorded(path: Path) -> pd.DataFrame:
    """Reads what :func:`record` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a table of recorded runs.
    """
    try:
        rows = pd.read_csv(path, float_precision="round_trip")
        return rows.astype(dict.fromkeys(rows.columns, float) | {"name": str, "seed": int})
    except (KeyError, ValueError, TypeError) as error:  # pandas' own are ValueErrors
        raise ValueError(f"{path} is not a table of recorded runs: {error!r}") from error


def drop_pattern() -> str:
    """Pattern of columns for ``dvc exp show --drop``: all but the main metrics and parameters."""
    sections = dict.fromkeys(key.partition(".")[0] for key in flat(load_params()))
    kept = ["Experiment", *map(re.escape, OVERVIEW_KEYS), *(rf"{name}\..*" for name in sections)]
    return f"^(?!({'|'.join(kept)})$).*"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline compare", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the runs to a CSV file")
    parser.add_argument("--recorded", type=Path, metavar="FILE", help="print the table of a file")
    parser.add_argument(
        "--drop-pattern", action="store_true", help="print what make experiments passes to DVC"
    )
    options = parser.parse_args(argv)
    try:
        if options.drop_pattern:
            print(drop_pattern())
            return 0
        if options.recorded:
            experiments = recorded(options.recorded)
        else:
            experiments = summarize_runs(finished_runs(), flat(load_params()))
        if options.record:
            record(experiments, options.record)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(experiments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
