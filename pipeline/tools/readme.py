"""Writes the recorded runs' numbers into the README: the headline table and that of presets.

``make docs`` runs it; the numbers are those that
``python -m pipeline compare --recorded docs/experiments.csv`` prints.
"""

import re
from pathlib import Path

from pipeline.tools.compare import COLUMNS, interval, recorded, table

RECORDED = Path("docs/experiments.csv")
README = Path("README.md")


def main() -> None:
    """Replaces what stands there, in place."""
    experiments = recorded(RECORDED)
    text = README.read_text()
    default = experiments[experiments["name"] == "default"]
    for metric in COLUMNS:
        value = interval(default[metric].tolist())
        row = re.compile(rf"^(\|[^|]*\(`{metric}`[^|]*\|)[^|]*\|", re.MULTILINE)
        text, count = row.subn(rf"\1 {value} |", text)
        if count != 1:
            raise ValueError(f"{README} has {count} rows of {metric}, expected one")
    head = text.index("| what was changed |")
    README.write_text(text[:head] + table(experiments) + text[text.index("\n\n", head) :])


if __name__ == "__main__":
    main()
