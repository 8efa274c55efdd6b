"""When things go wrong: one clear line, a non-zero exit, and nothing lost or overwritten."""

import os
import pickle  # noqa: TID251 (what a stranger would send)
import resource
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline.artifacts.files import tree_digest, write_array, write_json
from pipeline.artifacts.paths import METRICS, MODEL, PREPARED
from pipeline.run import run_stage
from pipeline.stages import train
from pipeline.tracking import store
from pipeline.tracking.charts import NAMES
from tests.pipeline.conftest import SHIPPED
from vaegan.model.vae import DisentanglingVAE
from vaegan.training import losses, transport_fit

ROOT = Path(__file__).parents[2]
SMALL = {
    "model.base_channels": 2,
    "train.steps": 12,
    "train.pairs": 8,
    "train.report_every": 4,
    "train.threads": 1,
    "train.transport.images_per_class": 2,
    "train.transport.steps": 10,
    "train.transport.changes": 4,
    "train.transport.images_per_change": 8,
    "model.transport.hidden": 8,
    "prepare.dataset": "digits",
    "evaluate.threads": 1,
    "encode.threads": 1,
    "visualize.threads": 1,
}


def set_params(changes: dict[str, object]) -> None:
    yaml = YAML()
    path = Path("params.yaml")
    content = yaml.load((path if path.exists() else SHIPPED).read_text())
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
    with path.open("w") as file:
        yaml.dump(content, file)


@pytest.fixture
def folder(workspace):
    """A folder with prepared data, a model and parameters, in which stages are run."""
    set_params(SMALL)
    return workspace


def refused(capsys, stage: str) -> str:
    """The one line of a stage that has to fail."""
    capsys.readouterr()
    assert run_stage(stage) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    return errors[0]


def flip(path: Path, place: int = -5) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", ["truncated", "one flipped bit"])
@pytest.mark.parametrize("stage", ["train", "encode", "visualize"])
def test_a_damaged_array_stops_every_stage_that_reads_it(folder, capsys, stage, harm):
    path = PREPARED / "train/images.npy"
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        flip(path)
    before = tree_digest(MODEL)
    line = refused(capsys, stage)
    assert "data/prepared/train/images.npy is" in line
    assert tree_digest(MODEL) == before
    assert not Path("mlflow.db").exists()  # before anything was tracked


@pytest.mark.parametrize("stage", ["encode", "evaluate", "visualize"])
def test_a_damaged_model_stops_every_stage_that_reads_it(folder, capsys, stage):
    flip(MODEL / "weights.safetensors")
    assert "weights.safetensors is damaged, or of another model" in refused(capsys, stage)
    assert not METRICS.exists()


@pytest.mark.parametrize("stage", ["evaluate", "visualize"])
def test_codes_of_another_model_are_rejected(folder, capsys, stage, model_config):
    assert run_stage("encode") == 0
    torch.manual_seed(1)
    DisentanglingVAE(model_config).eval().save(MODEL, {"params": {}})
    assert "holds codes of the model" in refused(capsys, stage)
    assert not METRICS.exists()


def test_a_non_finite_loss_stops_training_at_its_step_and_names_the_term(
    folder, capsys, monkeypatch
):
    true, calls = losses.reconstruction_loss, []

    def nan_at_the_seventh(drawn, images) -> torch.Tensor:
        calls.append(1)
        return true(drawn, images) * (float("nan") if len(calls) == 7 else 1.0)

    monkeypatch.setattr(losses, "reconstruction_loss", nan_at_the_seventh)
    before = tree_digest(MODEL)
    assert refused(capsys, "train") == "error: partner_loss is nan at step 7"
    assert tree_digest(MODEL) == before
    (kept,) = Path(".checkpoints").rglob("*.safetensors")  # the last good one
    assert kept.name.startswith("000000004-")
    run = MlflowClient().search_runs([store.connect()])[0]
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == "FloatingPointError: partner_loss is nan at step 7"
    assert not MlflowClient().search_model_versions("name = 'vaegan'")


