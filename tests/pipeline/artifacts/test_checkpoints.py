import pytest
import torch

from pipeline.artifacts.checkpoints import Checkpoints, training_key


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    checkpoints = Checkpoints("key", tmp_path)
    for step in (5, 10, 15):
        checkpoints.save(step, {"step": torch.tensor(step)}, [{"step": step, "loss": 0.1}])
    return checkpoints


def test_the_newest_checkpoint_is_loaded_with_its_curves(checkpoints):
    state, curves = checkpoints.newest()
    assert state["step"] == 15
    assert curves == [{"step": 15, "loss": 0.1}]


def test_the_last_two_checkpoints_are_kept(checkpoints):
    assert [file.name[:9] for file in checkpoints._files()] == ["000000015", "000000010"]


@pytest.mark.parametrize(
    "harm", [lambda b: b[:-1], lambda b: b[:50] + b"?" + b[51:], lambda b: b""]
)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_loaded(checkpoints, capsys, harm):
    newest = checkpoints._files()[0]
    newest.write_bytes(harm(newest.read_bytes()))
    state, _ = checkpoints.newest()
    assert state["step"] == 10
    assert newest.name in capsys.readouterr().err


def test_checkpoints_of_another_key_are_ignored_and_clearing_removes_all(checkpoints, tmp_path):
    assert Checkpoints("other", tmp_path).newest() is None
    checkpoints.clear()
    assert checkpoints.newest() is None


def test_the_key_depends_on_parameters_and_code(tmp_path):
    code = tmp_path / "code.py"
    code.write_text("1")
    key = training_key({"a": 1, "b": 2}, [code])
    assert training_key({"b": 2, "a": 1}, [code]) == key
    assert training_key({"a": 1, "b": 3}, [code]) != key
    code.write_text("2")
    assert training_key({"a": 1, "b": 2}, [code]) != key
