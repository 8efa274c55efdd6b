"""The registered model: wrapping, registering, tags and aliases, loading.

A version holds code and weights, no pickle; its ``predict`` is in
``pipeline/tracking/served_model.py``.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.pyfunc import PyFuncModel
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import Schema, TensorSpec
from mlflow.utils.file_utils import local_file_uri_to_path
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import vaegan
from pipeline.artifacts.dataset import as_they_are
from pipeline.artifacts.files import ArtifactError
from pipeline.artifacts.paths import MODEL
from pipeline.data import conversion as image_conversion
from pipeline.tracking import served_model
from vaegan.data import to_unit_range
from vaegan.model.config import ModelStructure
from vaegan.model.vae import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    DisentanglingVAE,
    read_config,
    weights_digest,
)

NAME = "vaegan"
ALIAS = "candidate"  # the version trained last; candidate-DATASET: the last one of a data set
DATASET_TAG = "dataset"
DIGEST_TAG, FILES_TAG = "model.sha256", "files.sha256"
LOCK_TAG = "dvc.lock.models"
# Files that are written with a version; loading it, and users, may add others.
WRITTEN = re.compile(r"MLmodel|[\w.-]+\.(py|json|yaml|txt)|code/.+\.py|artifacts/.+")
TRAIN_STAGE = "train"
LONGEST_WORD, WORD_DIGEST = 200, 8  # characters of an alias: 255 at most

# All that served_model.py imports.
PACKAGES = ("annotated_types", "mlflow", "numpy", "pandas", "pillow", "safetensors", "torch")

DESCRIPTION = """\
A variational auto-encoder with two codes for each image: a *specified* one of what it shows
(its class) and an *unspecified* one of how it looks (its style).

```python
import mlflow
model = mlflow.pyfunc.load_model("models:/{reference}")
answer = model.predict(images, params={{"task": "sample", "seed": 1}})
```

`images` are float32 {shape} with values in [0, 1], or a list of images of any size: the content of
image files (`Path("a.png").read_bytes()`), Pillow images or arrays (H, W) or (H, W, C). Those are
converted like the training images: {conversion}.
The parameter `task` says what to do:

- `reconstruct` (default): each image drawn again from its own codes.
- `encode`: mean and standard deviation of both codes of each image, four arrays by name.
- `swap`: another identity in the style of image i: of the class `identity` (a name or a number, or
  one per image), or what image `identity_from[i]` shows (one position in the batch per image); with
  neither, each image takes the next one's identity.
- `sample`: what image i shows, in `count` styles sampled from the prior N(0, I); `seed` says which.
- `compare`: whether an image is unlike those that the model knows, by the error of its
  reconstruction beside those of test images.
- `classes`: the names of the classes, by number; `predict([], params={{"task": "classes"}})`.

