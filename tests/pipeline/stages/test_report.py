"""The stage report: equal inputs give equal bytes, and it starts without what computes metrics."""

import json
import subprocess
import sys

import pytest

from pipeline.artifacts.files import ArtifactError
from pipeline.artifacts.paths import METRICS, REPORT
from pipeline.params import load_params
from pipeline.report import failures
from pipeline.stages import report
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.stages.test_pictures import JOURNAL
from tests.pipeline.test_dvc_yaml import ROOT, STAGES

PARAMS = load_params(SHIPPED).evaluate


def test_the_stage_writes_equal_bytes_for_equal_inputs(measured, monkeypatch):
    monkeypatch.setattr(failures, "TRIED", 50)
    summary = report.run(PARAMS, JOURNAL)
    first = REPORT.read_bytes()
    assert summary["bytes"] == len(first)
    REPORT.unlink()
    assert report.run(PARAMS, JOURNAL) == summary
    assert REPORT.read_bytes() == first


def test_without_its_inputs_the_old_page_is_kept(measured):
    REPORT.write_text("mine")
    METRICS.write_text(json.dumps({"model/digest": "another"}))
    with pytest.raises(ArtifactError, match=r"metrics\.json is of another model"):
        report.run(PARAMS, JOURNAL)
    assert REPORT.read_text() == "mine"


def test_the_templates_that_it_reads_are_dependencies_of_it_alone():
    templates = {"pipeline/report/report.html", "pipeline/report/style.css"}
    for name, stage in STAGES.items():
        assert templates & set(stage["deps"]) == (templates if name == "report" else set())
    assert all((ROOT / name).is_file() for name in templates)


def test_importing_it_loads_neither_probes_nor_plots_nor_the_tracker():
    code = "import sys, pipeline.stages.report; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "torch" in loaded
    assert not {"sklearn", "matplotlib", "mlflow", "scipy.stats", "pandas"} & set(loaded)
