"""The report among the artifacts of the model's run: once, and always the newest page."""

from pathlib import Path

from mlflow import MlflowClient

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import METRICS, REPORT
from pipeline.tools import track


def logged(run: str) -> str:
    return Path(MlflowClient().download_artifacts(run, REPORT.name)).read_text()


def test_the_page_is_an_artifact_of_the_models_run_and_is_replaced(told, measured):
    run = told.train()
    for text in ("first", "second"):
        REPORT.write_text(text)
        journal = told.begin("report")
        journal.keep_file(REPORT)
        told.finish(journal, **{str(REPORT): text})
        assert told.sync(journal) == run
        assert logged(run) == text
    assert told.sync_all(everything=True) == 0
    assert logged(run) == "second"


def test_track_sends_a_page_that_came_without_a_journal(told, measured, capsys):
    run = told.train()
    digest = read_json(METRICS)["model/digest"]
    for text in (f"{digest} from a cache", f"{digest} from another cache"):
        REPORT.write_text(text)
        assert track.main([]) == 0
        assert logged(run) == text
    REPORT.write_text("the page of another model")
    assert track.main([]) == 0
    assert logged(run) == text
    REPORT.write_text(text)
    capsys.readouterr()
    assert track.main([]) == 0
    assert "lacked something of 0" in capsys.readouterr().out
