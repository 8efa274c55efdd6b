"""The numbers in the documents are the recorded ones."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.tools import compare, readme
from pipeline.tools.compare import COLUMNS, recorded, table

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\|[^|]*\(`([a-z_0-9/]+)`[^|]*\|([^|]*)\|", re.MULTILINE)
SEEDS = 3  # of the default, at least


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def values() -> dict[str, str]:
    return readme.default_values(table(recorded(readme.RECORDED)))


def rows(document: str) -> dict[str, str]:
    return {metric: value.strip() for metric, value in ROW.findall(Path(document).read_text())}


def test_the_results_show_the_recorded_table(capsys):
    assert compare.main(["--recorded", "docs/experiments.csv"]) == 0
    assert capsys.readouterr().out.strip() in Path("docs/results.md").read_text()


def test_the_headline_numbers_of_the_results_are_the_recorded_ones(values):
    assert rows("docs/results.md") == values
    assert set(values) == set(COLUMNS)
    assert all("±" in value for value in values.values())


def test_the_readme_has_six_headline_rows_with_the_recorded_numbers(values):
    shown = rows("README.md")
    assert len(shown) == 6
    assert shown == {metric: values[metric] for metric in shown}


def test_the_default_was_recorded_under_three_seeds_or_more():
    (line,) = [
        line
        for line in table(recorded(readme.RECORDED)).splitlines()
        if line.startswith("| default |")
    ]
    assert int(line.split("|")[2]) >= SEEDS


def test_recorded_numbers_replace_those_in_the_documents_and_nothing_else(tmp_path, monkeypatch):
    before = {path: path.read_text() for path in readme.DOCUMENTS}
    (tmp_path / "docs").mkdir()
    shutil.copy(readme.RECORDED, tmp_path / readme.RECORDED)
    monkeypatch.chdir(tmp_path)
    for path, text in before.items():
        stale = ROW.sub(lambda row: row[0].replace(row[2], " stale "), text)
        stale = re.sub(r"^\| default \|.*$", "| default | stale |", stale, flags=re.MULTILINE)
        assert stale.count("stale") >= 6
        path.write_text(stale)
    readme.main()
    assert {path: path.read_text() for path in readme.DOCUMENTS} == before


def test_a_record_without_the_default_is_refused():
    with pytest.raises(ValueError, match="has no run of the default"):
        readme.default_values("| what was changed | seeds |\n| --- | --- |")
