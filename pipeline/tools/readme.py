"""Writes the recorded numbers into ``README.md`` and ``docs/results.md``.

``make docs`` runs it. The numbers are those that
``python -m pipeline compare --recorded docs/experiments.csv`` prints: its whole table, and the
default's value in every row of a document that names a metric as ``(`metric`...)``.
"""

import re
from pathlib import Path

from pipeline.tools.compare import COLUMNS, recorded, table

RECORDED = Path("docs/experiments.csv")
DOCUMENTS = (Path("README.md"), Path("docs/results.md"))
HEAD = "| what was changed |"


def default_values(printed: str) -> dict[str, str]:
    """Reads the default's value of each metric from a printed table.

    Raises:
        ValueError: the table has no row of the default.
    """
    for line in printed.splitlines():
        name, _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if name == "default":
            return dict(zip(COLUMNS, cells, strict=True))
    raise ValueError(f"{RECORDED} has no run of the default")


def update(text: str, printed: str) -> str:
    """Replaces the recorded numbers in a document.

    Args:
        text: The document.
        printed: The table of all recorded runs.
    """
    for metric, value in default_values(printed).items():
        row = re.compile(rf"^(\|[^|]*\(`{re.escape(metric)}`[^|]*\|)[^|]*\|", re.MULTILINE)
        text = row.sub(rf"\1 {value} |", text)
    if HEAD in text:
        start = text.index(HEAD)
        text = text[:start] + printed + text[text.index("\n\n", start) :]
    return text


def main() -> None:
    """Updates the documents in place."""
    printed = table(recorded(RECORDED))
    for document in DOCUMENTS:
        document.write_text(update(document.read_text(), printed))


if __name__ == "__main__":
    main()
