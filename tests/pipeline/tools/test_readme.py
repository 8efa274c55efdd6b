"""The numbers in the documents are the recorded ones."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from pipeline.tools import compare, readme
from pipeline.tools.compare import COLUMNS, recorded, table

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^(\|[^|]*\(`([a-z_0-9/]+)`[^|]*\|)([^|]*)\|[^|]*\|[^|]*\|$", re.MULTILINE)
PRINTED = "| default | 3 | " + " | ".join(["1"] * len(COLUMNS)) + " |"
SEEDS = 3  # of the default, at least


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def values() -> dict[str, str]:
    return readme.default_values(table(recorded(readme.RECORDED)))


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    with contextlib.chdir(ROOT):
        return readme.facts()


def rows(document: str) -> dict[str, str]:
    found = ROW.findall(Path(document).read_text())
    return {metric: value.strip() for _, metric, value in found}


def test_the_results_show_the_recorded_table(capsys):
    assert compare.main(["--recorded", "docs/experiments.csv"]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed) > 3
    assert "\n".join(printed) in Path("docs/results.md").read_text()


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


def test_stale_numbers_in_the_documents_are_replaced_and_nothing_else(tmp_path, monkeypatch):
    before = {path: path.read_text() for path in readme.documents()}
    for source in (
        readme.RECORDED,
        readme.SETS,
        readme.REFERENCES,
        readme.RESULTS,
        Path("params.yaml"),
    ):
        (tmp_path / source).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / source)
    monkeypatch.chdir(tmp_path)
    for path, text in before.items():
        stale = ROW.sub(lambda row: f"{row[1]} stale | stale | stale |", text)
        stale = readme.SETS_TABLE.sub("stale", stale)
        stale = re.sub(r"^\| default \|.*$", "| default | stale |", stale, flags=re.MULTILINE)
        stale = readme.FACT.sub(lambda fact: fact[0].replace(fact["value"], "stale"), stale)
        if path.name in ("README.md", "results.md"):
            assert stale.count("stale") >= 20
        path.write_text(stale)
    readme.main()
    assert {path: path.read_text() for path in readme.documents()} == before


@pytest.mark.parametrize("document", map(str, readme.documents()))
def test_the_documents_state_what_their_sources_say(document, known):
    text = Path(document).read_text()
    assert readme.update(text, table(recorded(readme.RECORDED)), known) == text


def test_a_fact_without_a_source_is_rejected(known):
    with pytest.raises(ValueError, match="<!-- default leakage/meen --> names no fact"):
        readme.update("<!-- default leakage/meen -->0.1<!-- / -->", PRINTED, known)


def test_a_fact_may_be_broken_over_lines(known):
    text = "It is <!-- default\n  leakage/mean -->0.9<!-- / --> now."
    expected = text.replace("0.9", known["default leakage/mean"])
    assert readme.update(text, PRINTED, known) == expected


@pytest.mark.parametrize(
    ("value", "text"), [(0.71, "0.710"), (278.3, "278"), (33.44, "33.4"), (0.014967, "0.0150")]
)
def test_a_fact_has_three_significant_digits(value, text):
    assert readme.three_digits(value) == text


@pytest.mark.parametrize("run", ["default", "pairs"])
def test_the_runs_that_are_said_to_meet_all_targets_do(run):
    assert run == "default" or f"so does `{run}`" in Path("docs/results.md").read_text()
    runs = recorded(readme.RECORDED).query("name == @run")
    for metric, (_, target) in readme.references().items():
        relation, bound = target.split()
        mean = runs[metric].mean()
        assert mean <= float(bound) if relation == "≤" else mean >= float(bound), metric


def test_a_record_without_the_default_is_rejected():
    with pytest.raises(ValueError, match="has no run of the default"):
        readme.default_values("| what was changed | seeds |\n| --- | --- |")
