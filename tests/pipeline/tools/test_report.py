import shutil
from types import SimpleNamespace

import pytest

from pipeline.artifacts.paths import MODEL
from pipeline.report.content import Inputs
from pipeline.tools import report
from pipeline.tracking import champion
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.outputs import results


@pytest.fixture
def params(workspace):
    shutil.copy(SHIPPED, "params.yaml")


def test_the_command_writes_the_page_with_what_the_store_knows(
    measured, params, monkeypatch, capsys
):
    monkeypatch.setattr(report, "store_facts", lambda inputs: inputs.digest)
    monkeypatch.setattr(
        report, "build_report", lambda _, gates, facts: f"é {gates.transfer} {facts}"
    )
    assert report.main(["-o", "page.html"]) == 0
    digest = Inputs.read().digest
    assert (measured / "page.html").read_text() == f"é 0.95 {digest}"
    assert str(measured / "page.html") in capsys.readouterr().out


def test_a_missing_model_is_told_in_a_line_and_the_old_page_is_kept(workspace, params, capsys):
    shutil.rmtree(MODEL)
    old = workspace / "old.html"
    old.write_text("mine")
    assert report.main(["-o", str(old)]) == 1
    assert capsys.readouterr().err == "error: there is no model in models/: dvc repro trains one\n"
    assert old.read_text() == "mine"


def test_the_origin_comes_from_the_version_and_another_model_is_the_champion(
    told, measured, monkeypatch
):
    told.train()
    inputs = Inputs.read()
    own = report.store_facts(inputs)
    assert own.origin["version"] == "1 of vaegan"
    assert own.origin["begun"].endswith(" UTC")
    assert {"cpu", "python", "libraries"} <= own.origin.keys()
    assert own.champion == ""  # there is none
    champion.consider(
        inputs.digest, results("") | {"gates": "passed", "champion_by": "leakage/mean"}
    )
    assert champion.champion_of("bars") is not None
    assert report.store_facts(inputs) == own  # it is the model itself
    other = SimpleNamespace(**vars(inputs) | {"digest": "another"})
    found = report.store_facts(other)
    assert (found.champion, found.origin) == ("version 1", {})
    assert found.metrics["loss"] == 1.0
    other.results = inputs.results | {"protocol": "another"}
    assert report.store_facts(other).champion == ""
