"""The registered model does what the model does, from its own code and weights alone."""

import ast
import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import uvicorn
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from mlflow.types import DataType, ParamSchema, ParamSpec
from mlflow.utils.validation import _validate_model_alias_name
from PIL import Image

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


# Class "ring" has two images, "3" one, and "dot" none.
CLASSES = registry.Classes(
    ["ring", "3", "dot"], noise_and_a_bar(3, seed=200), np.array([0, 1, 0], np.int64)
)


@pytest.fixture(scope="module")
def registered(store, model, images):
    """A model registered into a run that is not active."""
    folder = store.folder / "models"
    model.save(folder)
    client = MlflowClient()
    run_id = client.create_run(store.experiment).info.run_id
    client.log_metric(run_id, "loss", 2.5, step=7)
    tags = {"git.commit": "c0ffee"}
    version = registry.register(folder, run_id, tags, images, step=7, classes=CLASSES)
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


def test_the_test_model_distinguishes_the_test_images(model, images):
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


def test_swap_uses_the_next_images_identity_by_default(served, model, images):
    answer = served.predict(images, params={"task": "swap"})
    expected = model.swap(tensor(images[[1, 2, 0]]), tensor(images)).detach().numpy()
    np.testing.assert_allclose(answer, expected, atol=ATOL)


@pytest.mark.parametrize("identity_from", [[], [0]])
def test_a_swap_of_a_single_image_is_refused_without_a_class(served, images, identity_from):
    params = {"task": "swap", "identity_from": identity_from}
    message = "needs a second image, or a class: .* identity, expected one of ring, 3, dot or a num"
    with pytest.raises(MlflowException, match=message):
        served.predict(images[:1], params=params)


@pytest.mark.parametrize(
    ("identity", "numbers"),
    [("ring", [0, 0, 0]), (0, [0, 0, 0]), ("3", [1, 1, 1]), (["ring", 1, "3"], [0, 1, 1])],
)
def test_swaps_to_a_class_by_name_or_number(served, model, images, identity, numbers):
    answer = served.predict(images, params={"task": "swap", "identity": identity})
    codes = model.encode(tensor(CLASSES.images)).specified.mean.detach()
    means = torch.stack([codes[[0, 2]].mean(dim=0), codes[1]])
    styles = model.encode(tensor(images)).unspecified.mean
    expected = model.decode(means[numbers], styles).detach().numpy()
    np.testing.assert_allclose(answer, expected, atol=ATOL)
    assert np.abs(answer - served.predict(images)).max() > 0.01


def test_swaps_a_single_image_to_a_class(served, images):
    alone = served.predict(images[:1], params={"task": "swap", "identity": "ring"})
    together = served.predict(images, params={"task": "swap", "identity": "ring"})
    np.testing.assert_allclose(alone, together[:1], atol=1e-5)  # rounding varies with the batch


@pytest.mark.parametrize("seed", [None, 0, 5, -1])
def test_samples_a_style_by_seed_as_the_model_does(served, model, images, seed):
    params = {"task": "sample"} | ({} if seed is None else {"seed": seed})
    rng = torch.Generator().manual_seed(seed or 0)
    expected = model.sample(tensor(images), rng).detach().numpy()
    np.testing.assert_allclose(served.predict(images, params=params), expected, atol=ATOL)


def test_another_seed_samples_another_style(served, images):
    one, two = (served.predict(images, params={"task": "sample", "seed": seed}) for seed in (1, 2))
    assert np.abs(one - two).max() > 0.01


def test_samples_several_styles_of_each_image(served, model, images):
    answer = served.predict(images, params={"task": "sample", "count": 2, "seed": 3})
    repeated = tensor(images).repeat_interleave(2, dim=0)
    expected = model.sample(repeated, torch.Generator().manual_seed(3)).detach().numpy()
    np.testing.assert_allclose(answer, expected, atol=ATOL)


