import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import sha256
from pipeline.artifacts.paths import MODEL, PREPARED
from pipeline.tracking import registry, store
from pipeline.tracking import runs as tracking
from pipeline.tracking.provenance import origin
from vaegan.model.config import EncodeConfig
from vaegan.model.vae import weights_digest

ROOT = Path(__file__).parents[3]


def encode_params(batch_size: int = 7) -> EncodeConfig:
    return EncodeConfig(batch_size=batch_size, device="cpu", threads=1)


def train_once(dataset: Dataset) -> str:
    with tracking.training_run(dataset, {"train.lr": 0.1}, "about it", "key", {}) as run:
        tracking.tag({tracking.MODEL_TAG: weights_digest(MODEL)})
    return run.run.info.run_id


def test_a_later_stage_logs_into_the_run_that_trained_the_model(workspace):
    dataset = read_dataset()
    trained = train_once(dataset)
    with tracking.model_run(dataset, encode_params(), "encode") as run:
        tracking.log_metrics({"a": 1.0})
    assert run.info.run_id == trained
    run = mlflow.get_run(trained)
    assert run.data.metrics == {"a": 1.0}
    assert run.data.params["encode.batch_size"] == "7"
    assert run.info.status == "FINISHED"


def test_of_several_runs_of_a_model_the_newest_is_taken(workspace):
    dataset = read_dataset()
    train_once(dataset)
    newest = train_once(dataset)
    with tracking.model_run(dataset, encode_params(), "encode") as run:
        assert run.info.run_id == newest


def test_a_store_without_the_models_run_gets_one_that_says_so(workspace):
    dataset = read_dataset()
    with tracking.model_run(dataset, encode_params(), "encode") as run:
        pass
    run = mlflow.get_run(run.info.run_id)
    assert "no run in which this model was trained" in run.data.tags["mlflow.note.content"]
    assert run.data.params["train.lr"] == "0.1"
    with tracking.model_run(dataset, encode_params(), "evaluate") as again:
        assert again.info.run_id == run.info.run_id


def test_a_model_of_another_store_is_registered_here_too(workspace):
    with tracking.model_run(read_dataset(), encode_params(), "encode") as run:
        pass
    version = registry.version_of(weights_digest(MODEL))
    assert version.run_id == run.info.run_id
    assert version.tags["dataset"] == "bars"


def test_an_unfinished_training_goes_on_in_its_own_run_and_another_does_not(workspace):
    dataset = read_dataset()
    with pytest.raises(RuntimeError), tracking.training_run(dataset, {}, "", "key", {}) as first:
        tracking.log_metrics({"lr": 1.0}, step=5)
        raise RuntimeError
    with tracking.training_run(dataset, {}, "", "other key", {}) as other:
        assert other.run.info.run_id != first.run.info.run_id
        assert tracking.last_step("lr") == 0
    with tracking.training_run(dataset, {}, "", "key", {}) as again:
        assert again.run.info.run_id == first.run.info.run_id
        assert tracking.last_step("lr") == 5
        tracking.tag({tracking.MODEL_TAG: "of what it trained"})
    run = mlflow.get_run(first.run.info.run_id)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    with tracking.training_run(dataset, {}, "", "key", {}) as anew:
        assert anew.run.info.run_id != first.run.info.run_id


def test_an_experiment_deleted_in_the_page_is_brought_back(workspace):
    identity = store.connect()
    mlflow.MlflowClient().delete_experiment(identity)
    assert store.connect() == identity
    assert train_once(read_dataset())


