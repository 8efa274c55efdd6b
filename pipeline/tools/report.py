"""Writes the report on the model on disk: one HTML file that opens anywhere, without a network.

It reads what the stages wrote: data set, model, codes, classifier, metrics and figures.
"""

import argparse
import sys
from pathlib import Path

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import REPORT
from pipeline.params import load_params
from pipeline.report.content import build_report
from vaegan.devices import configure_torch


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline report", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=REPORT, metavar="FILE")
    options = parser.parse_args(argv)
    configure_torch(1)
    try:
        text = build_report(load_params().evaluate.gates)
        with atomic_file(options.output) as part:
            part.write_text(text, encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output.resolve()} ({options.output.stat().st_size / 2**20:.1f} MiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
