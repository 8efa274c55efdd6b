"""What a sync makes of journals in a real store."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from pipeline.artifacts.classifiers import factor_words
from pipeline.artifacts.files import sha256, write_json
from pipeline.artifacts.paths import METRICS, MODEL, PREPARED, repository
from pipeline.journal import EVENTS, FOLDER, Journal, read_events
from pipeline.tracking import champion, record, registry, store, sync
from pipeline.tracking.model_run import HIDDEN
from pipeline.tracking.provenance import provenance
from tests.pipeline.conftest import GRID
from vaegan.model.vae import DisentanglingVAE, weights_digest

ROOT = Path(__file__).parents[3]


def steps(run_id: str, metric: str = "loss") -> list[int]:
    return [point.step for point in MlflowClient().get_metric_history(run_id, metric)]


def recorded(run_id: str) -> dict[str, str]:
    """The record of a run's origin."""
    return mlflow.artifacts.load_dict(f"{mlflow.get_run(run_id).info.artifact_uri}/{record.FILE}")


def content(run_id: str) -> dict:
    """All that a run holds, but for what its store chose by itself."""
    client, run = MlflowClient(), mlflow.get_run(run_id)
    artifacts, waiting = set(), [""]
    while waiting:
        for file in client.list_artifacts(run_id, waiting.pop()):
            if file.is_dir:
                waiting.append(file.path)
            else:  # names of images hold a random part
                artifacts.add(file.path.split("+step+")[0] + file.path.partition("+step+")[2][:4])
    return {
        "tags": {k: v for k, v in run.data.tags.items() if k != "mlflow.log-model.history"},
        "record": recorded(run_id),
        "params": run.data.params,
        "metrics": {
            name: [(p.step, p.value, p.timestamp) for p in client.get_metric_history(run_id, name)]
            for name in run.data.metrics
        },
        "status": run.info.status,
        "ended": run.info.end_time,
        "inputs": [entry.dataset.digest for entry in run.inputs.dataset_inputs],
        "artifacts": artifacts,
        "images": [
            file.path.split("+")[2]
            for file in client.list_artifacts(run_id, "images")
            if file.path.endswith(".webp")  # MLflow's preview, which it writes last
        ],
        "versions": [
            (v.tags["model.sha256"], sorted(v.tags))
            for v in client.search_model_versions(f"run_id = '{run_id}'")
        ],
    }


def test_the_run_of_a_training_has_everything_in_its_journal(told):
    run_id = told.train()
    run = mlflow.get_run(run_id)
    history = MlflowClient().get_metric_history(run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(5, 2.0), (10, 1.0)]
    files = [file.path for file in MlflowClient().list_artifacts(run_id, "images")]
    for step in (5, 10):
        assert any(f"samples+step+{step}+" in file and file.endswith(".png") for file in files)
    assert run.data.params == {"dataset": "bars", "train.lr": "0.1"}
    assert recorded(run_id)["training.key"] == "key"
    assert recorded(run_id)["sha256.models"] == "digest of models"
    note = run.data.tags["mlflow.note.content"]
    assert note == "about it Fit of the class transport: transport_loss 1.000."
    assert run.info.status == "FINISHED"
    version = registry.version_of(weights_digest(MODEL))
    assert (version.run_id, version.tags["dataset"]) == (run_id, "bars")
    assert registry.load().predict(np.zeros((1, 1, 16, 16), np.float32)).shape == (1, 1, 16, 16)


def write_results(**further: float) -> None:
    """Writes results of the model in ``models/``."""
    results = {
        "verdict": "sound", "dataset": "bars", "split": "test", "protocol": "p", "gates": "passed",
        "champion_by": "leakage/mean", "leakage/mean": 0.2, "model/digest": weights_digest(MODEL),
    }  # fmt: skip
    write_json(METRICS, results | further)


def write_history(told) -> list[Path]:
    """A training that was killed and resumed, then two stages of its model: their journals."""
    journal = told.begin(**{"train.lr": 0.1})
    journal.report(5, {"lr": 0.1, "loss": 2.0}, GRID)
    journal.end("KILLED", "SystemExit: 143")
    resumed = told.begin(**{"train.lr": 0.1})
    assert resumed.folder == journal.folder
    resumed.resumed(5)
    resumed.report(5, {"lr": 0.1, "loss": 2.0})  # as a resumed training does: it is there already
    resumed.report(10, {"lr": 0.05, "loss": 1.0}, GRID)
    told.finish(resumed, models="digest")
    encode = told.begin("encode", **{"encode.batch_size": 7})
    told.finish(encode, codes="digest")
    write_results()
    evaluate = told.begin("evaluate", **{"evaluate.seed": 0})
    told.finish(evaluate, **{"reports/metrics.json": "digest"})
    return [journal.folder, encode.folder, evaluate.folder]