def png(image):
    """An image float32 (1, H, W) as the content of a file."""
    file = io.BytesIO()
    Image.fromarray(np.rint(image[0] * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("form", ["list of bytes", "column", "table of bytes", "table of base64"])
def test_files_are_taken_beside_arrays(served, images, form):
    files = [png(image) for image in images]
    texts = [base64.b64encode(file).decode() for file in files]
    given = {
        "list of bytes": files,
        "column": pd.Series(files),
        "table of bytes": pd.DataFrame({"image": files}),
        "table of base64": pd.DataFrame({"image": texts}),
    }[form]
    expected = served.predict(np.rint(images * 255).astype(np.float32) / 255)
    np.testing.assert_allclose(served.predict(given), expected, atol=ATOL)


def test_a_column_of_flattened_arrays_is_read_by_mlflow_as_before(served, images):
    table = pd.DataFrame({"image": [image.ravel() for image in images]})
    np.testing.assert_array_equal(served.predict(table), served.predict(images))


def test_the_classes_are_told_without_an_image(served, images):
    for given in ([], images, np.zeros((0, *SHAPE), np.float32)):
        assert served.predict(given, params={"task": "classes"}) == CLASSES.names


def test_predict_does_not_change_the_given_images(served, images):
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
        ({"task": "swap", "identity_from": 1}, "must be a list of positions in the batch, got 1"),
        ({"task": "swap", "identity_from": [0, 1.5, 2]}, "a list of positions .* got [0, 1.5, 2]"),
        ({"task": "swap", "identity_from": [0, float("nan"), 2]}, "a list of positions .* nan"),
        ({"task": "swap", "identity_from": None}, "a list of positions in the batch, got None"),
        ({"task": "swap", "identity_from": [[0], [1], [2]]}, "a list of positions in the batch"),
        ({"task": "sample", "seed": "one"}, "seed must be a whole number .* got 'one'"),
        ({"task": "sample", "seed": 1.5}, "seed must be a whole number .* got 1.5"),
        ({"task": "sample", "seed": float("nan")}, "seed must be a whole number .* got nan"),
        ({"task": "sample", "seed": True}, "seed must be a whole number .* got True"),
        (
            {"task": "sample", "seed": 2**63},
            "seed must be a whole number .* got 9223372036854775808",
        ),
        ({"tsk": "swap"}, "unknown parameter 'tsk', expected task, identity, identity_from, seed"),
        ({"task": "sample", "Seed": 1, "n": 2}, "unknown parameter 'Seed', 'n', expected task, "),
        (
            {"task": 3},
            "task must be one of reconstruct, encode, swap, sample, compare, classes, got 3",
        ),
        (
            {"task": None},
            "task must be one of reconstruct, encode, swap, sample, compare, classes, got None",
        ),
        ({"task": ["swap"]}, "task must be one of .*, got ['swap']"),
        ({"task": "sample", "count": 0}, "count must be a whole number in [1, 1000], got 0"),
        ({"task": "sample", "count": 1001}, "count must be a whole number in [1, 1000], got 1001"),
        ({"task": "swap", "count": 2}, "count is for the task sample, got the task swap"),
        ({"task": "encode", "seed": 4}, "seed is for the task sample, got the task encode"),
        ({"identity": "ring"}, "identity is for the task swap, got the task reconstruct"),
        ({"task": "swap", "identity": "square"}, "unknown class 'square', expected one of ring, 3"),
        ({"task": "swap", "identity": 7}, "unknown class '7', expected one of ring, 3, dot or a n"),
        ({"task": "swap", "identity": -1}, "unknown class '-1'"),
        (
            {"task": "swap", "identity": 0.5},
            "identity must be a class by name or .* got 0.5",
        ),
        (
            {"task": "swap", "identity": ["ring", "3"]},
            "one for each of the 3 images, got 2: ring",
        ),
        ({"task": "swap", "identity": "dot"}, "class 'dot' has no training image"),
        (
            {"task": "swap", "identity": "ring", "identity_from": [1, 2, 0]},
            "give identity or identity_from, not both",
        ),
        ("swap", "params must be an object of names and values, got 'swap'"),
    ],
)
def test_an_invalid_parameter_is_rejected_with_a_sentence(served, images, params, message):
    with pytest.raises(MlflowException, match=message.replace("[", r"\[")) as refusal:
        served.predict(images, params=params)
    assert refusal.value.get_http_status_code() == 400
    assert "\n" not in refusal.value.message


def test_parameters_as_a_client_sends_them_all_are_those_of_the_task(served, images):
    """A client that fills in every default means nothing by those of other tasks."""
    every = {"task": "encode", "identity": [], "identity_from": [], "seed": 0, "count": 1}
    assert set(served.predict(images, params=every)) == set(
        served.predict(images, params={"task": "encode"})
    )


