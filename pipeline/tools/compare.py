"""Tabulates experiments by what was changed in them, as mean and 95 % interval over seeds.

``python -m pipeline compare`` reads the runs of the tracking store and prints a Markdown table with
one row per set of parameters that differ from ``params.yaml``, or one column if there are few. A
cell holds the mean over training seeds and the half-width of Student's 95 % interval. Only finished
runs are in the table, and only with results of their own model and data set; a list below it names
the others with their state. Rows that were measured by another protocol than the first are marked
with a dagger: their numbers cannot be compared with its. On a terminal the table is cut into parts
that fit. ``--record FILE`` adds the runs, with all metrics, to a CSV file; ``--recorded FILE``
prints the table of such a file and needs no store. ``--html FILE`` writes a page that opens
anywhere: the table, sortable, what differs, loss curves and swaps.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import METRICS
from pipeline.params import load_params
from pipeline.sections import flat
from pipeline.tools import presets
from pipeline.tools.terminal import fitting
from pipeline.tracking.charts import CURVES
from vaegan.evaluation.metrics import (
    HEADLINES,
    SHORT,
    described_keys,
    expected_keys,
)

SEED, DATASET = "train.seed", "prepare.dataset"
LEVEL = 0.95
FEW = 4  # rows, up to which the table has a line per metric
FINISHED = "FINISHED"
UNKNOWN = "unknown"
OTHER = " †"  # behind the name of a row that was measured by another protocol
RECORDED = Path("docs/experiments.csv")
HINT = f". Recorded ones: python -m pipeline compare --recorded {RECORDED}"
# Those that every data set may have; a table also has those of its runs' known style factors.
COLUMNS = {m.key: m.title() for m in HEADLINES if m.key in expected_keys(strokes=True)}


def load_runs() -> pd.DataFrame:
    """Loads the runs of the tracking store, newest first, as MLflow's table of runs.

    What the store lacks of ended stages is sent to it first, the state of killed ones included.

    Raises:
        ValueError: there is no store, or it cannot be read.
    """
    # Importing these takes two seconds; a recorded table does not need them.
    import mlflow

    from pipeline.artifacts.paths import repository
    from pipeline.journal import FOLDER
    from pipeline.tracking.store import address, connect, one_line, store_digest
    from pipeline.tracking.sync import sync_all

    database = address().removeprefix("sqlite:///")
    if database != address() and not Path(database).exists():  # connecting would create it
        raise ValueError(f"there is no tracking store {database}; dvc repro creates it{HINT}")
    experiment = connect()
    with one_line():
        journals, say = repository() / FOLDER, partial(print, file=sys.stderr)
        sync_all(journals, experiment, store_digest(), say)
        return mlflow.search_runs([experiment], order_by=["attributes.start_time DESC"])


def with_all_metrics(runs: pd.DataFrame) -> pd.DataFrame:
    """Adds metrics that runs have in their artifact ``metrics.json`` only: all but the headlines.

    A run that has lost it is named on standard error.
    """
    import mlflow

    from pipeline.tracking.store import raised_by_store, reason

    rows = runs.to_dict("records")
    for row in rows:
        if obstacle(row) is not None:
            continue
        try:
            results = mlflow.artifacts.load_dict(f"{row['artifact_uri']}/{METRICS.name}")
        except Exception as error:
            if not (raised_by_store(error) or isinstance(error, OSError)):
                raise
            name, why = row.get("tags.mlflow.runName"), reason(error)
            print(f"note: run {name} has only its headline metrics: {why}", file=sys.stderr)
        else:
            numbers = {k: v for k, v in results.items() if not isinstance(v, str)}
            row |= {f"metrics.{name}": value for name, value in numbers.items()}
    return pd.DataFrame(rows)


def summarize_runs(runs: pd.DataFrame, default: dict[str, Any]) -> pd.DataFrame:
    """Names each run by its changed parameters and keeps the results that can be compared.

    Of several runs of one name and seed the newest counts. A row of the table averages only runs
    that were measured by the protocol of its newest run; others are reported and left out.

    Args:
        runs: MLflow's table of runs, newest first; those with an :func:`obstacle` do not count.
        default: Parameters by dotted key that changes are relative to.

    Returns:
        Columns ``name``, ``seed``, ``protocol`` and one per metric; one row per run.

    Raises:
        ValueError: no run has results.
    """
    preset_changes = _preset_changes(default)
    rows = []
    for run in runs.to_dict("records"):
        if (known := _name_and_seed(run, default, preset_changes)) and not obstacle(run):
            name, seed = known
            tag = run.get("tags.protocol")  # absent values are None or NaN
            protocol = {"protocol": tag if isinstance(tag, str) else UNKNOWN}
            rows.append({"name": name, "seed": seed} | protocol | _results(run))
    if not rows:
        raise ValueError(
            f"the tracking store has no finished run with results; dvc repro makes one{HINT}"
        )
    frame = pd.DataFrame(rows).drop_duplicates(["name", "seed"])
    other = frame["protocol"] != frame.groupby("name")["protocol"].transform("first")
    if other.any():
        print(
            f"note: {other.sum()} runs are left out: their row's newest run was measured by "
            "another protocol",
            file=sys.stderr,
        )
    return frame[~other]


def list_others(runs: pd.DataFrame, default: dict[str, Any]) -> list[str]:
    """Describes each run without numbers in the table in a line, unless a newer one has them.

    Args:
        runs: MLflow's table of runs, newest first.
        default: Parameters by dotted key that changes are relative to.
    """
    preset_changes = _preset_changes(default)
    lines, measured = [], set()
    for run in runs.to_dict("records"):
        known = _name_and_seed(run, default, preset_changes)
        if known is None or known in measured:
            continue
        reason = obstacle(run)
        if reason is None:
            measured.add(known)
        else:
            name, seed = known
            lines.append(f"{name}, seed {seed} (run {run.get('tags.mlflow.runName')}): {reason}")
    return lines


def obstacle(run: Mapping[Any, Any]) -> str | None:
    """Returns why a run's numbers are not shown, None if they are its own and it has finished."""
    status = run.get("status", FINISHED)
    if status != FINISHED:
        reason = run.get("tags.failure")
        return f"{status}, {' '.join(reason.split())}" if isinstance(reason, str) else str(status)
    if not COLUMNS.keys() & _results(run).keys():
        return "finished, but not evaluated"
    for what, ours, theirs in (
        ("model", "tags.model.sha256", "tags.model/digest"),
        ("data set", "params.dataset", "tags.dataset"),
    ):
        both = run.get(ours), run.get(theirs)
        if all(isinstance(text, str) for text in both) and len(set(both)) > 1:
            return f"its numbers are those of another {what}: {both[1]}, not {both[0]}"
    return None


