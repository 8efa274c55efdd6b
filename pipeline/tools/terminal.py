"""Tables for a terminal, which is 80 columns wide or a little more."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

NAME_WIDTH, CELL_WIDTH = 25, 16  # of the first column, and of the others


def fitting(markdown: str, width: int) -> str:
    """Turns a Markdown table: a line per column, in parts that are no wider than a terminal.

    Args:
        markdown: A table whose first column names its rows.
        width: Of the terminal, in characters.
    """
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()
    )
    at_once = max(1, (width - NAME_WIDTH) // (CELL_WIDTH + 2))
    console = Console(width=width)
    with console.capture() as captured:
        for start in range(0, len(rows), at_once):
            shown = rows[start : start + at_once]
            part = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
            part.add_column(head[0], max_width=NAME_WIDTH, overflow="fold")
            for name, *_ in shown:
                part.add_column(Text(name), max_width=CELL_WIDTH, overflow="fold")
            for cells in list(zip(head, *shown, strict=True))[1:]:
                part.add_row(*map(Text, cells))
            console.print(part)
            console.print()
    return captured.get().rstrip()