def test_an_unreachable_server_is_reported_before_the_first_training_step(
    folder, capsys, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before = tree_digest(MODEL)
    capsys.readouterr()
    assert run_stage("train") == 1
    said = capsys.readouterr()
    assert "MLFLOW_TRACKING_URI: the tracking server http://127.0.0.1:9 does not answer" in said.err
    assert "step " not in said.out
    assert tree_digest(MODEL) == before


def own_process(command: list[str], most: int | None = None) -> subprocess.CompletedProcess:
    """A stage in a process of its own; if given, no file may grow beyond ``most`` bytes there."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return subprocess.run(
        [sys.executable, *command],
        env=kept | {"PYTHONPATH": str(ROOT)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_a_full_disk_while_writing_arrays_keeps_the_previous_ones(folder):
    before = tree_digest(PREPARED)
    done = own_process(
        ["-m", "pipeline", "prepare"], 1_000_000
    )  # the images are 1,437 of 784 bytes
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: [Errno 27] File too large")
    assert tree_digest(PREPARED) == before
    assert not list(Path().rglob("*.part"))


STOPPED = """
import sys
from pathlib import Path
from pipeline.run import run_stage
from pipeline.stages import train
plain = train.sample_grid
def stop(*given):
    if list(Path(".checkpoints").rglob("*.safetensors")):
        raise OSError(5, "stopped here")
    return plain(*given)
train.sample_grid = stop
sys.exit(run_stage("train"))
"""


def test_a_full_disk_while_writing_a_checkpoint_keeps_the_previous_one(folder):
    set_params({"model.base_channels": 32})  # its checkpoints are larger than MLflow's database
    assert "stopped here" in own_process(["-c", STOPPED]).stderr
    before = tree_digest(MODEL)
    (first,) = Path(".checkpoints").rglob("*.safetensors")
    content = first.read_bytes()
    done = own_process(["-m", "pipeline", "train"], len(content) - 1000)
    assert done.returncode == 1
    assert "resuming from the checkpoint at step 4" in done.stdout
    assert "error: [Errno 27] File too large" in done.stderr
    assert tree_digest(MODEL) == before
    assert first.read_bytes() == content
    assert [path.name for path in Path(".checkpoints").rglob("*.*")] == [first.name]
    (run,) = mlflow.search_runs([store.connect()], output_format="list")
    assert run.info.status == "FAILED"
    assert "File too large" in run.data.tags["failure"]
    done = own_process(["-m", "pipeline", "train"])  # with room again it goes on from there
    assert done.returncode == 0
    assert "resuming from the checkpoint at step 4" in done.stdout


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_full_disk_while_writing_the_model_keeps_the_previous_one(
    folder, capsys, monkeypatch, name
):
    before = tree_digest(MODEL)
    for method in ("write_bytes", "write_text"):
        write = getattr(Path, method)

        def full(path: Path, *content, write=write) -> int:
            if path.name == name:
                raise OSError(28, "No space left on device", str(path))
            return write(path, *content)

        monkeypatch.setattr(Path, method, full)
    assert "No space left on device" in refused(capsys, "train")
    assert tree_digest(MODEL) == before
    assert not list(Path().rglob("*.part"))
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert run_stage("train") == 0  # with room again it goes on from the last step
    assert "resuming from the checkpoint at step 12" in capsys.readouterr().out


def test_without_a_git_repository_stages_run_and_say_nothing_of_a_commit(folder, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    assert run_stage("train") == 0
    assert run_stage("encode") == 0
    (run,) = mlflow.search_runs([store.connect()], output_format="list")
    assert "git.commit" not in run.data.tags
    record = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/provenance.json")
    assert record["sha256.models"]


class Canary:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self):
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("models/weights.safetensors", "encode"),
        ("data/prepared/train/images.npy", "train"),
        ("data/prepared/train/labels.npy", "train"),
    ],
)
def test_a_pickle_in_place_of_a_file_is_rejected_and_never_run(folder, capsys, path, stage):
    Path(path).write_bytes(pickle.dumps(Canary()))
    assert path.rsplit("/", 1)[1] in refused(capsys, stage)
    assert not Path("canary").exists()


def test_objects_in_an_array_are_rejected_and_never_unpickled(folder, capsys):
    path = PREPARED / "train/labels.npy"
    np.save(path, np.array([Canary()], dtype=object), allow_pickle=True)
    assert "labels.npy" in refused(capsys, "train")
    assert not Path("canary").exists()


def test_a_pickle_in_place_of_a_checkpoint_is_named_and_skipped(folder, capsys):
    def stop(*_) -> None:
        raise OSError(5, "stopped here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Trainer, "fit_transport", stop)
        assert run_stage("train") == 1
    newest = max(Path(".checkpoints").rglob("*.safetensors"))
    newest.write_bytes(pickle.dumps(Canary()))
    capsys.readouterr()
    assert run_stage("train") == 0
    said = capsys.readouterr()
    assert f"{newest.name} is damaged" in said.err
    assert "resuming from the checkpoint at step 8" in said.out
    assert not Path("canary").exists()
    (run,) = MlflowClient().search_runs([store.connect()])
    history = MlflowClient().get_metric_history(run.info.run_id, NAMES["partner_loss"])
    assert [point.step for point in history] == [4, 8, 12]  # none of them twice


def test_metrics_of_another_model_are_not_logged_into_this_ones_run(folder, capsys):
    assert run_stage("encode") == 0
    write_json(METRICS, {"model/digest": "of another", "verdict": "sound"})
    line = refused(capsys, "visualize")
    assert "reports/metrics.json is of the model of another, expected those of" in line


def test_a_non_finite_transport_loss_stops_the_fit_at_its_step(folder, capsys, monkeypatch):
    loss, nan = transport_fit._alignment_loss, float("nan")
    monkeypatch.setattr(transport_fit, "_alignment_loss", lambda *given: loss(*given) * nan)
    line = refused(capsys, "train")
    assert line == "error: alignment_loss is nan at step 1 of the transport's fit"


AUDITED = """
import sys
from pipeline.run import run_stage
def forbid(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError(f"unpickled {{arguments}}")
sys.addaudithook(forbid)
sys.exit(run_stage("{stage}"))
"""


def test_no_stage_unpickles_anything_and_none_writes_a_pickle(folder):
    set_params({"visualize.tsne_images": 60, "evaluate.swaps": 200, "prepare.dataset": "digits",
                "classifier.steps": 20, "classifier.threads": 1})  # fmt: skip
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    for stage in ("prepare", "train", "encode", "classifier", "evaluate", "visualize", "report"):
        done = subprocess.run(
            [sys.executable, "-c", AUDITED.format(stage=stage)],
            env=kept | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, (stage, done.stderr[-2000:])
    written = [
        path
        for place in (
            "data",
            "models",
            "classifier",
            "codes",
            "reports",
            "mlruns",
            ".checkpoints",
            ".journal",
        )
        for path in Path(place).rglob("*")
        if path.is_file()
    ]
    assert {path.suffix for path in written} <= {
        ".npy", ".json", ".safetensors", ".csv", ".png", ".py", ".txt", ".yaml", ".lock", ".webp",
        ".jsonl", ".patch", ".gif", ".html", "",
    }  # fmt: skip
    assert len(written) > 40
    for path in written:
        content = path.read_bytes()
        # Protocols 2 to 5 begin so; .npy files of objects hold one behind their header.
        assert not (content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05"), path
        assert b"\x80\x04\x95" not in content[:4096], path
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        if path.name == "MLmodel":
            assert b"cloudpickle" not in content.replace(b"cloudpickle_version", b"")
    loaded = [sys.executable, "-c", LOADED]
    done = subprocess.run(
        loaded, env=kept | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


PLACES = (
    "data", "models", "classifier", "codes", "reports", "mlruns", ".checkpoints", ".journal",
)  # fmt: skip
LOADED = """
import sys
from pipeline.tracking import registry, store
def forbid(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError(f"unpickled {arguments}")
store.connect()
sys.addaudithook(forbid)
from pipeline.tracking.charts import NAMES
import numpy as np
model = registry.load("models:/vaegan/1")
assert model.predict(np.zeros((1, 1, 28, 28), np.float32)).shape == (1, 1, 28, 28)
"""


def test_a_description_without_its_arrays_gives_a_one_line_error(folder, capsys):
    write_array(PREPARED / "test/images.npy", np.zeros((2, 1, 16, 16), np.uint8))
    assert "test/images.npy is damaged" in refused(capsys, "encode")
