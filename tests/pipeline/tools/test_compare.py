"""Experiments side by side: what was changed, and the mean over seeds."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.params import load_params
from pipeline.sections import flat
from pipeline.tools import compare, presets
from pipeline.tools.compare import (
    COLUMNS,
    changed_params,
    interval,
    list_others,
    name_changes,
    parse_like,
    record,
    recorded,
    summarize_runs,
    table,
)
from pipeline.tracking.store import connect

ROOT = Path(__file__).parents[3]
DEFAULT = {"train.seed": 0, "train.lr": 0.1, "model.dim": 2, "model.variational": True}


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def rows(*entries: tuple[str, int, float]) -> pd.DataFrame:
    """Experiments with one value for every metric: name, seed, value."""
    return pd.DataFrame(
        [
            {"name": name, "seed": seed, "protocol": "p"} | dict.fromkeys(COLUMNS, value)
            for name, seed, value in entries
        ]
    )


def mlflow_runs(*changes: dict) -> pd.DataFrame:
    """MLflow's table of runs that have the default's parameters but for some changes."""
    base = {f"params.{key}": str(value) for key, value in DEFAULT.items()}
    base |= {"metrics.leakage/mean": 0.2, "metrics.partner_loss": 9.0, "tags.protocol": "p"}
    base["status"] = "FINISHED"
    return pd.DataFrame([base | change for change in changes])


def test_an_interval_is_students_and_one_value_has_none():
    # t(0.975, 2) = 4.3027; the deviation of 1, 2, 3 is 1.
    assert interval([0.1, 0.2, 0.3]) == f"0.2000 ± {4.30265 * 0.1 / np.sqrt(3):.4f}"
    assert interval([0.25]) == "0.2500"
    assert interval([]) == ""
    assert interval([16.0, 16.0]) == "16.0 ± 0.0000"


def test_runs_on_two_sets_of_own_images_are_two_rows():
    default = DEFAULT | {"prepare.dataset": "mnist"}
    runs = mlflow_runs({"params.dataset": "pets"}, {"params.dataset": "letters"})
    named = summarize_runs(runs, default)["name"].tolist()
    assert named == ['prepare.dataset="pets"', 'prepare.dataset="letters"']


def test_runs_become_experiments_by_what_differs_from_the_default():
    found = summarize_runs(
        mlflow_runs(
            {},
            {"params.train.seed": "1", "metrics.leakage/mean": 0.3},
            {"params.train.lr": "0.2", "metrics.leakage/mean": 0.4},
            {"params.model.variational": "False", "params.model.dim": "3"},
            {"params.train.seed": "2", "metrics.leakage/mean": np.nan},  # no results
            {"params.train.seed": None},  # not a run of this pipeline
        ),
        DEFAULT,
    )
    assert found[["name", "seed", "leakage/mean"]].values.tolist() == [
        ["default", 0, 0.2],
        ["default", 1, 0.3],
        ["train.lr=0.2", 0, 0.4],
        ["model.dim=3, model.variational=false", 0, 0.2],
    ]
    assert set(found) == {
        "name",
        "seed",
        "protocol",
        "leakage/mean",
    }  # points of the curves are no results


OTHERS = [
    (
        {"status": "FAILED", "tags.failure": "FloatingPointError: NaN"},
        "FAILED, FloatingPointError: NaN",
    ),
    ({"status": "KILLED", "tags.failure": None}, "KILLED"),
    ({"status": "RUNNING"}, "RUNNING"),
    ({"metrics.leakage/mean": np.nan}, "finished, but not evaluated"),
    (
        {"tags.model.sha256": "abc", "tags.model/digest": "def"},
        "its numbers are those of another model: def, not abc",
    ),
    (
        {"params.dataset": "digits", "tags.dataset": "mnist"},
        "its numbers are those of another data set: mnist, not digits",
    ),
]


@pytest.mark.parametrize(("change", "state"), OTHERS)
def test_a_run_without_numbers_of_its_own_shows_its_state_and_none_of_another(change, state):
    """Whatever numbers the store has of it."""
    named = {"params.train.seed": "1", "tags.mlflow.runName": "bold-fox"}
    runs = mlflow_runs(named | change, {})
    assert summarize_runs(runs, DEFAULT)["seed"].tolist() == [0]
    assert list_others(runs, DEFAULT) == [f"default, seed 1 (run bold-fox): {state}"]
    with pytest.raises(ValueError, match="no finished run with results"):
        summarize_runs(runs[:1], DEFAULT)


def test_a_failed_attempt_is_named_until_a_newer_run_has_finished():
    failed, finished = {"status": "FAILED"}, {"status": "FINISHED"}
    assert list_others(mlflow_runs(finished, failed), DEFAULT) == []
    assert len(list_others(mlflow_runs(failed, finished), DEFAULT)) == 1
    assert (
        len(list_others(mlflow_runs(finished, failed | {"params.train.seed": "1"}), DEFAULT)) == 1
    )


def test_the_newest_of_several_runs_with_equal_parameters_and_seed_counts():
    found = summarize_runs(
        mlflow_runs({"metrics.leakage/mean": 0.1}, {"metrics.leakage/mean": 0.9}), DEFAULT
    )
    assert found["leakage/mean"].tolist() == [0.1]


def test_a_row_averages_only_runs_of_one_protocol(capsys):
    found = summarize_runs(
        mlflow_runs(
            {},
            {"params.train.seed": "1", "tags.protocol": "older"},
            {"params.train.seed": "2", "tags.protocol": None},
            {"params.train.lr": "0.2", "tags.protocol": "older"},  # in a row of its own
        ),
        DEFAULT,
    )
    assert found[["name", "seed"]].values.tolist() == [["default", 0], ["train.lr=0.2", 0]]
    assert "note: 2 runs are left out" in capsys.readouterr().err


def test_a_parameter_changed_after_training_counts_with_its_new_value():
    run = {"params.train.seed": "0", "params.model.dim": "2", "tags.now.model.dim": "5"}
    assert changed_params(run, DEFAULT) == {"model.dim": 5}
    assert changed_params(run | {"tags.now.model.dim": np.nan}, DEFAULT) == {}


def test_a_run_on_a_fallback_data_set_is_a_row_of_its_own():
    run = {"params.dataset": "digits", "params.prepare.dataset": "mnist"}  # a fallback
    assert changed_params(run, {"prepare.dataset": "mnist"}) == {"prepare.dataset": "digits"}
    assert changed_params({"params.dataset": "mnist"}, {"prepare.dataset": "mnist"}) == {}


def test_a_run_of_an_older_version_with_other_keys_and_types_is_read():
    old = {
        "params.judge.seed": "0",
        "metrics.judge/accuracy": 0.99,
        "params.model.dim": "two",
        "params.train.lr": None,
    }
    found = summarize_runs(mlflow_runs(old), DEFAULT)
    assert found["name"].tolist() == ['model.dim="two"']
    assert found["judge/accuracy"].tolist() == [0.99]


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        ("False", True, False),
        ("yes", True, "yes"),
        ("3", 2, 3),
        ("3.5", 2, "3.5"),
        ("1e-05", 0.1, 1e-5),
        ("digits", "mnist", "digits"),
        ("None", None, None),
        ("7", None, "7"),
        ("[1, 2]", [1, 2], [1, 2]),
    ],
)
def test_a_parameter_is_parsed_in_the_type_of_its_default(text, like, value):
    parsed = parse_like(text, like)
    assert parsed == value
    assert type(parsed) is type(value)


def test_seeds_of_one_set_of_parameters_share_a_row_and_the_default_comes_first():
    lines = table(
        rows(("train.lr=0.5", 0, 0.7), ("cycle", 0, 0.6), ("default", 0, 0.1), ("default", 1, 0.3))
    ).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("| default | 2 | 0.2000 ± ")
    assert lines[3].startswith("| cycle | 1 | 0.6000 |")
    assert lines[4].startswith("| train.lr=0.5 | 1 | 0.7000 |")
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 3}


def test_a_few_experiments_are_shown_with_a_line_per_metric_that_fits_a_terminal():
    experiments = rows(("default", 0, 0.1), ("default", 1, 0.3), ("cycle", 0, 0.6))
    wide, lines = table(experiments), compare.upright(table(experiments)).splitlines()
    assert len(lines) == len(COLUMNS) + 3
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 100
    turned = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    before = [[cell.strip() for cell in line.split("|")[1:-1]] for line in wide.splitlines()]
    del turned[1], before[1]
    assert [list(cells) for cells in zip(*turned, strict=True)] == before


def test_a_metric_missing_from_all_runs_is_an_empty_column():
    line = table(rows(("default", 0, 0.1)).drop(columns="latent/kl")).splitlines()[2]
    assert line.endswith("| 0.1000 |  |")


def test_a_preset_is_shown_by_its_name():
    default, known = flat(load_params()), presets.read_all()
    changes = {k: v for k, v in known["cycle"].items() if default[k] != v}
    logged = {f"params.{k}": str(v) for k, v in (default | changes).items()}
    assert changed_params(logged, default) == changes
    assert name_changes(changes, {"cycle": changes}) == "cycle"
    assert name_changes(changes | {"train.lr": 0.5}, {"cycle": changes}) != "cycle"
    assert name_changes({}, {"cycle": changes}) == "default"
    runs = pd.DataFrame([logged | {"metrics.leakage/mean": 0.2}])
    assert summarize_runs(runs, default)["name"].tolist() == ["cycle"]


@pytest.fixture
def outside_git(tmp_path, monkeypatch):
    """A copy of the parameters in a folder without git, and without a git to call."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def test_without_a_store_or_results_compare_gives_a_one_line_error(outside_git, capsys):
    assert compare.main([]) == 1
    hint = "Recorded ones: python -m pipeline compare --recorded docs/experiments.csv"
    assert capsys.readouterr().err == (
        f"error: there is no tracking store {outside_git / 'mlflow.db'}; dvc repro creates it. "
        f"{hint}\n"
    )
    assert not (outside_git / "mlflow.db").exists()
    experiment = connect()
    MlflowClient().create_run(experiment)
    capsys.readouterr()
    assert compare.main([]) == 1
    assert capsys.readouterr().err == (
        f"error: the tracking store has no finished run with results; dvc repro makes one. {hint}\n"
    )