def test_a_relative_store_lies_in_the_users_repository(workspace, monkeypatch):
    (workspace / "user").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(workspace / "user"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    store.connect()
    assert (workspace / "user" / "own.db").is_file()


def test_words_among_the_results_are_tags(workspace):
    with tracking.training_run(read_dataset(), {}, "", "key", {}) as run:
        tracking.log_results({"verdict": "sound", "swap/identity_accuracy": 0.5})
    run = mlflow.get_run(run.run.info.run_id)
    assert run.data.tags["verdict"] == "sound"
    assert run.data.metrics == {"swap/identity_accuracy": 0.5}


def test_a_parameter_that_changed_since_is_tagged_not_lost(workspace):
    dataset = read_dataset()
    train_once(dataset)
    for size in (7, 9):
        with tracking.model_run(dataset, encode_params(size), "encode") as run:
            pass
    run = mlflow.get_run(run.info.run_id)
    assert run.data.params["encode.batch_size"] == "7"
    assert run.data.tags["now.encode.batch_size"] == "9"
    with tracking.model_run(dataset, encode_params(7), "encode"):
        pass
    assert "now.encode.batch_size" not in mlflow.get_run(run.info.run_id).data.tags


def test_the_data_set_is_logged_with_a_digest_of_all_its_bytes(workspace, bars):
    run = mlflow.get_run(train_once(read_dataset()))
    (entry,) = run.inputs.dataset_inputs
    digest = sha256(PREPARED / "train/images.npy")
    assert (entry.dataset.name, entry.dataset.digest) == ("bars", digest[:16])
    assert run.data.tags["dataset"] == "bars"


def test_an_exception_ends_the_run_failed_with_the_reason(workspace):
    dataset = read_dataset()
    with pytest.raises(RuntimeError), tracking.training_run(dataset, {}, "", "key", {}) as run:
        raise RuntimeError("out of luck")
    run = mlflow.get_run(run.run.info.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == "RuntimeError: out of luck"


def test_sigterm_ends_the_run_killed(workspace):
    dataset = read_dataset()
    with (
        pytest.raises(SystemExit) as exit_,
        tracking.training_run(dataset, {}, "", "key", {}) as run,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert exit_.value.code == 143
    assert mlflow.get_run(run.run.info.run_id).info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_store_is_the_users_also_from_a_temporary_copy(workspace, monkeypatch):
    user = workspace / "user"
    user.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(user))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-name")
    run_id = train_once(read_dataset())
    assert (user / "mlflow.db").is_file()
    assert not (workspace / "mlflow.db").exists()
    run = mlflow.get_run(run_id)
    assert run.info.artifact_uri.startswith((user / "mlruns").as_uri())
    assert (run.info.run_name, run.data.tags["dvc.exp"]) == ("brave-name", "brave-name")


def test_the_users_own_tracking_uri_is_taken(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/other.db")
    train_once(read_dataset())
    assert (workspace / "other.db").is_file()
    assert not (workspace / "mlflow.db").exists()


def test_processes_that_set_up_a_fresh_store_at_once_all_succeed(workspace):
    code = "from pipeline.tracking import store; print(store.connect())"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = {process.communicate()[0].split()[-1] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(answers) == 1


def test_without_git_a_run_is_tracked_all_the_same(workspace, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workspace.parent))
    assert "git.commit" not in origin().tags
    assert json.loads((PREPARED / "dataset.json").read_text())["name"] == "bars"
    assert train_once(read_dataset())


def test_a_second_interrupt_while_the_first_is_written_down_does_not_make_the_run_a_success(
    workspace, monkeypatch
):
    dataset, tag = read_dataset(), mlflow.set_tag

    def impatient(*arguments) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        tag(*arguments)

    with pytest.raises(KeyboardInterrupt), tracking.training_run(dataset, {}, "", "k", {}) as run:
        monkeypatch.setattr(mlflow, "set_tag", impatient)
        raise KeyboardInterrupt
    run = mlflow.get_run(run.run.info.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["failure"].startswith("KeyboardInterrupt")


def test_a_reason_that_the_store_does_not_take_does_not_make_the_run_a_success(
    workspace, monkeypatch
):
    def locked(*_) -> None:
        raise MlflowException("database is locked")

    dataset = read_dataset()
    with pytest.raises(RuntimeError), tracking.training_run(dataset, {}, "", "k", {}) as run:
        monkeypatch.setattr(mlflow, "set_tag", locked)
        raise RuntimeError
    assert mlflow.get_run(run.run.info.run_id).info.status == "FAILED"


def test_experiments_that_come_to_one_model_are_named_in_its_run(workspace, monkeypatch):
    dataset = read_dataset()
    monkeypatch.setenv("DVC_EXP_NAME", "first")
    trained = train_once(dataset)
    for name in ("first", "second", "third", "second"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with tracking.model_run(dataset, encode_params(), "encode") as run:
            assert run.info.run_id == trained
    tags = mlflow.get_run(trained).data.tags
    assert (tags["dvc.exp"], tags["dvc.exp.also"]) == ("first", "second, third")


def test_a_run_that_was_killed_between_model_and_version_gets_its_version_by_the_next_stage(
    workspace,
):
    dataset = read_dataset()
    trained = train_once(dataset)  # tags the run, and registers nothing
    assert registry.version_of(weights_digest(MODEL)) is None
    with tracking.model_run(dataset, encode_params(), "encode"):
        pass
    assert registry.version_of(weights_digest(MODEL)).run_id == trained