def run_of(experiment: str) -> str:
    (run,) = MlflowClient().search_runs([experiment])
    return run.info.run_id


@pytest.fixture
def history(told) -> list[Path]:
    return write_history(told)


def synced_once(folders: list[Path], tmp_path, monkeypatch) -> dict:
    """All that one uninterrupted sync makes of journals, in a store of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/whole.db")
    experiment = store.connect()
    for folder in folders:
        sync.sync_journal(folder, experiment)
    return content(run_of(experiment))


def test_syncing_any_prefixes_repeatedly_equals_one_sync(history, tmp_path, monkeypatch):
    expected = synced_once(history, tmp_path, monkeypatch)
    whole = {folder: (folder / EVENTS).read_bytes() for folder in history}
    for seed in range(4):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{seed}.db")
        experiment, dice = store.connect(), random.Random(seed)  # noqa: S311 (no secrets)
        for folder in history:
            lines = whole[folder]
            ends = sorted(dice.randrange(1, len(lines)) for _ in range(4))
            for end in [*ends, len(lines)]:  # also in the middle of a line
                (folder / EVENTS).write_bytes(lines[:end])
                for _ in range(dice.choice((1, 2))):
                    sync.sync_journal(folder, experiment)
        assert content(run_of(experiment)) == expected, f"with seed {seed}"
    assert expected["status"] == "FINISHED"
    assert [step for step, _, _ in expected["metrics"]["loss"]] == [5, 10]
    assert sorted(expected["images"]) == ["10", "5"]
    assert expected["tags"]["verdict"] == "sound"
    assert "failure" not in expected["tags"]


SYNC = """
import sys
from pathlib import Path
from pipeline.tracking import store, sync
experiment = store.connect()
print("ready", flush=True)
sys.stdin.readline()
for folder in sys.argv[1:]:
    sync.sync_journal(Path(folder), experiment)
