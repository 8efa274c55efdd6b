"""The folder that ``make quick`` works in; CI's clone runs the same stages, small."""

import pytest

from pipeline.params import load_params
from pipeline.sections import flat
from pipeline.tools import presets, quick
from tests.pipeline.clone import ROOT


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_folder_gets_the_parameters_of_the_preset_and_is_made_again(tmp_path):
    folder = tmp_path / "quick"
    for _ in range(2):
        quick.prepare_folder(folder)
    params = load_params(folder / "params.yaml")
    assert flat(params) == flat(load_params()) | presets.read("quick")
    assert params.prepare.dataset == "digits"  # which needs no download
    assert params.evaluate.quick


def test_parameters_that_were_changed_in_the_folder_are_left_and_told(tmp_path, capsys):
    folder = tmp_path / "quick"
    quick.prepare_folder(folder)
    path = folder / "params.yaml"
    changed = path.read_text().replace('"steps": ', '"steps": 1')
    path.write_text(changed)
    assert capsys.readouterr().out == ""
    quick.prepare_folder(folder)
    assert path.read_text() == changed
    assert f"note: {path} differs from the preset and is used" in capsys.readouterr().out


def test_a_folder_of_the_users_is_left_alone(tmp_path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "params.yaml").write_text("mine: 1\n")
    with pytest.raises(ValueError, match="make quick did not make it"):
        quick.prepare_folder(tmp_path / "quick")
    assert (tmp_path / "quick" / "params.yaml").read_text() == "mine: 1\n"


def test_every_command_runs_there_in_a_store_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    ran = []
    monkeypatch.setattr(quick.subprocess, "run", lambda command, **how: ran.append((command, how)))
    for command in quick.COMMANDS:
        quick.run(tmp_path, command)
    assert [command[-1] for command, _ in ran][:2] == ["prepare", "train"]
    assert all(how["cwd"] == tmp_path and how["check"] for _, how in ran)
    assert not any("MLFLOW_TRACKING_URI" in how["env"] for _, how in ran)
