"""Prints the metrics of the model on disk, one per line; ``--all`` prints every metric.

``python -m pipeline results`` reads ``reports/metrics.json``. The first line says whose numbers
they are: of the model in ``models/``, or recorded ones that came with the repository.
"""

import argparse
import sys
from typing import Any

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import METRICS, MODEL, PREPARED
from vaegan.evaluation.metrics import ARROWS, HEADLINES, described_keys
from vaegan.evaluation.metrics import METRICS as ROWS
from vaegan.model.vae import weights_digest

SHOWN = 12  # digits of a digest


def origin(results: dict[str, Any]) -> str:
    """Says whose numbers these are, in a line.

    Args:
        results: Content of ``reports/metrics.json``.
    """
    model, dataset = str(results.get("model/digest")), results.get("dataset")
    if not MODEL.is_dir():
        return f"recorded numbers: there is no {MODEL}/ here; dvc repro makes your own"
    ours = weights_digest(MODEL)
    if ours != model:
        return (
            f"recorded numbers of the model {model[:SHOWN]}, not of the model {ours[:SHOWN]} in "
            f"{MODEL}/, which has not been measured; dvc repro measures it"
        )
    if PREPARED.is_dir() and (found := read_dataset().name) != dataset:
        return f"recorded numbers on {dataset}: {PREPARED}/ holds {found} now; dvc repro measures"
    return f"the model in {MODEL}/ ({ours[:SHOWN]})"


def describe(results: dict[str, Any], everything: bool = False) -> list[str]:
    """Formats metrics, one per line: group, words, value and 95 % interval.

    Args:
        results: Content of ``reports/metrics.json``.
        everything: Whether to list all metrics with their keys, not only the headlines.
    """
    rows, group = [], ""
    for key, metric in described_keys(ROWS if everything else HEADLINES, results):
        if metric.group == "intervals":
            continue
        ends = [results.get(f"interval/{key}_{end}") for end in ("low", "high")]
        interval = "" if None in ends else f"{ends[0]:.4f} to {ends[1]:.4f}"
        words = key if everything else metric.words_of(key, results) + ARROWS[metric.better]
        shown = metric.group if metric.group != group else ""
        group = metric.group
        rows.append(f"{shown:15} {words:48} {_number(results[key]):>8}   {interval}".rstrip())
    return rows


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline results", description=__doc__)
    parser.add_argument("--all", action="store_true", help="print every metric, by its key")
    parser.add_argument("--origin", action="store_true", help="print only whose numbers they are")
    options = parser.parse_args(argv)
    try:
        results = read_json(METRICS)
        if not isinstance(results, dict):
            raise ValueError(f"{METRICS} is not a table of metrics")
        if options.origin:
            print(f"{METRICS}: {origin(results)}")
            return 0
        print(origin(results))
        print("\n".join(describe(results, options.all)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    about = f"{results.get('dataset')}, {results.get('split')} images"
    about += ", quick evaluation: not comparable with full ones" if "effort" in results else ""
    print(f"\n{about}; verdict: {results.get('verdict')}; gates: {results.get('gates')}")
    print("↑ higher is better, ↓ lower is better; right: 95 % interval")
    return 0


if __name__ == "__main__":
    sys.exit(main())