"""


def test_two_simultaneous_syncs_equal_one_sync(history, tmp_path, monkeypatch):
    expected = synced_once(history, tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/two.db")
    experiment = store.connect()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SYNC, *map(str, history)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert content(run_of(experiment)) == expected
    assert [step for step, _, _ in expected["metrics"]["loss"]] == [5, 10]


def cut_off(method, left: list[int]):
    """A method that fails when the calls that are left are used up."""

    def call(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            raise MlflowException("the store is gone")
        return method(*arguments, **options)

    return call


def test_a_sync_interrupted_at_any_call_is_completed_by_the_next(history, tmp_path, monkeypatch):
    expected = synced_once(history, tmp_path, monkeypatch)
    for call in range(1, 17):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{call}.db")
        experiment, left = store.connect(), [call]
        with monkeypatch.context() as patch:
            for name in ("log_batch", "log_image", "log_artifact", "log_inputs", "set_terminated"):
                patch.setattr(MlflowClient, name, cut_off(getattr(MlflowClient, name), left))
            with pytest.raises(MlflowException, match="gone"):
                for folder in history:
                    sync.sync_journal(folder, experiment)
        for folder in history:
            sync.sync_journal(folder, experiment)
        assert content(run_of(experiment)) == expected, f"cut off at call {call}"


def test_a_lost_store_is_refilled_from_disk(told, workspace, monkeypatch):
    run_id = told.train()
    assert told.stage("encode", **{"encode.batch_size": 7}) == run_id
    before = content(run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/new.db")
    assert told.sync_all() == 0  # no stage fills a new store with what another one was told
    assert told.sync_all(everything=True) == 2
    assert content(run_of(store.connect())) == before
    assert told.sync_all(everything=True) == 0


def test_journals_are_sent_to_another_store_only_by_hand(told, workspace, monkeypatch):
    told.finish(told.begin())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/other.db")
    assert told.sync_all() == 0
    assert not MlflowClient().search_runs([store.connect()])
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert told.sync_all() == 1
    assert told.sync_all() == 0


def test_a_later_stage_logs_into_the_run_that_trained_the_model(told):
    trained = told.train()
    assert told.stage("encode", **{"encode.batch_size": 7}) == trained
    run = mlflow.get_run(trained)
    assert run.data.params["encode.batch_size"] == "7"
    assert run.info.status == "FINISHED"


def test_the_newest_of_several_runs_of_a_model_is_used(told):
    first, newest = told.train(), told.train()
    assert first != newest
    assert told.stage() == newest


def test_retraining_a_registered_model_registers_no_second_version(told):
    first = told.train()
    told.train()
    (version,) = MlflowClient().search_model_versions("name = 'vaegan'")
    assert version.run_id == first
    alias = MlflowClient().get_model_version_by_alias("vaegan", "candidate")
    assert alias.version == version.version


def test_a_store_without_the_models_run_gets_a_run_that_states_it(told):
    run_id = told.stage("encode")
    run = mlflow.get_run(run_id)
    assert "no run in which this model was trained" in run.data.tags["mlflow.note.content"]
    assert run.data.params["train.lr"] == "0.1"
    assert recorded(run_id)["sha256.data/prepared"]
    assert told.stage("evaluate") == run_id


def test_a_model_of_another_store_is_registered_in_this_one(told):
    run_id = told.stage("encode")
    version = registry.version_of(weights_digest(MODEL))
    assert version.run_id == run_id
    assert version.tags["dataset"] == "bars"


def test_an_unfinished_training_resumes_in_its_own_run_only(told):
    journal = told.begin()
    journal.report(5, {"lr": 1.0})
    journal.end("FAILED", "RuntimeError: out of luck")
    first = told.sync(journal)
    other = told.begin(key="other key")
    assert told.sync(other) != first
    again = told.begin()
    assert again.last_step == 5
    assert told.sync(again) == first
    assert mlflow.get_run(first).info.status == "RUNNING"
    told.finish(again)
    assert told.sync(again) == first
    run = mlflow.get_run(first)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    assert told.sync(told.begin()) != first


def test_a_deleted_mlflow_experiment_is_restored(told):
    identity = store.connect()
    MlflowClient().delete_experiment(identity)
    assert store.connect() == identity
    assert told.train()


def test_non_numeric_results_become_tags(told):
    write_history(told)
    told.sync_all()
    run = mlflow.get_run(run_of(store.connect()))
    assert run.data.tags["verdict"] == "sound"
    assert run.data.metrics["leakage/mean"] == 0.2
    assert champion.champion_of("bars").version


def test_metrics_of_known_factors_are_logged_whatever_the_factors_are_called(told):
    told.train()
    words = factor_words(["light (lux)", "écriture", ".."]).values()
    expected = {f"factor/{word}/swap_accuracy": 0.5 for word in words}
    write_results(**expected)
    run = mlflow.get_run(told.stage("evaluate"))
    assert {key: run.data.metrics[key] for key in expected} == expected


def test_a_parameter_changed_later_is_kept_in_a_tag(told):
    told.train()
    for size in (7, 9):
        run_id = told.stage("encode", **{"encode.batch_size": size})
    run = mlflow.get_run(run_id)
    assert run.data.params["encode.batch_size"] == "7"
    assert run.data.tags["now.encode.batch_size"] == "9"
    told.stage("encode", **{"encode.batch_size": 7})
    assert "now.encode.batch_size" not in mlflow.get_run(run_id).data.tags


def test_a_stage_that_fails_leaves_the_parameters_beside_the_results_as_they_were(told):
    told.train()
    run_id = told.stage("evaluate", **{"evaluate.swaps": 200})
    failed = told.begin("evaluate", **{"evaluate.swaps": 5})
    failed.end("FAILED", "ValueError: too few")
    told.sync(failed)
    run = mlflow.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.params["evaluate.swaps"] == "200"
    assert "now.evaluate.swaps" not in run.data.tags
    told.stage("evaluate", **{"evaluate.swaps": 7})
    assert mlflow.get_run(run_id).data.tags["now.evaluate.swaps"] == "7"


def test_an_older_journal_of_a_stage_does_not_override_a_newer_one(told):
    told.train()
    older = told.begin("encode", **{"encode.batch_size": 7})
    told.finish(older)
    run_id = told.stage("encode", **{"encode.batch_size": 9})
    before = content(run_id)
    told.sync(older)
    assert content(run_id) == before


def test_the_logged_data_set_has_a_digest_of_all_its_bytes(told):
    run = mlflow.get_run(told.train())
    (entry,) = run.inputs.dataset_inputs
    digest = sha256(PREPARED / "train/images.npy")
    assert (entry.dataset.name, entry.dataset.digest) == ("bars", digest[:16])
    assert json.loads(entry.dataset.profile)["features_shape"] == [256, 1, 16, 16]
    assert run.data.tags["dataset"] == "bars"


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_journal_that_ends_badly_ends_its_run_with_the_reason(told, status):
    journal = told.begin()
    journal.end(status, "RuntimeError: out of luck")
    run = mlflow.get_run(told.sync(journal))
    assert run.info.status == status
    assert run.data.tags["failure"] == "RuntimeError: out of luck"
    assert not MlflowClient().search_model_versions("name = 'vaegan'")


def test_a_reason_rejected_by_the_store_does_not_mark_the_run_finished(told, monkeypatch):
    journal = told.begin()
    run_id = told.sync(journal)
    journal.end("FAILED", "out of luck")

    def locked(*_, **__) -> None:
        raise MlflowException("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", locked)
        with pytest.raises(MlflowException, match="locked"):
            told.sync(journal)
    assert mlflow.get_run(run_id).info.status == "RUNNING"
    told.sync_all()
    assert mlflow.get_run(run_id).info.status == "FAILED"


def test_a_temporary_copy_uses_the_users_store(told, workspace, monkeypatch):
    user = workspace / "user"
    user.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(user))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-name")
    run_id = told.train()
    assert (user / "mlflow.db").is_file()
    assert list((user / FOLDER).glob("*-train-*"))
    assert not (workspace / "mlflow.db").exists()
    assert not (workspace / FOLDER).exists()
    run = mlflow.get_run(run_id)
    assert run.info.artifact_uri.startswith((user / "mlruns").as_uri())
    assert (run.info.run_name, run.data.tags["dvc.exp"]) == ("brave-name", "brave-name")


def test_an_ambient_run_id_redirects_nothing(told, monkeypatch):
    experiment = store.connect()
    stranger = MlflowClient().create_run(experiment)
    monkeypatch.setenv("MLFLOW_RUN_ID", stranger.info.run_id)
    assert told.train() != stranger.info.run_id
    assert MlflowClient().get_run(stranger.info.run_id).data.params == {}


def test_all_experiments_that_give_one_model_are_named_in_its_run(told, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "first")
    trained = told.train()
    for name in ("first", "second", "third", "second"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        assert told.stage("encode") == trained
    tags = mlflow.get_run(trained).data.tags
    assert (tags["dvc.exp"], tags["dvc.exp.also"]) == ("first", "second, third")


def make_older(run_id: str) -> None:
    """Turns a run into one of before: everything a tag, plain names of curves, no record."""
    client, run = MlflowClient(), mlflow.get_run(run_id)
    for name, value in recorded(run_id).items():
        client.set_tag(run_id, name, value)
    for name, value in run.data.tags.items():
        if name.startswith(HIDDEN):
            client.set_tag(run_id, name.removeprefix(HIDDEN), value)
            client.delete_tag(run_id, name)
    (Path(local_file_uri_to_path(run.info.artifact_uri)) / record.FILE).unlink()


def test_a_run_of_before_is_found_and_continued_without_sending_anything_twice(told):
    journal = told.begin(**{"train.lr": 0.1})
    journal.report(5, {"lr": 0.1, "loss": 2.0}, GRID)
    run_id = told.sync(journal)
    make_older(run_id)
    journal.report(10, {"lr": 0.05, "loss": 1.0}, GRID)
    told.finish(journal, models="digest of models")
    sync.sync_journal(journal.folder, experiment := store.connect())
    assert run_of(experiment) == run_id  # the only one
    assert steps(run_id) == [5, 10]
    make_older(run_id)
    write_results()
    assert told.stage("evaluate", **{"evaluate.seed": 0}) == run_id
    run = mlflow.get_run(run_id)
    assert (run.data.metrics["leakage/mean"], run.data.tags["verdict"]) == (0.2, "sound")
    make_older(run_id)
    before = mlflow.get_run(run_id).data.tags
    assert told.sync_all(everything=True) == 0
    assert mlflow.get_run(run_id).data.tags == before
    tags = registry.version_of(weights_digest(MODEL)).tags
    assert (tags["sha256.models"], tags["sha256.evaluate"]) == ("digest of models", "digest")
    client, (version,) = MlflowClient(), registry.list_versions()
    client.delete_model_version("vaegan", version.version)
    told.stage("encode")  # registers the model again, by the tags of the run
    again = registry.version_of(weights_digest(MODEL)).tags
    assert again["sha256.models"] == "digest of models"
    assert champion.champion_of("bars").version == registry.list_versions()[0].version


def test_a_run_has_few_tags_and_a_description_with_verdict_numbers_and_report(told):
    told.train()
    write_results()
    journal = told.begin("evaluate")
    model = weights_digest(MODEL)
    journal.keep_file(METRICS)
    journal.outputs({"model": model, "verdict_reason": "All is well."}, {})
    journal.end("FINISHED")
    run = mlflow.get_run(told.sync(journal))
    tags = {name for name in run.data.tags if not name.startswith("mlflow.")}
    shown = {"dataset", "verdict", "gates", "split", "protocol", "model.sha256"}
    assert tags == shown | ({"git.commit"} & tags)
    note = run.data.tags["mlflow.note.content"]
    first, where, reason, rule, training = note.split("\n\n")
    assert first == "sound, gates passed: leakage 0.2 (bars, test images)"
    assert (reason, rule) == ("All is well.", "---")
    assert "`report.html`" in where
    assert training.startswith("about it")
    write_results(**{"leakage/mean": 0.1})  # measured anew: the old numbers are replaced
    note = mlflow.get_run(told.stage("evaluate")).data.tags["mlflow.note.content"]
    assert "leakage 0.1 " in note
    assert "0.2" not in note
    assert note.endswith(training)


def test_the_record_of_a_run_is_restored_with_its_other_artifacts(told):
    told.train()
    run_id = told.stage("encode")
    before = recorded(run_id)
    assert (before["sha256.models"], before["sha256.encode"]) == ("digest of models", "digest")
    (Path(local_file_uri_to_path(mlflow.get_run(run_id).info.artifact_uri)) / record.FILE).unlink()
    told.sync_all(everything=True)
    assert recorded(run_id).items() >= {k: v for k, v in before.items() if k != "journal"}.items()


def test_a_deleted_run_stays_deleted(told, capsys):
    journal = told.begin()
    run_id = told.sync(journal)
    told.finish(journal)
    MlflowClient().delete_run(run_id)
    assert told.sync_all() == 0
    assert f"run {run_id} was deleted" in capsys.readouterr().out
    assert not MlflowClient().search_runs([store.connect()])


def test_a_lost_model_is_registered_even_if_another_is_in_its_place(told, model_config):
    """As where two experiments are queued, or DVC has removed outputs for the next training."""
    told.finish(told.begin())
    digest = weights_digest(MODEL)
    shutil.rmtree(MODEL)
    DisentanglingVAE(model_config).eval().save(MODEL, {"params": {}})
    assert weights_digest(MODEL) != digest
    assert told.sync_all() == 1
    assert registry.version_of(digest).run_id == run_of(store.connect())


def test_a_version_records_digests_of_the_tree_it_was_trained_from_only(told, monkeypatch):
    told.train()
    assert told.stage("encode")
    tags = registry.version_of(weights_digest(MODEL)).tags
    assert tags["sha256.encode"] == "digest"
    monkeypatch.setattr("tests.pipeline.conftest.follower.context", lambda params: changed(params))
    told.stage("evaluate")
    assert "sha256.evaluate" not in registry.version_of(weights_digest(MODEL)).tags


def changed(params):
    from pipeline.journal import Context

    return Context(params, {"git.commit": "another"}, store=store.store_digest())


def test_a_run_is_tracked_without_git(told, workspace, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workspace.parent))
    assert "git.commit" not in provenance().tags
    known = recorded(told.train())
    version = registry.version_of(weights_digest(MODEL))
    assert "not a git repository" in known["git.failure"] == version.tags["git.failure"]


def test_processes_setting_up_a_fresh_store_at_once_all_succeed(workspace):
    code = "from pipeline.tracking import store; print(store.connect())"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    answers = {process.communicate()[0].split()[-1] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert len(answers) == 1


def test_a_relative_store_is_resolved_in_the_users_repository(workspace, monkeypatch):
    (workspace / "user").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(workspace / "user"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    store.connect()
    assert (workspace / "user" / "own.db").is_file()


def test_the_users_tracking_uri_is_used(told, workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/other.db")
    told.train()
    assert (workspace / "other.db").is_file()
    assert not (workspace / "mlflow.db").exists()


def test_a_journal_of_a_running_process_is_not_synced_by_another(told):
    journal = told.begin()
    assert told.sync_all() == 0
    journal.end("FINISHED")
    assert told.sync_all() == 1
    assert len(read_events(journal.folder)) == 2
    assert isinstance(journal, Journal)
    assert repository().is_dir()
