"""The menus: what a person reads first."""

import subprocess
from pathlib import Path

from pipeline.__main__ import MENU, STAGES, TOOLS, usage

ROOT = Path(__file__).parents[2]
ORDER = ("first run", "look", "compare", "use", "share")


def in_order(text: str) -> bool:
    """Whether the headings of the menu follow each other."""
    headings = [line for line in text.splitlines() if line and not line.startswith(" ")]
    found = [word for line in headings for word in ORDER if line.startswith(word)]
    return found == list(ORDER)


def test_every_command_stands_once_in_the_menu_which_goes_from_first_run_to_sharing():
    listed = [name for names in MENU.values() for name in names]
    assert sorted(listed) == sorted(STAGES | TOOLS)
    assert in_order(usage())


def test_make_help_has_the_same_order_and_every_target_with_a_description():
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True)
    assert in_order(done.stdout)
    described = [line for line in (ROOT / "Makefile").read_text().splitlines() if ":  ##" in line]
    described += [
        line for line in (ROOT / "Makefile").read_text().splitlines() if "setup  ##" in line
    ]
    names = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {line.partition(":")[0] for line in described} <= names
