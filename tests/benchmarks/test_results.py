"""docs/benchmarks.md shows the recorded results."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as bench

ROOT = Path(__file__).parents[2]
RECORDED = sorted(path.stem for path in bench.RESULTS.glob("*.json"))


def test_the_table_in_the_document_equals_the_recorded_results():
    assert len(bench.table(bench.RESULTS).splitlines()) > 2 + len(RECORDED)
    assert bench.published() in bench.DOCUMENT.read_text()


def test_every_result_belongs_to_an_existing_benchmark():
    assert set(RECORDED) <= set(bench.NAMES)
    assert {"step", "plain", "quality"} <= set(RECORDED)
    for name in bench.NAMES:
        assert (ROOT / f"benchmarks/{name}.py").exists()


@pytest.mark.parametrize("name", RECORDED)
def test_results_state_their_command_and_machine(name):
    content = bench.read(name, bench.RESULTS)
    assert content["command"] == f"python -m benchmarks {name}"
    assert content["machine"]["cores"] >= 1
    assert str(ROOT) not in json.dumps(content)
