"""Runs benchmarks, each in a process of its own, and writes what they found.

``python -m benchmarks`` runs all; ``python -m benchmarks step encode`` these two. Results go to
``benchmarks/latest``, which git ignores. ``--table`` runs nothing and prints the table of what
is there; ``--publish`` takes it over into ``benchmarks/results`` and the README. Run from the
repository, after ``dvc repro``: the benchmarks read its data, model and codes.
"""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import BEGUN, LATEST, Result, machine

RESULTS = Path(__file__).parent / "results"
README = Path("README.md")
# In the order of the table. "gpu" is skipped where there is no CUDA device.
NAMES = ("step", "plain", "quality", "encode", "overhead", "growth", "gpu")


def run_here(name: str) -> None:
    """Runs one benchmark in this process and writes ``latest/NAME.json``."""
    module = importlib.import_module(f"benchmarks.{name}")
    results: list[Result] = module.run()
    if not results:  # no such device here: what another machine found stays
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
    """What a benchmark wrote when it last ran; None if it never did."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(folder: Path, names: tuple[str, ...] = NAMES) -> str:
    """All results in a folder as a Markdown table, one row per quantity."""
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
    """Three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.6f}".rstrip("0") if "e" in text else text


def publish() -> None:
    """Takes the latest results over into ``results``, and their table into the README."""
    for path in LATEST.iterdir():
        shutil.copyfile(path, RESULTS / path.name)
    text = README.read_text()
    head = text.index("| benchmark | quantity |")
    tail = text.index("\n\n", head)
    README.write_text(text[:head] + table(RESULTS) + text[tail:])


def main() -> int:
    """Command line; returns 0, or 1 where a benchmark broke (a missed target is a result)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="default: all of them")
    parser.add_argument("--table", action="store_true", help="print the results on disk")
    parser.add_argument("--publish", action="store_true", help="take them over into the README")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    broken = []
    for name in () if options.table or options.publish else options.names or NAMES:
        if options.here:
            run_here(name)
            continue
        print(f"benchmark {name} ...", file=sys.stderr, flush=True)
        # A process each: memory, threads and allocator are those of a fresh start.
        child = [sys.executable, "-m", "benchmarks", "--here", name]
        environment = os.environ | {BEGUN: str(time.time())}
        if subprocess.run(child, env=environment).returncode:
            broken.append(name)
    if not options.here:
        print(table(LATEST, tuple(options.names) or NAMES))
    if options.publish:
        publish()
    if broken:
        print(f"error: these benchmarks broke off: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