Loading runs the code that was registered with the weights, so load from a store that you trust.
"""


@dataclass(frozen=True)
class Classes:
    """Some training images of each class, from which a version knows what a class looks like.

    Attributes:
        names: By the class's number.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
    """

    names: list[str]
    images: np.ndarray
    labels: np.ndarray


def register(
    model_folder: Path,
    run_id: str,
    tags: dict[str, str],
    input_example: np.ndarray,
    step: int = 0,
    classes: Classes | None = None,
    conversion: dict[str, Any] | None = None,
    test_images: np.ndarray | None = None,
) -> ModelVersion:
    """Logs a trained model into a run and registers it as the newest version of ``vaegan``.

    The run may be active or not, and is left as it was. The alias ``candidate`` is moved
    to the new version.

    Args:
        model_folder: Folder that :meth:`vaegan.model.DisentanglingVAE.save` wrote.
        run_id: The run that the model belongs to; it exists already.
        tags: Tags of the version; the digest of the weights is added.
        input_example: Some images float32 (n, C, H, W) in [0, 1].
        step: The training step of the weights; the run's metrics of that step are shown
            beside the model.
        classes: Without it, the version cannot swap to a class, only to an image.
        conversion: Of the data set: how any image becomes one that the model takes; without it,
            :func:`pipeline.artifacts.dataset.as_they_are`.
        test_images: Some, uint8 (n, C, H, W); without them, the version cannot tell that an image
            is unlike those that it knows.

    Raises:
        FileNotFoundError, ValueError: the folder does not hold a model.
    """
    config = read_config(model_folder)
    conversion = conversion or as_they_are(config.image_shape)
    tags = tags | {DIGEST_TAG: weights_digest(model_folder)}
    client = MlflowClient()
    run = client.get_run(run_id)
    # Made here because MLflow would put it into the active experiment, not that of the run.
    logged = client.create_logged_model(
        run.info.experiment_id,
        name="model",
        source_run_id=run_id,
        tags=tags,
        params=run.data.params,
    )
    with _content(model_folder, input_example, classes, conversion, test_images) as content:
        # mlflow.pyfunc.log_model is this call without a run_id: it knows the active run alone.
        info = Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            model_id=logged.model_id,
            run_id=run_id,
            step=step,
            registered_model_name=NAME,
            tags=tags,
            **content,
        )
    version = str(info.registered_model_version)
    _describe(client, version, config, conversion)
    made = client.get_model_version(NAME, version)
    client.set_model_version_tag(NAME, version, FILES_TAG, _digest(_files(made)))
    make_candidate(made)
    return client.get_model_version(NAME, version)


def restore(
    version: ModelVersion,
    model_folder: Path,
    input_example: np.ndarray | None,
    classes: Classes | None,
    conversion: dict[str, Any] | None = None,
    test_images: np.ndarray | None = None,
) -> None:
    """Writes the files of a version again, where the store expects them.

    Weights are those that were registered; the code around them is today's.

    Args:
        version: Its number, aliases, tags and run stay.
        model_folder, input_example, classes, conversion, test_images: As for :func:`register`.

    Raises:
        MlflowException: the store has no such logged model any more.
    """
    client = MlflowClient()
    conversion = conversion or as_they_are(read_config(model_folder).image_shape)
    logged = client.get_logged_model(_model_id(version))
    model = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        run_id=version.run_id,
        model_id=logged.model_id,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        _content(model_folder, input_example, classes, conversion, test_images) as content,
    ):
        path = Path(folder) / "model"
        mlflow.pyfunc.save_model(path, mlflow_model=model, **content)
        for cache in path.rglob("__pycache__"):
            shutil.rmtree(cache)
        client.log_model_artifacts(logged.model_id, str(path))
    client.set_model_version_tag(NAME, version.version, FILES_TAG, _digest(_files(version)))


def damage(version: ModelVersion) -> str | None:
    """Finds what a version lacks of the files that were registered; None if it is whole.

    Raises:
        MlflowException: the store cannot list the files.
    """
    files = _files(version)
    names = {Path(name).name for name in files}
    if lacking := {"MLmodel", CONFIG_FILE, WEIGHTS_FILE} - names:
        return "it has no files" if not files else f"{', '.join(sorted(lacking))} missing"
    if version.tags.get(FILES_TAG, _digest(files)) != _digest(files):
        return "files are missing or changed"
    folder = local_folder(version)
    if folder is not None:
        (weights,) = (name for name in files if Path(name).name == WEIGHTS_FILE)
        if weights_digest((folder / weights).parent) != version.tags.get(DIGEST_TAG):
            return f"{WEIGHTS_FILE} is damaged"
    return None


def local_folder(version: ModelVersion) -> Path | None:
    """The folder of a version's files; None if they do not lie on this machine."""
    location = MlflowClient().get_model_version_download_uri(NAME, version.version)
    if urlparse(location).scheme not in ("", "file"):
        return None
    return Path(local_file_uri_to_path(location))


def is_out_of_reach(location: str | Path | None) -> bool:
    """Whether artifacts lie on a disk that is not mounted, or is another machine's.

    The folder of all artifacts, ``mlruns``, is missing there, too: nothing is restored.
    """
    if location is None or urlparse(str(location)).scheme not in ("", "file"):
        return False
    folder = Path(local_file_uri_to_path(str(location)))
    root = next((place for place in folder.parents if place.name == "mlruns"), None)
    return root is not None and not root.is_dir()


def _files(version: ModelVersion) -> dict[str, int]:
    """The size of each registered file of a version, by its path."""
    folder = local_folder(version)
    sizes: dict[str, int] = {}
    if folder is not None:
        found = (path for path in folder.rglob("*") if path.is_file())
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}
    else:
        location = MlflowClient().get_model_version_download_uri(NAME, version.version)
        repository, waiting = get_artifact_repository(location), [""]
        while waiting:
            for file in repository.list_artifacts(waiting.pop() or None):
                if file.is_dir:
                    waiting.append(file.path)
                else:
                    sizes[file.path] = file.file_size or 0
    return {name: size for name, size in sizes.items() if WRITTEN.fullmatch(name)}