def test_runs_of_a_store_are_compared_outside_of_any_git_repository(outside_git, capsys):
    experiment, client = connect(), MlflowClient()
    default = flat(load_params())
    for seed, status, value in [(0, "FINISHED", 0.2), (1, "FINISHED", 0.4), (2, "FAILED", 0.9)]:
        run = client.create_run(experiment)
        for key, text in (default | {"train.seed": seed, "dataset": "mnist"}).items():
            client.log_param(run.info.run_id, key, text)
        client.log_metric(run.info.run_id, "leakage/mean", value)
        client.log_metric(run.info.run_id, "system/memory", 1.0)
        if seed == 0:  # the other one is of before, or has lost it
            results = {"leakage/mean": value, "control/label": 1.0, "verdict": "sound"}
            client.log_dict(run.info.run_id, results, "metrics.json")
        client.set_terminated(run.info.run_id, status)
    assert compare.main(["--record", "runs.csv"]) == 0
    said = capsys.readouterr()
    assert said.err.count("has only its headline metrics") == 1
    printed, others = said.out.split("\nnot in the table:\n")
    whose, _, _, *lines = printed.splitlines()
    assert whose == "your own runs, in mlflow.db"
    lines = [line.split() for line in lines]
    assert lines[0] == ["|", "what", "was", "changed", "|", "default", "|"]
    assert lines[2] == ["|", "seeds", "|", "2", "|"]
    assert lines[3][:6] == ["|", "leakage,", "means", "↓", "|", "0.3000"]
    assert others.startswith("- default, seed 2 (run ")
    assert others.endswith("): FAILED\n")
    known = recorded(Path("runs.csv"))
    assert sorted(known) == ["control/label", "leakage/mean", "name", "protocol", "seed"]
    assert known["control/label"].tolist()[0] == 1.0
    assert compare.main(["--recorded", "runs.csv"]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[0] == "recorded runs, in runs.csv: not made here"
    assert [line.split() for line in again[3:]] == lines


def test_on_a_terminal_of_80_columns_the_table_is_cut_into_parts_that_fit(capsys, monkeypatch):
    names = ["default", "cycle", "train.lr=0.0005", 'prepare.dataset="a-rather-long-name"', "pairs"]
    experiments = rows(*((name, seed, 0.2 + seed / 7) for name in names for seed in range(3)))
    monkeypatch.setattr(compare, "recorded", lambda path: experiments)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert compare.main(["--recorded", "runs.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    parts = [line for line in lines if "what was changed" in line]
    assert ["default" in part for part in parts] == [True, False]
    assert sum("0.3429 ± 0.3549" in line for line in lines) == 2 * len(COLUMNS)


def test_recorded_runs_are_read_back_and_a_rerun_replaces_its_own(tmp_path):
    path = tmp_path / "runs.csv"

    def one(name: str, seed: int, **metrics: float) -> dict:
        return {"name": name, "seed": seed, "protocol": "p"} | metrics

    record(pd.DataFrame([one("x=0.5", 0, a=2.0), one("default", 0, a=1 / 3)]), path)
    assert recorded(path)["a"].tolist() == [1 / 3, 2.0]  # to the last bit
    record(pd.DataFrame([one("default", 0, a=0.5), one("default", 1, c=1.0)]), path)
    back = recorded(path).astype(object)
    assert back.where(back.notna(), None).to_dict("records") == [
        one("default", 0, a=0.5, c=None),
        one("default", 1, a=None, c=1.0),
        one("x=0.5", 0, a=2.0, c=None),
    ]


def test_a_row_of_another_protocol_is_marked():
    experiments = rows(("default", 0, 0.1), ("cycle", 0, 0.6), ("pairs", 0, 0.2))
    experiments.loc[1, "protocol"] = "q"
    names = [line.split(" | ")[0].strip("| ") for line in table(experiments).splitlines()[2:]]
    assert names == ["default", "cycle †", "pairs"]


def test_a_run_of_another_protocol_replaces_all_recorded_ones_of_its_name(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    record(rows(("default", 0, 0.1), ("default", 1, 0.1), ("cycle", 0, 0.6)), path)
    record(rows(("default", 0, 0.2)).assign(protocol="q"), path)
    found = recorded(path)[["name", "seed", "protocol"]].values.tolist()
    assert found == [["default", 0, "q"], ["cycle", 0, "p"]]
    (told,) = capsys.readouterr().err.splitlines()
    assert "no longer has default, seed 1, which was measured by another protocol" in told


def test_a_record_of_before_protocols_were_recorded_is_read(tmp_path):
    path = tmp_path / "runs.csv"
    rows(("default", 0, 0.1)).drop(columns="protocol").to_csv(path, index=False)
    assert recorded(path)["protocol"].tolist() == ["unknown"]
    assert table(recorded(path)).splitlines()[2].startswith("| default | 1 |")


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("Experiment", True),
        ("State", True),
        ("leakage/mean", False),
        ("train.weights.cycle", True),
        ("visualize.seed", True),
        ("leakage/mean_bits", False),
        ("leakage", True),
        ("verdict", True),
        ("interval/leakage/mean_low", False),
        ("Created", False),
        ("models", False),
        ("pipeline/stages/train.py", False),
    ],
)
def test_dvcs_table_shows_the_main_metrics_and_the_parameters(capsys, column, shown):
    assert compare.main(["--drop-pattern"]) == 0
    assert bool(re.match(capsys.readouterr().out.strip(), column)) != shown


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "name,seed\ndefault,x\n"])
def test_a_file_without_recorded_runs_is_rejected_in_a_line(tmp_path, capsys, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    assert compare.main(["--recorded", str(path)]) == 1
    assert "runs.csv is not a table of recorded runs" in capsys.readouterr().err
    assert compare.main(["--recorded", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err


def test_the_recorded_default_is_the_committed_one():
    metrics = json.loads((ROOT / "reports/metrics.json").read_text())
    experiments = recorded(Path("docs/experiments.csv"))
    (run,) = experiments.query("name == 'default' and seed == 0").to_dict("records")
    assert {name: metrics[name] for name in COLUMNS} == pytest.approx(
        {name: run[name] for name in COLUMNS}
    )
