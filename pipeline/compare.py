"""Experiments side by side, by what was changed in them; seeds are summarised.

``python -m pipeline.compare`` prints a Markdown table of the commit's own run and all experiments
that start from it: a row per set of parameters, with the mean over its seeds and the half-width of
its 95 % interval (Student's t over training seeds). ``--record FILE`` adds the runs to a CSV file,
``--recorded FILE`` prints the table of such a file, and needs no experiments.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t as student

from pipeline import presets
from pipeline.artifacts import FIRST_METRICS
from pipeline.files import whole_file
from pipeline.params import ParamsError, flat, load_params

SEED = "train.seed"
LEVEL = 0.95
UNFINISHED = ("Queued", "Running", "Failed")
# The columns, in words, and whether more or less of it is better.
WORDS = (
    "leak, means ↓",
    "leak, mean and variance ↓",
    "leak, samples ↓",
    "class in s ↑",
    "swaps ↑",
    "prior styles ↑",
    "slant kept ↑",
    "thickness kept ↑",
    "width kept ↑",
    "MSE ↓",
    "style in s ↓",
    "active units",
    "KL, nats",
)
COLUMNS = dict(zip(FIRST_METRICS, WORDS, strict=True))


@dataclass(frozen=True)
class Experiment:
    """One trained model.

    Attributes:
        changes: Values by dotted key that differ from the default's, the seed apart.
        seed: Of its training.
        metrics: By name.
    """

    changes: dict[str, Any]
    seed: int
    metrics: dict[str, float]

    @property
    def name(self) -> str:
        """ "default", the name of the preset that changes the same, or what was changed."""
        if not self.changes:
            return "default"
        default = flat(load_params())
        for name in presets.names():
            same = {k: v for k, v in presets.read(name).items() if default.get(k) != v}
            if same == self.changes:
                return name
        return ", ".join(f"{key}={json.dumps(value)}" for key, value in self.changes.items())


def of_rows(rows: Iterable[dict[str, Any]], default: dict[str, Any]) -> list[Experiment]:
    """Experiments from the rows of ``dvc.api.exp_show``; those without metrics are left out.

    Args:
        rows: Each with parameters and metrics under their own names.
        default: Parameters by dotted key that changes are told from.
    """
    found = []
    for row in rows:
        numbers = {k: v for k, v in row.items() if "/" in k and isinstance(v, int | float)}
        # The workspace is the commit, or an experiment that is in the list as well; what has not
        # ended yet, or failed, is shown with the metrics of the commit that it started from.
        if row.get("rev") == "workspace" or row.get("State") in UNFINISHED:
            continue
        if not set(COLUMNS) & set(numbers):
            continue
        values = {
            key: _typed(row[key], default[key]) for key in default if row.get(key) is not None
        }
        changes = {k: v for k, v in values.items() if k != SEED and v != default[k]}
        found.append(Experiment(changes, int(row[SEED]), numbers))
    return found


def _typed(value: Any, like: Any) -> Any:
    """A value as DVC gives it (booleans as words, integers as floats) in the type of another."""
    if isinstance(like, bool):
        return str(value) == "True"
    return int(value) if isinstance(like, int) else value


def table(experiments: list[Experiment]) -> str:
    """A Markdown table, a row per set of changes, in the order of the first of each."""
    groups: dict[str, dict[int, Experiment]] = {}
    for experiment in experiments:  # of two runs of one seed, the later in the list counts
        groups.setdefault(experiment.name, {})[experiment.seed] = experiment
    lines = [
        "| what was changed | seeds | " + " | ".join(COLUMNS.values()) + " |",
        "| --- " * (2 + len(COLUMNS)) + "|",
    ]
    for name, members in groups.items():
        cells = [
            interval([e.metrics[metric] for e in members.values() if metric in e.metrics])
            for metric in COLUMNS
        ]
        lines.append(f"| {name} | {len(members)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    """Mean ± half-width of the 95 % interval over seeds; the value alone where there is one."""
    if not values:
        return ""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return _number(mean)
    spread = float(pd.Series(values).std(ddof=1))
    half = student.ppf((1 + LEVEL) / 2, len(values) - 1) * spread / len(values) ** 0.5
    return f"{_number(mean)} ± {_number(float(half))}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.4f}"


def record(experiments: list[Experiment], path: Path) -> None:
    """Adds runs to a CSV file; a run of the same changes and seed takes the old one's place."""
    kept = {(e.name, e.seed): e for e in (recorded(path) if path.exists() else [])}
    kept |= {(e.name, e.seed): e for e in experiments}
    rows = [
        {"changes": json.dumps(e.changes, sort_keys=True), "seed": e.seed} | e.metrics
        for e in kept.values()
    ]
    with whole_file(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False)


def recorded(path: Path) -> list[Experiment]:
    """Reads what :func:`record` wrote.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no such table.
    """
    try:
        rows = pd.read_csv(path).to_dict("records")
        return [
            Experiment(
                json.loads(row.pop("changes")),
                int(row.pop("seed")),
                {str(name): float(value) for name, value in row.items() if pd.notna(value)},
            )
            for row in rows
        ]
    except (KeyError, pd.errors.ParserError, pd.errors.EmptyDataError, TypeError) as error:
        raise ValueError(f"{path} is not a table of recorded runs: {error!r}") from error


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.compare", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the runs to a CSV file")
    parser.add_argument("--recorded", type=Path, metavar="FILE", help="print the table of a file")
    options = parser.parse_args(argv)
    try:
        if options.recorded:
            experiments = recorded(options.recorded)
        else:
            from dvc.api import exp_show  # two seconds, that a recorded table need not wait for

            experiments = of_rows(exp_show(), flat(load_params()))
    except (ParamsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.record:
        record(experiments, options.record)
    print(table(experiments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