def _digest(files: dict[str, int]) -> str:
    listed = "".join(f"{name} {size}\n" for name, size in sorted(files.items()))
    return hashlib.sha256(listed.encode()).hexdigest()


def _model_id(version: ModelVersion) -> str:
    """Id of the logged model that a version was registered from."""
    return str(version.source).removeprefix("models:/")


@contextmanager
def _content(
    model_folder: Path,
    input_example: np.ndarray | None,
    classes: Classes | None,
    conversion: dict[str, Any],
    test_images: np.ndarray | None,
) -> Iterator[dict[str, Any]]:
    """Yields the arguments that say what a version holds; their files exist during the block."""
    example = None if input_example is None else (input_example, {"task": "reconstruct"})
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / f"{served_model.CONVERSION}.json"
        values.write_text(json.dumps(conversion, indent=2) + "\n")
        artifacts = {"model": str(model_folder), served_model.CONVERSION: str(values)}
        if classes is not None:
            path = Path(folder) / f"{served_model.IDENTITIES}.safetensors"
            codes = class_codes(model_folder, classes)
            served_model.write_identities(path, classes.names, codes)
            artifacts[served_model.IDENTITIES] = str(path)
        if test_images is not None and len(test_images):
            path = Path(folder) / f"{served_model.ERRORS}.json"
            served_model.write_percentiles(path, errors_of(model_folder, test_images))
            artifacts[served_model.ERRORS] = str(path)
        yield {
            "python_model": served_model.__file__,
            "artifacts": artifacts,
            "code_paths": [str(Path(vaegan.__file__).parent), image_conversion.__file__],
            "signature": signature(read_config(model_folder)),
            "input_example": example,
            "pip_requirements": requirements(),
        }


def class_codes(model_folder: Path, classes: Classes) -> np.ndarray:
    """The mean specified code of each class, float32 (K, S); NaN for a class without images."""
    model = DisentanglingVAE.load(model_folder)
    with torch.inference_mode():
        codes = model.encode(torch.from_numpy(classes.images)).specified.mean.numpy()
    means = np.full((len(classes.names), codes.shape[1]), np.nan, np.float32)
    for label in np.unique(classes.labels):
        means[label] = codes[classes.labels == label].mean(axis=0)
    return means


def errors_of(model_folder: Path, images: np.ndarray) -> np.ndarray:
    """Errors of the reconstructions of images, uint8 (n, C, H, W), as the served model has them."""
    model = DisentanglingVAE.load(model_folder)
    return served_model.reconstruction_errors(model, to_unit_range(torch.from_numpy(images)))


def make_candidate(version: ModelVersion) -> None:
    """Gives a version the aliases that mark the most recently trained one, of its data set too."""
    client = MlflowClient()
    client.set_registered_model_alias(NAME, ALIAS, version.version)
    if dataset := version.tags.get(DATASET_TAG):
        client.set_registered_model_alias(NAME, candidate_alias(dataset), version.version)


def list_versions() -> list[ModelVersion]:
    """All versions with their aliases, the newest first."""
    client = MlflowClient()
    try:
        aliases = client.get_registered_model(NAME).aliases
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return []
        raise  # a store that fails to answer does not mean that there are no versions
    found: list[ModelVersion] = []
    token: str | None = None
    while token != "":
        page = client.search_model_versions(
            f"name = '{NAME}'", order_by=["version_number DESC"], page_token=token
        )
        found, token = [*found, *page], page.token or ""
    for version in found:
        version.aliases = [
            a for a, number in aliases.items() if str(number) == str(version.version)
        ]
    return found


def restore_candidates(whole: list[ModelVersion]) -> list[str]:
    """Sets each alias ``candidate`` that is missing, or on a version that cannot be loaded.

    Args:
        whole: All versions that can be loaded, the newest first.

    Returns:
        A line for each alias that was set.
    """
    client = MlflowClient()
    held = {name for version in whole for name in version.aliases}
    newest: dict[str, ModelVersion] = {}
    for version in whole:
        dataset = version.tags.get(DATASET_TAG)
        for name in (ALIAS, *([candidate_alias(dataset)] if dataset else [])):
            newest.setdefault(name, version)
    lines = []
    for name, version in newest.items():
        if name not in held:
            client.set_registered_model_alias(NAME, name, version.version)
            lines.append(f"the alias {name} is set to version {version.version}")
    return lines


