"""Runs benchmarks, each in its own process, and writes their results.

``python -m benchmarks`` runs all; ``python -m benchmarks step together`` these two. Results go to
``benchmarks/latest``, which git ignores. ``--table`` only prints the table of these results;
``--publish`` copies them to ``benchmarks/results`` and the table of all results to
``docs/benchmarks.md``. Run from the repository, after ``dvc repro``: the benchmarks read its
data, model and codes.
"""

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import LATEST, Result, machine

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs/benchmarks.md"
START, END = "<!-- table -->", "<!-- /table -->"  # lines of the document
# In the order of the table. "gpu" needs a CUDA device, "explorer" Chromium: without, no results.
NAMES = (
    "step",
    "plain",
    "quality",
    "float32",
    "encode",
    "ruler",
    "together",
    "overhead",
    "growth",
    "intake",
    "explorer",
    "gpu",
)


def run_here(name: str) -> None:
    """Runs one benchmark in this process and writes ``latest/NAME.json``."""
    module = importlib.import_module(f"benchmarks.{name}")
    results: list[Result] = module.run()
    if not results:  # no such device here: another machine's results stay
        return
    content = {
        "benchmark": name,
        "command": f"python -m benchmarks {name}",
        "about": " ".join((module.__doc__ or "").split("\n\n")[0].split()),
        "machine": machine(),
        "results": [asdict(result) | {"met": result.met} for result in results],
    }
    LATEST.mkdir(exist_ok=True)
    (LATEST / f"{name}.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read(name: str, folder: Path) -> dict[str, Any] | None:
    """Reads the results of a benchmark; None if there are none."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(folder: Path, names: tuple[str, ...] = NAMES) -> str:
    """Returns all results in a folder as a Markdown table, one row per quantity."""
    lines = ["| benchmark | quantity | measured | target |", "| --- | --- | --- | --- |"]
    for name in names:
        for row in (read(name, folder) or {"results": []})["results"]:
            unit = f" {row['unit']}" if row["unit"] else ""
            target = ""
            if row["target"]:
                relation, bound = row["target"]
                sign = {"<=": "≤", ">=": "≥"}[relation]
                target = f"{sign} {number(bound)}{unit}" + ("" if row["met"] else ", **missed**")
            lines.append(f"| `{name}` | {row['name']} | {number(row['value'])}{unit} | {target} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Formats a number with three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.6f}".rstrip("0") if "e" in text else text


def machines(folder: Path) -> str:
    """Returns a Markdown list of the machines that gave the results in a folder."""
    names: dict[str, list[str]] = {}
    for name in NAMES:
        if content := read(name, folder):
            about = content["machine"]
            words = [about["cpu"], f"{about['cores']} cores", f"{about['memory_gib']} GiB"]
            words += about["instructions"] + [about["gpu"]] * bool(about["gpu"])
            line = ", ".join([*words, f"Python {about['python']}", f"torch {about['torch']}"])
            names.setdefault(line, []).append(f"`{name}`")
    return "\n".join(f"- {', '.join(measured)}: {line}." for line, measured in names.items())


def published() -> str:
    """Returns the part of the document that the results determine, markers included."""
    return f"{START}\n{table(RESULTS)}\n\n{machines(RESULTS)}\n{END}"


def publish() -> None:
    """Copies the latest results to ``results``, and writes their table into the document.

    Raises:
        ValueError: the document lacks the lines between which the table stands.
    """
    text = DOCUMENT.read_text()
    if START not in text or END not in text:
        raise ValueError(f"{DOCUMENT}: expected the lines {START} and {END}")
    for path in LATEST.glob("*"):
        shutil.copyfile(path, RESULTS / path.name)
    before, after = text.split(START)[0], text.split(END)[1]
    DOCUMENT.write_text(before + published() + after)


def main() -> int:
    """Runs the command; returns 0, or 1 if a benchmark failed (a missed target is a result)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="default: all of them")
    parser.add_argument("--table", action="store_true", help="print the latest results")
    parser.add_argument("--publish", action="store_true", help="copy them to the document")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    failed = []
    for name in () if options.table or options.publish else options.names or NAMES:
        if options.here:
            run_here(name)
            continue
        print(f"benchmark {name} ...", file=sys.stderr, flush=True)
        # Its own process: memory, threads and allocator are those of a fresh start.
        if subprocess.run([sys.executable, "-m", "benchmarks", "--here", name]).returncode:
            failed.append(name)
    if not options.here:
        print(table(LATEST, tuple(options.names) or NAMES))
    if options.publish:
        publish()
    if failed:
        print(f"error: these benchmarks failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
