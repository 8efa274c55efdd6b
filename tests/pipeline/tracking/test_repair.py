"""What the store's database lists and its disk has lost is restored by the next sync."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from pipeline.artifacts.dataset import as_they_are
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.paths import METRICS, MODEL, PREPARED
from pipeline.journal import FOLDER, MODELS
from pipeline.tools import track
from pipeline.tracking import champion, registry, store
from pipeline.tracking.repair import repair
from vaegan.model.vae import DisentanglingVAE, weights_digest

RESULTS = {
    "verdict": "sound", "dataset": "bars", "split": "test", "protocol": "p", "gates": "passed",
    "champion_by": "leakage/mean", "leakage/mean": 0.2,
}  # fmt: skip
IMAGES = np.zeros((2, 1, 16, 16), np.float32)
CONVERSION = as_they_are((1, 16, 16)) | {"fit": "crop", "invert": True}


@pytest.fixture
def tracked(told, model_config):
    """Two models with a version each; the second one is evaluated, champion, and in models/."""
    described = read_json(PREPARED / "dataset.json")
    write_json(PREPARED / "dataset.json", described | {"conversion": CONVERSION})
    torch.manual_seed(1)
    DisentanglingVAE(model_config).eval().save(MODEL, {"params": {}})
    told.train()
    torch.manual_seed(2)
    DisentanglingVAE(model_config).eval().save(MODEL, {"params": {}})
    told.train()
    write_json(METRICS, RESULTS | {"model/digest": weights_digest(MODEL)})
    told.stage("evaluate")
    return told


def loads(reference: str) -> bool:
    try:
        model = mlflow.pyfunc.load_model(f"models:/{reference}")
    except Exception:
        return False
    swapped = model.predict(IMAGES, params={"task": "swap", "identity": "b"})
    converted = model.unwrap_python_model().conversion.to_dict()
    return swapped.shape == IMAGES.shape and converted == CONVERSION


def listing() -> list[tuple]:
    versions = registry.list_versions()
    return [(v.version, sorted(v.aliases), v.run_id, v.tags["model.sha256"]) for v in versions]


def artifacts(run_id: str) -> set[str]:
    client, found, waiting = MlflowClient(), set(), [None]
    while waiting:
        for file in client.list_artifacts(run_id, waiting.pop()):
            if file.is_dir:
                waiting.append(file.path)
            else:  # the names of images hold a random part
                found.add(file.path.partition("+timestamp")[0])
    return found


def clear(folder: Path) -> None:
    """As ``rm -rf mlruns/*``: hidden files stay."""
    for path in folder.glob("[!.]*"):
        shutil.rmtree(path)


def test_versions_aliases_and_artifacts_are_whole_again_after_the_disk_was_cleared(tracked, capsys):
    before = listing()
    runs = {run_id: artifacts(run_id) for _, _, run_id, _ in before}
    assert "metrics.json" in runs[before[0][2]]
    assert any("samples+step+10" in name for name in runs[before[1][2]])
    clear(Path("mlruns"))
    assert not loads("vaegan@champion-bars")
    capsys.readouterr()
    tracked.sync_all()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    names = "version 2 [candidate, candidate-bars, champion-bars]"
    assert f"{names} could not be loaded (it has no files): restored from" in said[0]
    assert "version 1 could not be loaded (it has no files): restored from" in said[1]
    assert "restored" in said[2]
    assert "artifacts of runs" in said[2]
    assert listing() == before
    assert {run_id: artifacts(run_id) for run_id in runs} == runs
    for reference in ("vaegan@champion-bars", "vaegan@candidate", "vaegan/1", "vaegan/2"):
        assert loads(reference), reference
    tracked.sync_all()
    assert capsys.readouterr().out == ""


def test_a_disk_that_is_not_mounted_moves_no_alias_and_gets_no_files(tracked, capsys):
    before = listing()
    Path("mlruns").rename("elsewhere")
    experiment, root = store.EXPERIMENT, Path(FOLDER)
    identity = MlflowClient().get_experiment_by_name(experiment).experiment_id
    capsys.readouterr()
    repair(root, identity, print, everything=True)
    assert capsys.readouterr().out == ""
    assert not Path("mlruns").exists()
    assert listing() == before


def test_a_copy_that_cannot_be_read_stops_nothing_and_is_named(tracked, capsys):
    clear(Path("mlruns"))
    for path in Path(FOLDER, MODELS).rglob("model.json"):
        path.write_text("{}")
    for path in Path(FOLDER).rglob("examples.npy"):
        path.write_bytes(b"damaged")
    capsys.readouterr()
    tracked.sync_all()
    said = capsys.readouterr().out
    names = "version 2 [candidate, candidate-bars, champion-bars]"
    assert f"{names} cannot be loaded (it has no files) nor restored: " in said


def test_a_single_file_that_is_deleted_or_damaged_is_restored(tracked, capsys):
    folder = registry.local_folder(registry.list_versions()[0])
    (folder / "notes.txt.mine").write_text("a file of the user's")
    (weights,), (code,) = (folder.rglob(name) for name in ("weights.safetensors", "networks.py"))
    content = weights.read_bytes()
    harms = [
        (weights, None, "weights.safetensors missing"),
        (weights, content[:-9], "files are missing or changed"),
        (weights, content[:-1] + bytes([content[-1] ^ 1]), "weights.safetensors is damaged"),
        (code, None, "files are missing or changed"),
        (folder / "MLmodel", b"", "files are missing or changed"),
    ]
    for path, harmed, fault in harms:
        path.unlink()
        if harmed is not None:
            path.write_bytes(harmed)
        tracked.sync_all()
        names = "version 2 [candidate, candidate-bars, champion-bars]"
        assert f"{names} could not be loaded ({fault}): restored" in capsys.readouterr().out
        assert weights.read_bytes() == content
        assert loads("vaegan@champion-bars")
    tracked.sync_all()
    assert capsys.readouterr().out == ""


def test_a_model_without_a_copy_is_named_with_what_to_do_and_its_alias_moves(tracked, capsys):
    digest = registry.list_versions()[0].tags["model.sha256"]
    shutil.rmtree(Path(FOLDER, MODELS, digest))
    MODEL.rename("aside")
    clear(Path("mlruns"))
    capsys.readouterr()
    tracked.sync_all()
    said = capsys.readouterr().out
    assert "version 2 [candidate, candidate-bars, champion-bars] cannot be loaded" in said
    assert "has no copy of its model: once it lies in models/ again" in said
    assert "the alias candidate is set to version 1" in said
    assert loads("vaegan@candidate")
    Path("aside").rename(MODEL)
    assert track.main([]) == 0
    assert "version 2 [champion-bars] could not be loaded" in capsys.readouterr().out
    assert loads("vaegan@champion-bars")


def test_a_version_deleted_by_hand_is_registered_anew_when_its_model_is_at_work(tracked, capsys):
    client = MlflowClient()
    client.delete_model_version("vaegan", "2")
    client.delete_model_version("vaegan", "1")  # of a model that nobody works with: it stays so
    capsys.readouterr()
    tracked.stage("encode")
    said = capsys.readouterr().out
    assert "no version had the weights of this model: it is version 3" in said
    assert [str(version) for version, *_ in listing()] == ["3"]
    assert loads("vaegan@candidate")
    assert loads("vaegan@champion-bars")  # its results are known already
    assert registry.list_versions()[0].tags["champion"].startswith("champion of bars")


def test_track_registers_a_deleted_version_anew_too(tracked, capsys):
    MlflowClient().delete_model_version("vaegan", "2")
    assert track.main([]) == 0
    assert "it is version 3" in capsys.readouterr().out
    assert loads("vaegan@champion-bars")


def test_a_deleted_alias_candidate_is_set_again(tracked, capsys):
    for alias in ("candidate", "candidate-bars"):
        MlflowClient().delete_registered_model_alias("vaegan", alias)
    tracked.sync_all()
    said = capsys.readouterr().out
    assert "the alias candidate is set to version 2" in said
    assert "the alias candidate-bars is set to version 2" in said
    assert loads("vaegan@candidate-bars")


def test_a_deleted_alias_champion_is_decided_by_the_next_evaluation(tracked):
    MlflowClient().delete_registered_model_alias("vaegan", "champion-bars")
    tracked.sync_all()
    assert champion.champion_of("bars") is None  # perhaps it was withdrawn
    tracked.stage("evaluate")
    assert loads("vaegan@champion-bars")


def test_a_store_whose_artifacts_cannot_be_written_is_named_and_stops_nothing(
    tracked, capsys, monkeypatch
):
    clear(Path("mlruns"))

    def full(*_, **__) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", full)
        patch.setattr(MlflowClient, "log_artifact", full)
        tracked.sync_all()
    said = capsys.readouterr().out
    assert (
        "champion-bars] cannot be loaded (it has no files) nor restored: [Errno 28] No sp" in said
    )
    tracked.sync_all()
    assert loads("vaegan@champion-bars")


def test_artifacts_of_a_run_alone_are_restored_by_track(tracked, capsys):
    (run_id,) = {version.run_id for version in registry.list_versions() if version.aliases}
    before = artifacts(run_id)
    shutil.rmtree(Path("mlruns") / run_id)
    assert artifacts(run_id) == set()
    assert track.main([]) == 0
    assert "artifacts of runs from" in capsys.readouterr().out
    assert artifacts(run_id) == before


def test_a_run_that_was_deleted_gets_no_files(tracked, capsys):
    for version in registry.list_versions():
        MlflowClient().delete_run(version.run_id)
    clear(Path("mlruns"))
    tracked.sync_all()
    assert loads("vaegan@champion-bars")  # versions live on their own
    assert "artifacts of runs" not in capsys.readouterr().out


def test_a_journal_without_a_copy_of_its_model_stops_no_stage(told, capsys):
    journal = told.begin("encode")
    told.finish(journal)
    shutil.rmtree(journal.folder.parent / MODELS)
    MODEL.rename("aside")
    assert told.sync_all() == 1
    assert "is not registered: no copy in" in capsys.readouterr().out
    (run,) = MlflowClient().search_runs([store.connect()])
    assert run.info.status == "FINISHED"


def test_the_journal_keeps_images_of_each_class_for_the_registered_model(told):
    journal = told.begin()
    labels = np.load(journal.folder / "class_labels.npy")
    assert np.bincount(labels).tolist() == [8, 8, 8, 8]
    assert len(np.load(journal.folder / "class_images.npy")) == 32
    begin = json.loads((journal.folder / "events.jsonl").read_text().splitlines()[0])
    assert begin["dataset"]["class_names"] == ["a", "b", "c", "d"]
