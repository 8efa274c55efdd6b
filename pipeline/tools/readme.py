"""Writes recorded numbers into the documents, so that a number is stated in one source only.

``make docs`` runs it. A document marks a number with the name of its fact::

    Training takes <!-- training -->278 s<!-- / -->.

The sources are ``docs/experiments.csv`` (recorded runs on MNIST), ``docs/sets.csv`` (those on other
sets), ``docs/references.csv`` (released models and targets), ``benchmarks/results``,
``params.yaml`` and, for what no command records, ``OBSERVED``.
In tables, a row that names a metric as ``(`metric`...)`` gets the default's value, the best
released model's and the target; the tables of recorded runs are replaced as a whole.
"""

import json
import re
from pathlib import Path

import pandas as pd

from pipeline.artifacts.figures import REFERENCES
from pipeline.params import Params, load_params
from pipeline.sections import flat
from pipeline.tools.compare import COLUMNS, recorded, table, table_of_few
from pipeline.tools.estimate import MINUTES

RECORDED, SETS = Path("docs/experiments.csv"), Path("docs/sets.csv")
RESULTS = Path("benchmarks/results")
HEAD = "| what was changed | seeds |"  # of the table of RECORDED
SETS_TABLE = re.compile(r"(?<=<!-- sets -->\n).*?(?=\n<!-- /sets -->)", re.DOTALL)
FACT = re.compile(r"<!-- (?P<name>[^>]+?) -->(?P<value>[^<]*)<!-- / -->")

# Measured by hand on two CPU cores, unless the name says otherwise.
OBSERVED = {
    "disk of the environment": "6 GB",
    "set-up": "75 s",
    "first run": MINUTES["bfloat16"],
    "first run without bfloat16": MINUTES["float32"],
    "evaluation": "2 minutes",
    "make quick": "two minutes",
    "make bench": "three quarters of an hour",
    "make frontier": "three quarters of an hour",
    "make frontier on an H100": "three minutes",
}
# Benchmark and quantity that a fact is taken from.
MEASURED = {
    "training": ("quality", "seconds of the whole default training"),
    "training on an H100": ("gpu", "seconds of the whole default training"),
}
# Recorded runs of one seed that differ in rounding only.
MACHINES = ("default", 'train.precision="float32"', "train.threads=1")


def documents() -> list[Path]:
    """Lists the documents, the notebook included, relative to the repository's root."""
    return [
        Path("README.md"),
        Path("CONTRIBUTING.md"),
        *sorted(Path("docs").glob("*.md")),
        *sorted(Path("docs").glob("*.ipynb")),
    ]


def facts() -> dict[str, str]:
    """Reads every fact from its source; returns its text by name.

    The names are those of ``OBSERVED`` and ``MEASURED``; the dotted key of a parameter;
    ``RUN METRIC``, the mean over the seeds of a recorded run, and ``RUN seed 0 METRIC``;
    ``between machines METRIC``, a range over the runs ``MACHINES``; ``frontier UNSPECIFIED_KL
    ALIGNMENT METRIC``, a point of ``benchmarks/results/frontier.csv``.
    """
    found = OBSERVED | {"headline metrics": str(len(COLUMNS))}
    found |= {key: f"{value:,}" for key, value in numbers(load_params()).items()}
    for name, (benchmark, quantity) in MEASURED.items():
        rows = json.loads((RESULTS / f"{benchmark}.json").read_text())["results"]
        (row,) = [row for row in rows if row["name"] == quantity]
        found[name] = f"{three_digits(row['value'])} {row['unit']}"
    runs = recorded(RECORDED)
    for run, seeds in pd.concat([runs, recorded(SETS)]).groupby("name"):
        for metric in seeds.columns.drop(["name", "seed", "protocol"]):
            found[f"{run} {metric}"] = three_digits(seeds[metric].mean())
            first = seeds.loc[seeds["seed"] == 0, metric]
            found[f"{run} seed 0 {metric}"] = three_digits(first.mean())
    machines = runs[runs["name"].isin(MACHINES) & (runs["seed"] == 0)]
    for metric in machines.columns.drop(["name", "seed", "protocol"]):
        low, high = three_digits(machines[metric].min()), three_digits(machines[metric].max())
        found[f"between machines {metric}"] = f"{low} to {high}" if low != high else low
    for row in pd.read_csv(RESULTS / "frontier.csv").to_dict("records"):
        point = f"frontier {row.pop('unspecified_kl'):g} {row.pop('alignment'):g}"
        found |= {f"{point} {name}": three_digits(value) for name, value in row.items()}
    return found


def numbers(params: Params) -> dict[str, int | float]:
    """Returns the parameters that are numbers, by dotted key."""
    return {
        key: value
        for key, value in flat(params).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def three_digits(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def references() -> dict[str, tuple[str, str]]:
    """Reads the best released model's value and the target, as cells of a table, by metric."""
    rows = pd.read_csv(REFERENCES, dtype=str).to_dict("records")
    return {
        row["metric"]: (f"{row['best released']} ({row['model']})", row["target"]) for row in rows
    }


def default_values(printed: str) -> dict[str, str]:
    """Reads the default's value of each metric from a printed table.

    Raises:
        ValueError: the table has no row of the default.
    """
    for line in printed.splitlines():
        name, _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if name == "default":
            return dict(zip(COLUMNS, cells, strict=False))  # known style factors follow
    raise ValueError(f"{RECORDED} has no run of the default")


def update(text: str, printed: str, known: dict[str, str]) -> str:
    """Replaces the recorded numbers in a document.

    Args:
        text: The document.
        printed: The table of all recorded runs.
        known: Text of each fact by name.

    Raises:
        ValueError: the document marks a number with the name of no fact.
    """

    def fact(marked: re.Match[str]) -> str:
        name = " ".join(marked["name"].split())
        if name not in known:
            raise ValueError(f"<!-- {name} --> names no fact; pipeline/tools/readme.py has them")
        return marked[0].replace(f"-->{marked['value']}<!--", f"-->{known[name]}<!--")

    text = FACT.sub(fact, text)
    cells = references()
    for metric, value in default_values(printed).items():
        row = re.compile(rf"^(\|[^|]*\(`{re.escape(metric)}`[^|]*\|).*\|$", re.MULTILINE)
        text = row.sub(rf"\1 {' | '.join((value, *cells[metric]))} |", text)
    if HEAD in text:
        start = text.index(HEAD)
        text = text[:start] + printed + text[text.index("\n\n", start) :]
    return SETS_TABLE.sub(lambda _: sets_table(), text)


def sets_table() -> str:
    """Formats the recorded runs on other sets; a protocol per set is no reason for a mark."""
    return table_of_few(recorded(SETS).assign(protocol=""))


def main() -> None:
    """Updates the documents in place."""
    printed, known = table(recorded(RECORDED)), facts()
    for document in documents():
        text = document.read_text()
        if (updated := update(text, printed, known)) != text:
            document.write_text(updated)


if __name__ == "__main__":
    main()
