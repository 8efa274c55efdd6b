"""Experiments side by side: what was changed, and the mean over seeds."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.params import ParamsError, flat, load_params
from pipeline.tools import compare
from pipeline.tools.compare import (
    COLUMNS,
    Experiment,
    committed_params,
    interval,
    name_of,
    of_rows,
    record,
    recorded,
    table,
)
from pipeline.tools.presets import read

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def metrics(value: float) -> dict[str, float]:
    return dict.fromkeys(COLUMNS, value)


def test_an_interval_is_students_and_a_single_value_has_none():
    # t(0.975, 2) = 4.3027; the deviation of 1, 2, 3 is 1.
    assert interval([0.1, 0.2, 0.3]) == f"0.2000 ± {4.30265 * 0.1 / np.sqrt(3):.4f}"
    assert interval([0.25]) == "0.2500"
    assert interval([]) == ""
    assert interval([16.0, 16.0]) == "16.0 ± 0.0000"


def test_rows_of_dvc_become_experiments_by_what_differs_from_the_default():
    default = {"train.seed": 0, "train.lr": 0.1, "model.dim": 2, "model.variational": True}
    base = {  # in the types that DVC gives them
        "train.seed": 0.0,
        "train.lr": 0.1,
        "model.dim": 2.0,
        "model.variational": "True",
        "leakage/mean": 0.2,
        "verdict": "x",
    }
    found = of_rows(
        [
            base | {"rev": "workspace", "leakage/mean": 0.9},
            base | {"rev": "main"},
            base | {"rev": "abc", "train.seed": 1, "leakage/mean": 0.3},
            base | {"rev": "def", "train.lr": 0.2, "leakage/mean": 0.4},
            base | {"rev": "ghi", "model.variational": "False", "model.dim": 3.0},
            base | {"rev": "jkl", "State": "Running", "train.seed": 2.0},
            base | {"rev": "mno", "State": "Failed", "train.seed": 3.0},
            {"rev": "failed", "train.seed": 0, "train.lr": 0.3},
        ],
        default,
    )
    assert [(e.name, e.seed, e.metrics["leakage/mean"]) for e in found] == [
        ("default", 0, 0.2),
        ("default", 1, 0.3),
        ("train.lr=0.2", 0, 0.4),
        ("model.dim=3, model.variational=false", 0, 0.2),
    ]


def test_seeds_of_one_set_of_parameters_share_a_row_and_the_default_comes_first():
    lines = table(
        [
            Experiment("train.lr=0.5", 0, metrics(0.7)),
            Experiment("cycle", 0, metrics(0.6)),
            Experiment("default", 0, metrics(0.1)),
            Experiment("default", 1, metrics(0.3)),
            Experiment("default", 1, metrics(0.2)),  # DVC lists the newest first: that one counts
        ]
    ).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("| default | 2 | 0.2000 ± ")
    assert lines[3].startswith("| cycle | 1 | 0.6000 |")
    assert lines[4].startswith("| train.lr=0.5 | 1 | 0.7000 |")
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 3}


def test_a_preset_goes_by_its_name():
    default = flat(load_params())
    changes = {k: v for k, v in read("cycle").items() if default[k] != v}
    assert name_of(changes, default) == "cycle"
    assert name_of(changes | {"train.lr": 0.5}, default) != "cycle"
    assert name_of({}, default) == "default"


def test_the_default_is_the_commits_also_where_the_workspace_has_an_experiment(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with pytest.raises(ParamsError, match="git knows no commit of it"):
        committed_params()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *command], check=True)
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("steps: 4000", "steps: 7"))
    assert load_params().train.steps == 7
    assert committed_params()["train.steps"] == 4000


def test_what_is_recorded_comes_back_and_a_rerun_takes_its_own_place(tmp_path):
    path = tmp_path / "runs.csv"
    record([Experiment("x=0.5", 0, {"a/b": 2.0}), Experiment("default", 0, {"a/b": 1 / 3})], path)
    newest, older = Experiment("default", 0, {"a/b": 0.5}), Experiment("default", 0, {"a/b": 9.0})
    record([newest, older, Experiment("default", 1, {"c/d": 1.0})], path)
    assert [(e.name, e.seed, e.metrics) for e in recorded(path)] == [
        ("default", 0, {"a/b": 0.5}),
        ("default", 1, {"c/d": 1.0}),
        ("x=0.5", 0, {"a/b": 2.0}),
    ]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "name,seed\ndefault,x\n"])
def test_a_file_that_is_no_record_is_refused_in_a_line(tmp_path, capsys, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    assert compare.main(["--recorded", str(path)]) == 1
    assert "runs.csv is not a table of recorded runs" in capsys.readouterr().err
    assert compare.main(["--recorded", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err


def test_the_recorded_default_is_the_committed_one():
    metrics = json.loads((ROOT / "reports/metrics.json").read_text())
    (run,) = [
        e for e in recorded(Path("docs/experiments.csv")) if (e.name, e.seed) == ("default", 0)
    ]
    assert {name: metrics[name] for name in COLUMNS} == pytest.approx(
        {name: run.metrics[name] for name in COLUMNS}
    )
