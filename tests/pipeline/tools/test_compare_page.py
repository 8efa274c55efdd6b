"""``compare --html``: runs with their artifacts in a store, and recorded ones without."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.artifacts.curves import write_curves
from pipeline.params import load_params
from pipeline.sections import flat
from pipeline.tools import compare
from pipeline.tracking import champion, store
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.tools.test_compare import ROOT, rows

PARAMS = {f"params.{key}": str(value) for key, value in flat(load_params(SHIPPED)).items()}


def make_run(lr: float, leakage: float, artifacts: bool) -> dict[str, object]:
    """A run in the store, as MLflow's table of runs has it."""
    client = MlflowClient()
    run = client.create_run("0").info.run_id
    if artifacts:
        write_curves(pd.DataFrame({"step": [1, 2], "partner_loss": [9.0, leakage]}))
        client.log_artifact(run, "reports/curves.csv", "curves")
        Image.new("L", (40, 40)).save("swaps.png")
        client.log_artifact(run, "swaps.png", "figures")
    return PARAMS | {
        "run_id": run, "status": "FINISHED", "params.dataset": "mnist", "params.train.lr": str(lr),
        "metrics.leakage/mean": leakage, "tags.protocol": "p", "tags.dataset": "mnist",
    }  # fmt: skip


@pytest.fixture
def two_runs(workspace, monkeypatch) -> list[dict[str, object]]:
    shutil.copy(SHIPPED, "params.yaml")
    shutil.copytree(ROOT / "presets", "presets")
    store.connect()
    runs = [make_run(0.002, 0.2, artifacts=True), make_run(0.5, 0.1, artifacts=False)]
    monkeypatch.setattr(compare, "load_runs", lambda: pd.DataFrame(runs))
    return runs


def test_the_page_has_the_runs_their_artifacts_and_the_champion(two_runs, monkeypatch, capsys):
    best = SimpleNamespace(run_id=two_runs[1]["run_id"])
    monkeypatch.setattr(champion, "champion_of", {"mnist": best}.get)
    assert compare.main(["--html", "page.html"]) == 0
    assert "page.html" in capsys.readouterr().out
    page = (store.repository() / "page.html").read_text()
    assert "default</td>" in page
    assert 'train.lr=0.5 <span class="soft">(champion)</span>' in page
    assert '<td class="number changed">0.5</td>' in page
    assert page.count('class="curve ') == 1
    assert page.count("<img") == 1


def test_recorded_runs_give_a_page_without_artifacts(workspace, capsys):
    shutil.copy(SHIPPED, "params.yaml")
    other = rows(("cycle", 0, 0.7)).assign(protocol="older")
    compare.record(
        pd.concat([rows(("default", 0, 0.2), ("default", 1, 0.4)), other]), workspace / "runs.csv"
    )
    assert compare.main(["--recorded", "runs.csv", "--html", "page.html"]) == 0
    page = (workspace / "page.html").read_text()
    assert "30.0 ± 127 %" in page.replace("127.1", "127")
    assert 'cycle <span class="soft">(another protocol)</span>' in page
    assert "cannot be compared" in page
    assert "None of these runs has curves" in page
