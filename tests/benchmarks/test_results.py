"""What the README says of speed is what the benchmarks wrote."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as bench

ROOT = Path(__file__).parents[2]
ON_EVERY_MACHINE = [name for name in bench.NAMES if name != "gpu"]


def test_the_readmes_table_is_the_one_that_the_results_give():
    table = bench.table(bench.RESULTS)
    assert len(table.splitlines()) > 2 + len(ON_EVERY_MACHINE)
    assert table in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ON_EVERY_MACHINE)
def test_results_name_their_command_and_one_machine(name):
    content = bench.read(name, bench.RESULTS)
    assert content["command"] == f"python -m benchmarks {name}"
    assert content["machine"] == bench.read("step", bench.RESULTS)["machine"]
    assert content["machine"]["cores"] >= 1
    assert str(ROOT) not in json.dumps(content)
