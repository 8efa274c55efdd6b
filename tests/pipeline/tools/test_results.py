"""The metrics of the model on disk, one per line, and whose they are."""

import json
from pathlib import Path

import pytest

from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import METRICS, MODEL
from pipeline.tools import results
from vaegan.evaluation.metrics import HEADLINES, described_keys, find_metric
from vaegan.model.vae import weights_digest

COMMITTED = json.loads((Path(__file__).parents[3] / "reports/metrics.json").read_text())


@pytest.fixture
def printed(workspace, capsys):
    """A function that prints metrics like the committed ones, with changes, of the model here."""

    def run(*options: str, **changes: object) -> list[str]:
        own = {"model/digest": weights_digest(MODEL)} if MODEL.is_dir() else {}
        write_json(METRICS, COMMITTED | {"dataset": "bars"} | own | changes)
        capsys.readouterr()
        assert results.main(list(options)) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_each_headline_has_a_line_with_its_words_direction_value_and_interval(printed):
    first, *lines, empty, verdict, _ = printed()
    assert first == f"the model in models/ ({weights_digest(MODEL)[:12]})"
    assert len(lines) == len(described_keys(HEADLINES, COMMITTED)) > 10
    assert all(len(line) <= 100 for line in lines)
    (leakage,) = [line for line in lines if "strongest probe on means" in line]
    value, low, high = (
        COMMITTED[key]
        for key in (
            "leakage/mean",
            "interval/leakage/mean_low",
            "interval/leakage/mean_high",
        )
    )
    shown = f"class in z strongest probe on means ↓ {value:.4f} {low:.4f} to {high:.4f}"
    assert " ".join(leakage.split()) == shown
    assert empty == ""
    assert verdict == "bars, test images; verdict: sound; gates: passed"


def test_all_prints_every_metric_once_by_its_key(printed):
    lines = printed("--all")
    keys = [key for key, value in COMMITTED.items() if isinstance(value, int | float)]
    for key in (key for key in keys if find_metric(key) and not key.startswith("interval/")):
        assert sum(f" {key} " in line for line in lines) == 1, key


def test_numbers_that_are_not_those_of_the_model_here_are_called_recorded(printed):
    assert printed(dataset="mnist")[0].startswith("recorded numbers on mnist: data/prepared/ holds")
    ours = weights_digest(MODEL)[:12]
    line = printed(**{"model/digest": "f" * 64})[0]
    assert line.startswith(f"recorded numbers of the model {'f' * 12}, not of the model {ours} in")
    MODEL.rename("elsewhere")
    assert printed()[0].startswith("recorded numbers: there is no models/ here; dvc repro makes")


def test_without_metrics_or_with_others_a_line_says_so(workspace, capsys):
    assert results.main([]) == 1
    assert "error: reports/metrics.json is missing" in capsys.readouterr().err
    METRICS.parent.mkdir(exist_ok=True)
    METRICS.write_text("{")
    assert results.main([]) == 1
    assert "error: reports/metrics.json is not JSON" in capsys.readouterr().err
    METRICS.write_text("[]")
    assert results.main([]) == 1
    assert "error: reports/metrics.json is not a table of metrics" in capsys.readouterr().err