def test_another_models_parameters_are_left_to_mlflow(served):
    other = ParamSchema([ParamSpec("tsk", DataType.string, "a")])
    data = np.zeros((1, 2))
    kept = mlflow.pyfunc._validate_prediction_input(data, {"tsk": "b", "more": 1}, None, other)
    assert kept[1] == {"tsk": "b"}


def test_files_reach_no_version_that_was_registered_before_these_were_known(served, images):
    """Both may be loaded in one process, where the older one meets the checks of the newer."""
    older = ParamSchema([param for param in served_model.PARAMS if param.name != "count"])
    inputs = served.metadata.signature.inputs
    kept = mlflow.pyfunc._validate_prediction_input(images, {}, inputs, older)
    np.testing.assert_array_equal(kept[0], images)
    with pytest.raises(MlflowException, match="Failed to enforce schema"):
        mlflow.pyfunc._validate_prediction_input([png(images[0])], {}, inputs, older)


@pytest.fixture(scope="module")
def served_at(served):
    """Address of MLflow's own scoring server around the model, in a thread of this process."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listening:
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # as init does, for good
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        config = uvicorn.Config(scoring_server.init(served), log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/invocations"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"params": {"tsk": "swap"}}, "unknown parameter 'tsk', expected task, identity,"),
        ({"params": {"task": "nope"}}, "unknown task 'nope', expected one of reconstruct"),
        ({"params": {"task": "sample", "seed": 0.5}}, "seed must be a whole number"),
        ({"params": {"task": "swap", "identity": "square"}}, "unknown class 'square'"),
        ({"params": ["swap"]}, "params must be an object of names and values"),
        ({"parms": {"task": "swap"}}, "unknown part 'parms' of the request, expected inputs and"),
        ({"task": "swap"}, "unknown part 'task' of the request, expected inputs and perhaps par"),
        ({"inputs": []}, "got no images, expected one or more"),
        (
            {"inputs": [[[[0.0]]]]},
            "got images of shape (1, 1, 1, 1), expected float32 images",
        ),
        ({"inputs": [[[[float("nan")] * 28] * 28]]}, "pixels must be finite numbers, got 784"),
        ({"inputs": [[[[2.0] * 28] * 28]]}, "pixels must lie in [0, 1], got values from 2 to 2"),
    ],
)
def test_the_scoring_server_refuses_what_mlflow_would_drop(served_at, images, request_, message):
    status, answer = post(served_at, {"inputs": images.tolist()} | request_)
    assert status == 400
    assert message in answer["message"]


def test_the_scoring_server_takes_files_in_base64(served_at, served, images):
    texts = [base64.b64encode(png(image)).decode() for image in images]
    params = {"task": "swap", "identity": "ring"}
    status, answer = post(served_at, {"inputs": texts, "params": params})
    assert status == 200
    expected = served.predict([png(image) for image in images], params=params)
    np.testing.assert_allclose(answer["predictions"], expected, atol=ATOL)


def test_the_scoring_server_names_every_file_that_is_no_image(served_at, images):
    whole = base64.b64encode(png(images[0])).decode()
    status, answer = post(served_at, {"inputs": [whole, "a.png", whole[:400], whole]})
    assert status == 400
    assert "image 1 is the text 'a.png', expected the content of a file" in answer["message"]
    assert "; image 2 cannot be decoded: " in answer["message"]
    assert "image 0" not in answer["message"]
    assert "image 3" not in answer["message"]


def test_the_scoring_server_tells_the_classes(served_at):
    status, answer = post(served_at, {"inputs": [], "params": {"task": "classes"}})
    assert (status, answer) == (200, {"predictions": CLASSES.names})


@pytest.mark.parametrize("identity", [0, "0", "ring", ["ring"], ["ring", 0, "0"]])
def test_the_scoring_server_swaps_to_a_class(served_at, served, images, identity):
    params = {"task": "swap", "identity": identity}
    status, answer = post(served_at, {"inputs": images.tolist(), "params": params})
    assert status == 200
    expected = served.predict(images, params={"task": "swap", "identity": "ring"})
    np.testing.assert_allclose(answer["predictions"], expected, atol=ATOL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"lie in \[0, 1\], got values from 0.\d+ to 2\d\d.*divide them by 255"),
        (lambda x: set_first(x, 1.001), r"got values from .* to 1.001; were"),
        (lambda x: set_first(x, -0.25), r"got values from -0.25 to 0.89\d*$"),
        (lambda x: set_first(x, np.nan), "finite numbers, got 1 that are not"),
        (lambda x: set_first(x, np.inf), "finite numbers, got 1 that are not"),
        (lambda x: x[:0], r"got no images, expected one or more: float32 images \(n, 1, 28, 28\)"),
        (lambda x: x[:, :, :27], r"shape \(3, 1, 27, 28\), expected float32 images \(n, 1, 28, 28"),
        (lambda x: x[0], r"shape \(1, 28, 28\), expected float32 images \(n, 1, 28, 28\)"),
        (lambda x: (x * 255).astype(np.uint8), "type uint8, expected .*; divide bytes by 255"),
        (lambda x: x.astype(np.float64), "type float64, expected float32 images"),
    ],
)
def test_invalid_images_are_rejected_with_a_sentence(served, images, change, message):
    with pytest.raises(MlflowException, match=message) as refusal:
        served.predict(change(images))
    assert refusal.value.get_http_status_code() == 400
    assert "\n" not in refusal.value.message


def test_pixel_values_0_and_1_are_accepted(served, images):
    for end in (0.0, 1.0):
        assert served.predict(set_first(images, end)).shape == images.shape


def test_signature_names_shapes_and_every_parameter_with_its_default(registered, served):
    signature = served.metadata.signature
    for schema in (signature.inputs, signature.outputs):
        assert [(spec.type, spec.shape) for spec in schema] == [(np.float32, (-1, *SHAPE))]
    assert {param.name: param.default for param in signature.params} == {
        "task": "reconstruct",
        "identity": [],
        "identity_from": [],
        "seed": 0,
        "count": 1,
    }


def test_the_input_example_is_a_valid_request(registered, served, images):
    np.testing.assert_array_equal(served.input_example, images)
    request = json.loads((registered.files / "serving_input_example.json").read_text())
    np.testing.assert_array_equal(np.array(request["inputs"], np.float32), images)
    assert request["params"] == {"task": "reconstruct"}


def imported_packages(*modules):
    """Packages, not of the standard library, that our modules need, ``vaegan`` followed."""
    packages, waiting, seen = set(), [*modules], set()
    while waiting:
        base = ROOT / waiting.pop().replace(".", "/")
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if file in seen or not file.exists():
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
            waiting += [name for name in names if name.startswith("vaegan.")]
            packages |= {name.partition(".")[0] for name in names}
    assert "pipeline" not in packages, "the registered model comes without the pipeline"
    copied = {"vaegan", "conversion"}
    named = {"PIL": "pillow"}
    return {named.get(p, p) for p in packages - set(sys.stdlib_module_names) - copied}


def test_requirements_are_the_models_imports_pinned_to_installed_versions(registered):
    lines = (registered.files / "requirements.txt").read_text().split()
    pins = dict(line.split("==") for line in lines)  # fails where a line has no ==
    modules = "pipeline.tracking.served_model", "pipeline.data.conversion"
    assert set(pins) == imported_packages(*modules)
    assert pins["torch"] == torch.__version__.partition("+")[0]
    assert pins["mlflow"] == mlflow.__version__
    assert pins["numpy"] == np.__version__


def test_local_part_of_a_version_is_not_pinned(monkeypatch):
    monkeypatch.setattr(registry.metadata, "version", lambda package: "2.12.1+cpu")
    assert "torch==2.12.1" in registry.requirements()


def test_the_registered_model_is_code_and_weights_without_pickles(registered):
    files = [file for file in registered.files.rglob("*") if file.is_file()]
    texts = {"MLmodel", "registered_model_meta"}  # YAML, MLflow's own
    kinds = {file.suffix for file in files if file.name not in texts}
    assert kinds == {".py", ".safetensors", ".json", ".yaml", ".txt"}
    for file in files:  # neither a pickle (protocol 2 and later) nor a zip of some
        assert not file.read_bytes().startswith((b"\x80", b"PK")), file
    names = {file.relative_to(registered.files).as_posix() for file in files}
    assert {"served_model.py", "code/vaegan/model/vae.py", "code/conversion.py"} <= names
    assert weights_digest(registered.files / "artifacts" / "models") == weights_digest(
        registered.folder
    )


def test_the_registered_model_contains_no_bytecode(store, model, images, monkeypatch):
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
    assert (files / "code" / "vaegan" / "model" / "vae.py").is_file()
    assert not [path for path in files.rglob("*") if "pyc" in path.name]


def test_the_logged_model_is_in_its_runs_experiment_with_the_metrics_of_its_step(store, registered):
    client = MlflowClient()
    assert registered.logged.experiment_id == store.experiment
    assert registered.logged.source_run_id == registered.run_id
    assert registered.files.is_relative_to(store.folder / "mlruns")
    assert {metric.key: metric.value for metric in registered.logged.metrics} == {"loss": 2.5}
    run = client.get_run(registered.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [registered.logged.model_id]


@pytest.mark.parametrize("active", ["this run", "another run", "none, ended"])
def test_registering_leaves_the_state_of_the_run_unchanged(store, registered, images, active):
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
    assert newest.tags.pop(registry.FILES_TAG)
    assert newest.tags == {"dataset": "noise", registry.DIGEST_TAG: weights_digest(other)}
    assert registry.version_of(digest).version == again.version
    assert registry.version_of(weights_digest(other)).version == newest.version
    assert registry.version_of("0" * 64) is None
    for alias in ("candidate", "candidate-noise"):
        candidate = MlflowClient().get_model_version_by_alias(registry.NAME, alias)
        assert candidate.version == newest.version
    np.testing.assert_array_equal(
        registry.load().predict(images),
        registry.load(f"models:/{registry.NAME}/{newest.version}").predict(images),
    )


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "a-b", "été", "кошки"])
def test_a_data_sets_name_that_an_alias_may_have_is_in_it_as_it_is(name):
    assert registry.candidate_alias(name) == f"candidate-{name}"


def test_no_two_data_sets_share_an_alias_and_each_is_one():
    long = "a" * 250
    names = ["pets 1", "pets.1", "pets-1", "кошки!", "птицы!", "🐈", "🐕", long, f"{long}b"]
    aliases = [registry.candidate_alias(name) for name in names]
    assert len(set(aliases)) == len(names)
    for alias in aliases:
        _validate_model_alias_name(alias)


def test_tagging_a_version_keeps_its_other_tags(store, images):
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
    assert tags.pop(registry.FILES_TAG)
    both = {"git.commit": "b", registry.DIGEST_TAG: digest}
    assert tags == both | {"dvc.lock.models": "2.dir", "more": "yes"}
    untouched = MlflowClient().get_model_version(registry.NAME, first.version).tags
    assert "dvc.lock.models" not in untouched


def test_description_loads_the_model_in_three_lines(registered, images, model):
    client = MlflowClient()
    client.set_registered_model_alias(registry.NAME, "champion", registered.version.version)
    texts = {
        f"models:/vaegan/{registered.version.version}": registered.version.description,
        "models:/vaegan@champion": client.get_registered_model(registry.NAME).description,
    }
    for uri, text in texts.items():
        facts = "(n, 1, 28, 28)", "`image_size` [28, 28], `fit` pad, `channels` gray"
        for word in (*served_model.TASKS, "identity_from", "seed", "count", *facts):
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
def test_there_is_no_lock_tag_if_dvc_recorded_no_model(tmp_path, text):
    if text is not None:
        (tmp_path / "dvc.lock").write_text(text)
    assert registry.dvc_lock_tags(tmp_path / "dvc.lock") == {}


def test_a_lock_file_in_conflict_is_rejected_by_name(tmp_path):
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

        files = {"inputs": [base64.b64encode(png(image)).decode() for image in images]}
        status, answer = post(f"{url}/invocations", files | {"params": {"task": "encode"}})
        assert status == 200
        eight_bits = tensor(np.rint(images * 255).astype(np.float32) / 255)
        mean = model.encode(eight_bits).unspecified.mean.detach().numpy()
        np.testing.assert_allclose(answer["predictions"]["unspecified_mean"], mean, atol=ATOL)

        status, answer = post(f"{url}/invocations", request | {"params": {"task": "nope"}})
        assert status == 400
        assert answer["message"].startswith("unknown task 'nope'")  # not with the whole input
        for mistyped in ({"params": {"tsk": "swap"}}, {"parms": {"task": "swap"}}):
            status, answer = post(f"{url}/invocations", {"inputs": images.tolist()} | mistyped)
            assert status == 400
            assert "unknown pa" in answer["message"]
        status, answer = post(f"{url}/invocations", {"inputs": (images * 255).tolist()})
        assert status == 400
        assert "divide them by 255" in answer["message"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
