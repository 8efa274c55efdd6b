import shutil

from pipeline.artifacts.paths import MODEL, REPORT
from pipeline.tools import report
from tests.pipeline.conftest import SHIPPED


def test_the_command_writes_the_report_and_says_where(workspace, monkeypatch, capsys):
    shutil.copy(SHIPPED, "params.yaml")
    monkeypatch.setattr(report, "build_report", lambda gates: f"é {gates.transfer}")
    assert report.main([]) == 0
    assert REPORT.read_text() == "é 0.95"
    assert str(workspace / REPORT) in capsys.readouterr().out


def test_a_missing_model_is_told_in_a_line_and_the_old_report_is_kept(workspace, capsys):
    shutil.copy(SHIPPED, "params.yaml")
    shutil.rmtree(MODEL)
    old = workspace / "old.html"
    old.write_text("mine")
    assert report.main(["-o", str(old)]) == 1
    assert capsys.readouterr().err == "error: there is no model in models/: dvc repro trains one\n"
    assert old.read_text() == "mine"
