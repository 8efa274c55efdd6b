"""The registered model does what the model does, from its own code and weights alone."""

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.artifacts.files import ArtifactError
from pipeline.tracking import registry, served_model
from vaegan.model.config import NO_TRANSPORT, CodeConfig, ModelStructure
from vaegan.model.vae import DisentanglingVAE, weights_digest

ROOT = Path(__file__).parents[3]
SHAPE = (1, 28, 28)
# The same arithmetic on the same numbers; rounding may differ with threads and processes only.
ATOL = 1e-6


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A tracking store of its own, and no unpickling; what was set before is set again after."""
    folder = tmp_path_factory.mktemp("store")
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        patch.chdir(folder)  # MLflow must not write where it happens to run
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        experiment = mlflow.create_experiment("vaegan", artifact_location=f"{folder}/mlruns")
        yield SimpleNamespace(folder=folder, experiment=experiment)
        mlflow.set_tracking_uri(before)


def noise_and_a_bar(count, seed):
    """Images float32 (count, 1, 28, 28), each with a bar elsewhere."""
    rng = np.random.default_rng(seed)
    images = 0.2 * rng.random((count, *SHAPE), dtype=np.float32)
    for image, row in zip(images, rng.permutation(24)[:count], strict=True):
        image[0, row : row + 4] += 0.7
    return images


def random_model(seed):
    """Not trained, but its normalisation has seen images, so that it tells them apart."""
    torch.manual_seed(seed)
    codes = CodeConfig(3, True, False), CodeConfig(4, True, False)
    model = DisentanglingVAE(ModelStructure(2, *codes, NO_TRANSPORT, SHAPE, 10))
    batch = torch.from_numpy(noise_and_a_bar(20, seed=100))
    with torch.no_grad():
        for _ in range(50):
            model.train().reconstruct(batch)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return random_model(0)


@pytest.fixture(scope="module")
def images():
    return noise_and_a_bar(3, seed=0)


@pytest.fixture(scope="module")
def registered(store, model, images):
    """A model registered into a run that is not active."""
    folder = store.folder / "models"
    model.save(folder)
    client = MlflowClient()
    run_id = client.create_run(store.experiment).info.run_id
    client.log_metric(run_id, "loss", 2.5, step=7)
    version = registry.register(folder, run_id, {"git.commit": "c0ffee"}, images, step=7)
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    files = Path(logged.artifact_location.removeprefix("file://"))
    return SimpleNamespace(
        folder=folder, run_id=run_id, version=version, logged=logged, files=files
    )


@pytest.fixture(scope="module")
def served(registered):
    return registry.load(f"models:/{registry.NAME}/{registered.version.version}")


def tensor(images):
    return torch.from_numpy(images)


def test_images_of_the_test_model_are_told_apart(model, images):
    """Or else none of the comparisons below would mean anything."""
    drawn = model.reconstruct(tensor(images)).detach().numpy()
    swapped = model.swap(tensor(images[[1, 2, 0]]), tensor(images)).detach().numpy()
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01
    assert np.abs(drawn - swapped).max() > 0.01


def test_reconstructs_by_default_as_the_model_does(served, model, images):
    expected = model.reconstruct(tensor(images)).detach().numpy()
    for params in (None, {}, {"task": "reconstruct"}):
        drawn = served.predict(images, params=params)
        assert drawn.dtype == np.float32
        np.testing.assert_allclose(drawn, expected, atol=ATOL)


def test_encodes_as_the_model_does(served, model, images):
    answer = served.predict(images, params={"task": "encode"})
    codes = model.encode(tensor(images))
    expected = {
        "specified_mean": codes.specified.mean,
        "specified_std": codes.specified.std,
        "unspecified_mean": codes.unspecified.mean,
        "unspecified_std": codes.unspecified.std,
    }
    assert set(answer) == set(expected)
    for name, code in expected.items():
        np.testing.assert_allclose(answer[name], code.detach().numpy(), atol=ATOL, err_msg=name)


def test_swaps_the_identity_in_and_keeps_the_style(served, model, images):
    answer = served.predict(images, params={"task": "swap", "identity_from": [2, 2, 0]})
    expected = model.swap(tensor(images[[2, 2, 0]]), tensor(images)).detach().numpy()
    np.testing.assert_allclose(answer, expected, atol=ATOL)


def test_takes_the_next_images_identity_where_none_is_named(served, model, images):
    answer = served.predict(images, params={"task": "swap"})
    expected = model.swap(tensor(images[[1, 2, 0]]), tensor(images)).detach().numpy()
    np.testing.assert_allclose(answer, expected, atol=ATOL)


def test_swapping_a_single_image_is_its_reconstruction(served, images):
    np.testing.assert_allclose(
        served.predict(images[:1], params={"task": "swap"}), served.predict(images[:1]), atol=ATOL
    )


@pytest.mark.parametrize("seed", [None, 0, 5, -1])
def test_samples_a_style_by_seed_as_the_model_does(served, model, images, seed):
    params = {"task": "sample"} | ({} if seed is None else {"seed": seed})
    rng = torch.Generator().manual_seed(seed or 0)
    expected = model.sample(tensor(images), rng).detach().numpy()
    np.testing.assert_allclose(served.predict(images, params=params), expected, atol=ATOL)


def test_another_seed_samples_another_style(served, images):
    one, two = (served.predict(images, params={"task": "sample", "seed": seed}) for seed in (1, 2))
    assert np.abs(one - two).max() > 0.01


def test_leaves_the_images_it_is_given_alone(served, images):
    given = images.copy()
    given.setflags(write=False)
    served.predict(given, params={"task": "swap"})
    np.testing.assert_array_equal(given, images)


def set_first(images, value):
    changed = images.copy()
    changed[0, 0, 0, 0] = value
    return changed


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"task": "nope"},
            "unknown task 'nope', expected one of reconstruct, encode, swap, sample",
        ),
        ({"task": "swap", "identity_from": [0, 1]}, "each of the 3 images .* got 2: [0, 1]"),
        ({"task": "swap", "identity_from": [0, 1, 3]}, "from 0 to 2 in the batch, got [3]"),
        ({"task": "swap", "identity_from": [0, -1, 2]}, "from 0 to 2 in the batch, got [-1]"),
        ({"task": "swap", "identity_from": 1}, "must be a 1D array"),
        ({"task": "sample", "seed": "one"}, "for value `one`"),
    ],
)
def test_refuses_a_wrong_parameter_with_a_sentence(served, images, params, message):
    with pytest.raises(MlflowException, match=message.replace("[", r"\[")) as refusal:
        served.predict(images, params=params)
    assert refusal.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"lie in \[0, 1\], got values from 0.\d+ to 2\d\d.*divide them by 255"),
        (lambda x: set_first(x, 1.001), r"got values from .* to 1.001; were"),
        (lambda x: set_first(x, -0.25), r"got values from -0.25 to 0.89\d*$"),
        (lambda x: set_first(x, np.nan), "finite numbers, got 1 that are not"),
        (lambda x: set_first(x, np.inf), "finite numbers, got 1 that are not"),
        (lambda x: x[:0], r"one image or more, got none: shape \(0, 1, 28, 28\)"),
        (lambda x: x[:, :, :27], r"\(3, 1, 27, 28\) does not match expected shape \(-1, 1, 28, 28"),
        (lambda x: x[0], r"\(1, 28, 28\) does not match expected shape \(-1, 1, 28, 28\)"),
        (lambda x: (x * 255).astype(np.uint8), "uint8 does not match expected dtype float32"),
    ],
)
def test_refuses_images_that_are_none_with_a_sentence(served, images, change, message):
    with pytest.raises(MlflowException, match=message) as refusal:
        served.predict(change(images))
    assert refusal.value.get_http_status_code() == 400


def test_the_ends_of_the_range_are_in_it(served, images):
    for end in (0.0, 1.0):
        assert served.predict(set_first(images, end)).shape == images.shape


def test_signature_names_shapes_and_every_parameter_with_its_default(registered, served):
    signature = served.metadata.signature
    for schema in (signature.inputs, signature.outputs):
        assert [(spec.type, spec.shape) for spec in schema] == [(np.float32, (-1, *SHAPE))]
    assert {param.name: param.default for param in signature.params} == {
        "task": "reconstruct",
        "identity_from": [],
        "seed": 0,
    }


def test_input_example_is_there_and_ready_to_be_sent(registered, served, images):
    np.testing.assert_array_equal(served.input_example, images)
    request = json.loads((registered.files / "serving_input_example.json").read_text())
    np.testing.assert_array_equal(np.array(request["inputs"], np.float32), images)
    assert request["params"] == {"task": "reconstruct"}


def imported_packages(module):
    """Packages, not of the standard library, that one of our modules needs, ``vaegan`` followed."""
    packages, waiting, seen = set(), [module], set()
    while waiting:
        file = ROOT / f"{waiting.pop().replace('.', '/')}.py"
        if file in seen or not file.exists():
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            waiting += [name for name in names if name.startswith("vaegan.")]
            packages |= {name.partition(".")[0] for name in names}
    assert "pipeline" not in packages, "the registered model comes without the pipeline"
    return packages - set(sys.stdlib_module_names) - {"vaegan"}


def test_requirements_are_what_the_model_imports_each_pinned_as_installed(registered):
    lines = (registered.files / "requirements.txt").read_text().split()
    pins = dict(line.split("==") for line in lines)  # fails where a line has no ==
    assert set(pins) == imported_packages("pipeline.served_model")
    assert pins["torch"] == torch.__version__.partition("+")[0]
    assert pins["mlflow"] == mlflow.__version__
    assert pins["numpy"] == np.__version__


def test_local_part_of_a_version_is_not_pinned(monkeypatch):
    monkeypatch.setattr(registry.metadata, "version", lambda package: "2.12.1+cpu")
    assert "torch==2.12.1" in registry.requirements()


def test_is_code_and_weights_and_nothing_that_runs_when_read(registered):
    files = [file for file in registered.files.rglob("*") if file.is_file()]
    texts = {"MLmodel", "registered_model_meta"}  # YAML, MLflow's own
    kinds = {file.suffix for file in files if file.name not in texts}
    assert kinds == {".py", ".safetensors", ".json", ".yaml", ".txt"}
    for file in files:  # neither a pickle (protocol 2 and later) nor a zip of some
        assert not file.read_bytes().startswith((b"\x80", b"PK")), file
    names = {file.relative_to(registered.files).as_posix() for file in files}
    assert {"served_model.py", "code/vaegan/model.py"} <= names
    assert weights_digest(registered.files / "artifacts" / "models") == weights_digest(
        registered.folder
    )


def test_carries_no_bytecode(store, model, images, monkeypatch):
    """Even where the package that is copied has some."""
    package = store.folder / "with_bytecode" / "vaegan"
    shutil.copytree(ROOT / "vaegan", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"junk")
    monkeypatch.setattr(registry.vaegan, "__file__", str(package / "__init__.py"))
    model.save(store.folder / "models")
    run_id = MlflowClient().create_run(store.experiment).info.run_id
    version = registry.register(store.folder / "models", run_id, {}, images)
    files = Path(mlflow.artifacts.download_artifacts(version.source))
    assert (files / "code" / "vaegan" / "model.py").is_file()
    assert not [path for path in files.rglob("*") if "pyc" in path.name]


def test_lands_in_its_runs_experiment_with_the_metrics_of_its_step(store, registered):
    client = MlflowClient()
    assert registered.logged.experiment_id == store.experiment
    assert registered.logged.source_run_id == registered.run_id
    assert registered.files.is_relative_to(store.folder / "mlruns")
    assert {metric.key: metric.value for metric in registered.logged.metrics} == {"loss": 2.5}
    run = client.get_run(registered.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [registered.logged.model_id]


@pytest.mark.parametrize("active", ["this run", "another run", "none, ended"])
def test_registers_into_a_run_and_leaves_it_as_it_was(store, registered, images, active):
    client = MlflowClient()
    run_id = client.create_run(store.experiment).info.run_id
    if active == "none, ended":
        client.set_terminated(run_id, "FINISHED")
        version = registry.register(registered.folder, run_id, {}, images)
        assert mlflow.active_run() is None
        assert client.get_run(run_id).info.status == "FINISHED"
    else:
        chosen = {"run_id": run_id} if active == "this run" else {"experiment_id": "0"}
        with mlflow.start_run(**chosen) as run:
            version = registry.register(registered.folder, run_id, {}, images)
            assert mlflow.active_run().info.run_id == run.info.run_id
            assert client.get_run(run_id).info.status == "RUNNING"
    assert version.run_id == run_id
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    assert (logged.source_run_id, logged.experiment_id) == (run_id, store.experiment)


def test_newest_version_is_the_candidate_and_is_found_by_its_weights(store, registered, images):
    other = store.folder / "other"
    random_model(1).save(other)
    run_id = MlflowClient().create_run(store.experiment).info.run_id
    digest = weights_digest(registered.folder)
    again = registry.register(registered.folder, run_id, {}, images)
    newest = registry.register(other, run_id, {"dataset": "noise"}, images)

    assert int(registered.version.version) < int(again.version) < int(newest.version)
    assert newest.tags == {"dataset": "noise", registry.DIGEST_TAG: weights_digest(other)}
    assert registry.version_of(digest).version == again.version
    assert registry.version_of(weights_digest(other)).version == newest.version
    assert registry.version_of("0" * 64) is None
    candidate = MlflowClient().get_model_version_by_alias(registry.NAME, registry.ALIAS)
    assert candidate.version == newest.version
    np.testing.assert_array_equal(
        registry.load().predict(images),
        registry.load(f"models:/{registry.NAME}/{newest.version}").predict(images),
    )


def test_tags_the_newest_version_of_a_model_and_leaves_its_other_tags(store, images):
    folder = store.folder / "tagged"
    random_model(2).save(folder)
    digest = weights_digest(folder)
    run_id = MlflowClient().create_run(store.experiment).info.run_id
    first = registry.register(folder, run_id, {"git.commit": "a"}, images)
    second = registry.register(folder, run_id, {"git.commit": "b"}, images)
    registry.tag_version_of(digest, {"dvc.lock.models": "1.dir"})
    registry.tag_version_of(digest, {"dvc.lock.models": "2.dir", "more": "yes"})
    registry.tag_version_of("0" * 64, {"dvc.lock.models": "3.dir"})

    tags = MlflowClient().get_model_version(registry.NAME, second.version).tags
    both = {"git.commit": "b", registry.DIGEST_TAG: digest}
    assert tags == both | {"dvc.lock.models": "2.dir", "more": "yes"}
    untouched = MlflowClient().get_model_version(registry.NAME, first.version).tags
    assert "dvc.lock.models" not in untouched


def test_description_loads_the_model_in_three_lines(registered, images, model):
    client = MlflowClient()
    texts = {
        f"models:/vaegan/{registered.version.version}": registered.version.description,
        "models:/vaegan@candidate": client.get_registered_model(registry.NAME).description,
    }
    for uri, text in texts.items():
        for word in (*served_model.TASKS, "identity_from", "seed", "(n, 1, 28, 28)"):
            assert word in text
        (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
        assert len(code.strip().splitlines()) == 3
        assert f'"{uri}"' in code
        names = {"images": images}
        exec(code, names)  # noqa: S102 - our own three lines
        assert names["answer"].shape == images.shape


def test_a_folder_without_a_model_is_not_registered(store, registered, images, tmp_path):
    before = len(MlflowClient().search_model_versions())
    with pytest.raises(FileNotFoundError, match="model.json"):
        registry.register(tmp_path, registered.run_id, {}, images)
    assert len(MlflowClient().search_model_versions()) == before


LOCK = """\
schema: '2.0'
stages:
  prepare:
    cmd: python -m pipeline prepare
    outs:
    - {path: models, hash: md5, md5: ofprepare.dir, size: 1, nfiles: 1}
  train:
    cmd: python -m pipeline.train
    deps:
    - {path: models, hash: md5, md5: ofadep.dir, size: 1, nfiles: 1}
    outs:
    - {path: reports/curves.csv, hash: md5, md5: ofthecurves, size: 1}
    - {path: models, hash: md5, md5: 0123456789abcdef.dir, size: 2, nfiles: 2}
