"""The shipped presets, and what is made of them."""

from pathlib import Path

import pytest

from pipeline.params import load_params
from pipeline.sections import flat
from pipeline.tools import presets

ROOT = Path(__file__).parents[3]
NAMES = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_documented_presets_exist():
    assert {"report", "mathieu", "cycle", "pairs"} <= set(NAMES)
    assert presets.list_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_is_valid_changes_something_and_states_why(name):
    default, changes = load_params(), presets.read(name)
    assert (
        flat(presets.apply_changes(changes, default, ROOT / "presets")) == flat(default) | changes
    )
    assert any(flat(default)[key] != value for key, value in changes.items())
    assert (ROOT / f"presets/{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", ["pairs", "cycle"])
def test_weakly_supervised_presets_need_no_labels(name):
    params = presets.apply_changes(presets.read(name), load_params(), ROOT / "presets")
    assert params.train.supervision == "pairs"
    assert params.train.weights.confusion == 0


def test_a_preset_is_printed_as_arguments_of_dvc(capsys):
    assert presets.main(["report"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[:2] == ["-S", "model.specified.variational=true"]
    assert printed[::2] == ["-S"] * (len(printed) // 2)
    assert presets.main([]) == 0
    assert capsys.readouterr().out.split() == NAMES


def test_an_unknown_preset_gives_the_list_of_presets(capsys):
    assert presets.main(["nonsense"]) == 1
    assert "preset: got nonsense, expected one of chars74k, cycle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.lrr: 1.0\n", "mine.yaml: unknown parameters: train.lrr"),
        ("train.lr: -1.0\n", "mine.yaml: train.lr: got -1.0, expected greater than 0"),
        ("[1, 2]\n", "mine.yaml: holds no keys"),
        ("a: b: c\n", "mine.yaml: is not YAML"),
    ],
)
def test_an_invalid_preset_is_rejected_in_a_line(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    assert presets.main(["mine"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_path_is_not_accepted_as_a_preset(capsys):
    assert presets.main(["../params"]) == 1
    assert "preset: got ../params, expected one of" in capsys.readouterr().err
