"""Experiments side by side, by what was changed in them; seeds are summarised.

``python -m pipeline compare`` prints a Markdown table of the commit's own run and all experiments
that start from it: a row per set of parameters, with the mean over its seeds and the half-width of
its 95 % interval (Student's t over training seeds). ``--record FILE`` adds the runs to a CSV file,
``--recorded FILE`` prints the table of such a file, and needs no experiments.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t as student

from pipeline.artifacts.files import atomic_file
from pipeline.params import PARAMS_FILE, ParamsError, flat, load_params
from pipeline.tools import presets
from vaegan.evaluation.metrics import FIRST_METRICS

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
        name: "default", a preset, or what was changed.
        seed: Of its training.
        metrics: By name.
    """

    name: str
    seed: int
    metrics: dict[str, float]


def name_of(changes: dict[str, Any], default: dict[str, Any]) -> str:
    """What a set of changes is called: "default", the preset that changes the same, or the changes.

    Args:
        changes: Values by dotted key that differ from the default's, the seed apart.
        default: All values of the default.
    """
    if not changes:
        return "default"
    for preset in presets.names():
        same = {k: v for k, v in presets.read(preset).items() if default.get(k) != v}
        if same == changes:
            return preset
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in changes.items())


def committed_params() -> dict[str, Any]:
    """The parameters of the commit that experiments start from, flat; the workspace may differ.

    Raises:
        ParamsError: there is no commit, or its parameters are of another form than today's.
    """
    shown = subprocess.run(["git", "show", f"HEAD:{PARAMS_FILE}"], capture_output=True, text=True)
    if shown.returncode:
        raise ParamsError(f"{PARAMS_FILE}: git knows no commit of it: {shown.stderr.strip()}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PARAMS_FILE
        path.write_text(shown.stdout)
        return flat(load_params(path))


def of_rows(rows: Iterable[dict[str, Any]], default: dict[str, Any]) -> list[Experiment]:
    """Experiments from the rows of ``dvc.api.exp_show``, the commit's own first, then the newest.

    Those without metrics are left out.

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
        if not set(COLUMNS) & set(numbers) or row.get(SEED) is None:
            continue
        values = {
            key: _typed(row[key], default[key]) for key in default if row.get(key) is not None
        }
        changes = {k: v for k, v in values.items() if k != SEED and v != default[k]}
        found.append(Experiment(name_of(changes, default), int(row[SEED]), numbers))
    return found


def _typed(value: Any, like: Any) -> Any:
    """A value as DVC gives it (booleans as words, integers as floats) in the type of another."""
    if isinstance(like, bool):
        return str(value) == "True"
    return int(value) if isinstance(like, int) else value


def table(experiments: list[Experiment]) -> str:
    """A Markdown table, a row per set of changes; of two runs of one seed the first counts."""
    groups: dict[str, dict[int, Experiment]] = {}
    for experiment in sorted(experiments, key=_order):
        groups.setdefault(experiment.name, {}).setdefault(experiment.seed, experiment)
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


def _order(experiment: Experiment) -> tuple[int, str]:
    """The default, then presets by name, then what else was changed."""
    name = experiment.name
    return (0 if name == "default" else 2 if "=" in name else 1), name


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
    """Adds runs to a CSV file; a run of the same name and seed takes the old one's place.

    Of several of these among the new ones, the first counts, as in the table.
    """
    kept = {(e.name, e.seed): e for e in (recorded(path) if path.exists() else [])}
    kept |= {(e.name, e.seed): e for e in reversed(experiments)}
    ordered = sorted(kept.values(), key=lambda e: (_order(e), e.seed))
    rows = [{"name": e.name, "seed": e.seed} | e.metrics for e in ordered]
    with atomic_file(path) as part:
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
                str(row.pop("name")),
                int(row.pop("seed")),
                {str(name): float(value) for name, value in row.items() if pd.notna(value)},
            )
            for row in rows
        ]
    except (KeyError, ValueError, TypeError) as error:  # pandas' own are ValueErrors
        raise ValueError(f"{path} is not a table of recorded runs: {error!r}") from error


def _of_commit() -> list[Experiment]:
    """The commit's own run and the experiments that start from it.

    Raises:
        ValueError: there is no commit, or DVC cannot show them.
    """
    # Two seconds to import, that a recorded table need not wait for.
    from dvc.api import exp_show
    from dvc.exceptions import DvcException

    default = committed_params()
    try:
        return of_rows(exp_show(), default)
    except DvcException as error:
        raise ValueError(f"DVC cannot show experiments: {error}") from error


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline compare", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the runs to a CSV file")
    parser.add_argument("--recorded", type=Path, metavar="FILE", help="print the table of a file")
    options = parser.parse_args(argv)
    try:
        experiments = recorded(options.recorded) if options.recorded else _of_commit()
        if options.record:
            record(experiments, options.record)
    except (ParamsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(experiments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