"""


def test_lock_tag_is_the_md5_that_dvc_recorded_for_the_trained_model(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    tags = registry.dvc_lock_tags(tmp_path / "dvc.lock")
    assert tags == {"dvc.lock.models": "0123456789abcdef.dir"}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "schema: '2.0'\n",
        LOCK.replace("  train:", "  encode:"),
        LOCK.replace("path: models, hash: md5, md5: 0", "path: models2, hash: md5, md5: 0"),
        LOCK.replace("md5: 0123456789abcdef.dir, ", ""),
    ],
)
def test_there_is_no_lock_tag_where_dvc_recorded_no_model(tmp_path, text):
    if text is not None:
        (tmp_path / "dvc.lock").write_text(text)
    assert registry.dvc_lock_tags(tmp_path / "dvc.lock") == {}


def test_a_lock_file_in_conflict_is_refused_by_name(tmp_path):
    (tmp_path / "dvc.lock").write_text("<<<<<<< HEAD\n" + LOCK + "=======\n")
    with pytest.raises(ArtifactError, match="dvc.lock is not YAML"):
        registry.dvc_lock_tags(tmp_path / "dvc.lock")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url, body):
    """Status and JSON content of the answer."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wait_until_up(server, url, log):
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not come up:\n{log.read_text()}")