def weights_on_disk(folder: Path) -> str | None:
    """Digest of the weights in a folder; None if there are none."""
    return weights_digest(folder) if (folder / WEIGHTS_FILE).is_file() else None


def candidate_alias(dataset: str) -> str:
    """Alias of the version that was trained last on a data set."""
    return f"{ALIAS}-{alias_word(dataset)}"


def alias_word(dataset: str) -> str:
    """A data set's name with the characters that an alias may have.

    Where one had to be replaced a digest of the name follows, so that no two names share a word.
    """
    word = re.sub(r"[^\w-]", "-", dataset)[:LONGEST_WORD]
    if word == dataset:
        return word
    return f"{word}-{hashlib.sha256(dataset.encode()).hexdigest()[:WORD_DIGEST]}"


def _describe(
    client: MlflowClient, version: str, config: ModelStructure, conversion: dict[str, Any]
) -> None:
    """Writes the descriptions of the registered model and of the version."""
    facts = {
        "shape": "(n, {}, {}, {})".format(*config.image_shape),
        "conversion": ", ".join(f"`{name}` {value}" for name, value in conversion.items()),
    }
    # As README.md names it. Of another data set it has a suffix; "latest" is any version's.
    client.update_registered_model(
        NAME, description=DESCRIPTION.format(reference=f"{NAME}@champion", **facts)
    )
    client.update_model_version(
        NAME, version, description=DESCRIPTION.format(reference=f"{NAME}/{version}", **facts)
    )


def signature(config: ModelStructure) -> ModelSignature:
    """Signature of the registered model for its default task."""
    images = Schema([TensorSpec(np.dtype(np.float32), (-1, *config.image_shape))])
    return ModelSignature(inputs=images, outputs=images, params=served_model.PARAMS)


def requirements() -> list[str]:
    """The registered model's requirements, pinned to the installed versions.

    Without the local part of a version: an index has torch 2.12.1, not 2.12.1+cpu.
    """
    return [f"{package}=={metadata.version(package).split('+')[0]}" for package in PACKAGES]


def version_of(digest: str) -> ModelVersion | None:
    """Finds the newest version with these weights; None if they were never registered.

    Args:
        digest: Digest that :func:`vaegan.model.weights_digest` returns.
    """
    found = MlflowClient().search_model_versions(
        f"name = '{NAME}' AND tag.`{DIGEST_TAG}` = '{digest}'",
        order_by=["version_number DESC"],
        max_results=1,
    )
    return found[0] if found else None


def tag_version_of(digest: str, tags: dict[str, str]) -> None:
    """Sets tags of the newest version with these weights, if there is one."""
    version = version_of(digest)
    if version is None:
        return
    client = MlflowClient()
    for name, value in tags.items():
        client.set_model_version_tag(NAME, version.version, name, value)


def dvc_lock_tags(lock_file: Path) -> dict[str, str]:
    """Reads the tag that identifies the ``dvc.lock`` that reproduces a model.

    ``git log -S<value> -- dvc.lock`` names the commits in which it came and went.

    Returns:
        ``dvc.lock.models``: the MD5 that DVC recorded for the trained model; empty if the
        file is missing or has none.

    Raises:
        ArtifactError: the file is not YAML.
    """
    try:
        content = YAML(typ="safe", pure=True).load(lock_file.read_text())
    except FileNotFoundError:
        return {}
    except YAMLError as error:
        raise ArtifactError(f"{lock_file} is not YAML: {' '.join(str(error).split())}") from error
    stage: dict[str, Any] = (content or {}).get("stages", {}).get(TRAIN_STAGE, {})
    for out in stage.get("outs", []):
        if out["path"] == str(MODEL) and "md5" in out:
            return {LOCK_TAG: out["md5"]}
    return {}


def load(uri: str = f"models:/{NAME}@{ALIAS}") -> PyFuncModel:
    """Loads the model behind a ``models:/`` address; ``served_model.py`` has its ``predict``."""
    return mlflow.pyfunc.load_model(uri)