def _preset_changes(default: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The values in each preset that differ from the default."""
    return {
        name: {key: value for key, value in changes.items() if default.get(key) != value}
        for name, changes in presets.read_all().items()
    }


def _name_and_seed(
    run: Mapping[Any, Any], default: dict[str, Any], preset_changes: dict[str, dict[str, Any]]
) -> tuple[str, Any] | None:
    """The row and the training seed of a run; None if it is not a run of this pipeline."""
    if not isinstance(run.get(f"params.{SEED}"), str):
        return None
    changes = changed_params(run, default)
    seed = changes.pop(SEED, default[SEED])
    return name_changes(changes, preset_changes), seed


def choose_runs(
    runs: pd.DataFrame, default: dict[str, Any]
) -> dict[tuple[str, Any], dict[Any, Any]]:
    """The run that counts for each name and seed: the newest one with results.

    Args:
        runs: MLflow's table of runs, newest first.
        default: Parameters by dotted key that changes are relative to.
    """
    preset_changes = _preset_changes(default)
    chosen: dict[tuple[str, Any], dict[Any, Any]] = {}
    for run in runs.to_dict("records"):
        known = _name_and_seed(run, default, preset_changes)
        if known is not None and obstacle(run) is None:
            chosen.setdefault(known, run)
    return chosen


def changed_params(run: Mapping[Any, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a run that differ from the default; keys unknown to the default are ignored.

    The tag ``now.KEY`` holds a value that was changed after the model was trained. The parameter
    ``dataset`` is the data set that was used, a fallback included; own images have a name of their
    own there.
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
    """Metrics of ``metrics.json``; curves of a run of before have no slash in their names."""
    metrics = {
        column.removeprefix("metrics."): value
        for column, value in run.items()
        if column.startswith("metrics.") and "/" in column and pd.notna(value)
    }
    others = {*CURVES, "system"}
    return {name: v for name, v in metrics.items() if name.partition("/")[0] not in others}


def titles_of(experiments: pd.DataFrame) -> dict[str, str]:
    """Titles of the metrics' columns: of every data set, then those that these runs have."""
    return COLUMNS | {
        key: metric.title(key)
        for key, metric in described_keys(HEADLINES, map(str, experiments))
        if key not in COLUMNS
    }


def table(experiments: pd.DataFrame) -> str:
    """Formats experiments as a Markdown table, one row per name: the default first."""
    titles = titles_of(experiments)
    lines = [
        "| what was changed | seeds | " + " | ".join(titles.values()) + " |",
        "| --- " * (2 + len(titles)) + "|",
    ]
    columns = in_order(experiments).reindex(columns=["name", "protocol", *titles])
    for name, runs in columns.groupby("name", sort=False):
        cells = [interval(runs[metric].dropna().tolist()) for metric in titles]
        other = runs["protocol"].iloc[0] != columns["protocol"].iloc[0]
        lines.append(f"| {name}{OTHER * other} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def upright(printed: str) -> str:
    """Turns a Markdown table: a row per metric, so that a few experiments fit into a terminal."""
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()
    )
    columns = [[*entries] for entries in zip(head, *rows, strict=True)]
    columns.insert(1, ["---"] * len(columns[0]))
    widths = [max(map(len, cells)) for cells in zip(*columns, strict=True)]
    return "\n".join("| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in columns)


def table_of_few(experiments: pd.DataFrame) -> str:
    """Formats experiments as :func:`table` does, turned if there are few names."""
    printed = table(experiments)
    return upright(printed) if experiments["name"].nunique() <= FEW else printed


def in_order(experiments: pd.DataFrame) -> pd.DataFrame:
    """Sorts rows: the default, presets, other changes; and columns: those of the table first."""
    rank = experiments["name"].map(lambda name: 2 if "=" in name else int(name != "default"))
    rows = experiments.copy().assign(rank=rank).sort_values(["rank", "name", "seed"])
    first = ["name", "seed", "protocol", *(metric for metric in COLUMNS if metric in rows)]
    return rows[first + sorted(set(map(str, rows)) - {*first, "rank"})]


def interval(values: Sequence[float]) -> str:
    """Mean ± half-width of Student's 95 % interval; a single value alone; nothing for none."""
    if not len(values):
        return ""
    mean, half = mean_and_half_width(values)
    return _number(mean) if half is None else f"{_number(mean)} ± {_number(half)}"


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half-width of Student's 95 % interval, None for a single value."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, None
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return mean, float(student.ppf((1 + LEVEL) / 2, len(values) - 1) * error)


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.4f}"


def record(experiments: pd.DataFrame, path: Path) -> None:
    """Adds runs to a CSV file; a run replaces the recorded one of the same name and seed.

    It also replaces those of the same name that were measured by another protocol, and says so.
    """
    before = [recorded(path)] if path.exists() else []
    key = ["name", "seed", "protocol"]
    for old in before:  # metrics whose artifact the store has lost
        known, new = (frame.astype({"seed": int}).set_index(key) for frame in (old, experiments))
        experiments = new.combine_first(known[known.index.isin(new.index)]).reset_index()
    merged = pd.concat([*before, experiments]).drop_duplicates(["name", "seed"], keep="last")
    other = merged["protocol"] != merged.groupby("name")["protocol"].transform("last")
    for row in merged[other].to_dict("records"):
        print(
            f"note: {path} no longer has {row['name']}, seed {row['seed']}, which was measured by "
            "another protocol than the runs that are recorded now",
            file=sys.stderr,
        )
    merged = merged[~other]
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
        if "protocol" not in rows:  # of before it was recorded
            rows["protocol"] = UNKNOWN
        kinds: dict[str, type] = dict.fromkeys(rows.columns, float)
        return rows.astype(kinds | {"name": str, "seed": int, "protocol": str})
    except (KeyError, ValueError, TypeError) as error:  # pandas' own are ValueErrors
        raise ValueError(f"{path} is not a table of recorded runs: {error!r}") from error


def drop_pattern() -> str:
    """Pattern of columns for ``dvc exp show --drop``: all but the main metrics and parameters."""
    sections = dict.fromkeys(key.partition(".")[0] for key in flat(load_params()))
    kept = [
        "Experiment",
        "State",
        "verdict",
        *map(re.escape, SHORT.values()),
        *(rf"{name}\..*" for name in sections),
    ]
    return f"^(?!({'|'.join(kept)})$).*"


def _whose(path: Path | None) -> str:
    """Says whose numbers a table has."""
    if path is None:
        from pipeline.tracking.store import DATABASE, address, is_default, shown

        return f"your own runs, in {DATABASE if is_default() else shown(address())}"
    return f"recorded runs, in {path}: not made here"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline compare", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the runs to a CSV file")
    parser.add_argument("--recorded", type=Path, metavar="FILE", help="print the table of a file")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page on the runs")
    parser.add_argument(
        "--drop-pattern", action="store_true", help="print what make experiments passes to DVC"
    )
    options = parser.parse_args(argv)
    status, others = 0, []
    runs: pd.DataFrame | None = None
    try:
        if options.html and options.html.suffix != ".html":
            raise ValueError(f"--html: got {options.html}, expected a name that ends in .html")
        if options.drop_pattern:
            print(drop_pattern())
            return 0
        if options.recorded:
            experiments = recorded(options.recorded)
        else:
            default, runs = flat(load_params()), load_runs()
            others = list_others(runs, default)
            runs = with_all_metrics(runs) if options.record else runs
            experiments = summarize_runs(runs, default)
        if options.record:
            record(experiments, options.record)
        if options.html:
            from pipeline.tools.compare_page import write_page  # which imports this module

            write_page(options.html, experiments, flat(load_params()), runs, others)
            print(f"wrote {options.html.resolve()}\n")
        print(f"{_whose(options.recorded)}\nmean ± 95 % interval over training seeds\n")
        if sys.stdout.isatty():
            print(fitting(table(experiments), shutil.get_terminal_size().columns))
        else:
            print(table_of_few(experiments))
        if experiments["protocol"].nunique() > 1:
            print(f"\n{OTHER.strip()} measured by another protocol than the first row")
        if not options.recorded and RECORDED.exists():
            print(f"\nrecorded runs: python -m pipeline compare --recorded {RECORDED}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    if others:
        print("\n".join(["", "not in the table:", *(f"- {line}" for line in others)]))
    return status


if __name__ == "__main__":
    sys.exit(main())