def test_mlflows_own_commands_predict_and_serve_it_without_the_repository(
    store, registered, model, images, tmp_path
):
    # A package of the same name that cannot be imported: only the registered code will do.
    (tmp_path / "vaegan").mkdir()
    (tmp_path / "vaegan" / "__init__.py").write_text("raise ImportError('the wrong vaegan')\n")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store.folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
    uri = f"models:/{registry.NAME}/{registered.version.version}"
    log, port = tmp_path / "serve.log", free_port()
    mlflow_models = [sys.executable, "-m", "mlflow", "models"]
    with log.open("w") as output:
        server = subprocess.Popen(  # started first, for it takes its time
            [*mlflow_models, "serve", "--env-manager", "local", "-m", uri]
            + ["-h", "127.0.0.1", "-p", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers end with it
        )
    try:
        request = {
            "inputs": images.tolist(),
            "params": {"task": "swap", "identity_from": [2, 0, 1]},
        }
        (tmp_path / "input.json").write_text(json.dumps(request))
        done = subprocess.run(
            [*mlflow_models, "predict", "--env-manager", "local", "-m", uri]
            + ["-i", "input.json", "-t", "json", "-o", "output.json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads((tmp_path / "output.json").read_text())["predictions"]
        swapped = model.swap(tensor(images[[2, 0, 1]]), tensor(images)).detach().numpy()
        np.testing.assert_allclose(answer, swapped, atol=ATOL)

        url = f"http://127.0.0.1:{port}"
        wait_until_up(server, url, log)
        status, answer = post(f"{url}/invocations", request | {"params": {"task": "encode"}})
        assert status == 200
        mean = model.encode(tensor(images)).unspecified.mean.detach().numpy()
        np.testing.assert_allclose(answer["predictions"]["unspecified_mean"], mean, atol=ATOL)

        status, answer = post(f"{url}/invocations", request | {"params": {"task": "nope"}})
        assert status == 400
        assert "unknown task 'nope'" in answer["message"]
        status, answer = post(f"{url}/invocations", {"inputs": (images * 255).tolist()})
        assert status == 400
        assert "divide them by 255" in answer["message"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
