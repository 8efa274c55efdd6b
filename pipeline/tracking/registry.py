"""The registered model: wrapping, registering, tags and aliases, loading.

The only caller of MLflow's model registry. A version holds code and weights, no pickle;
what it does is in ``pipeline/served_model.py``.
"""

from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.types import Schema, TensorSpec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import vaegan
from pipeline.artifacts.files import ArtifactError
from pipeline.artifacts.paths import MODEL
from pipeline.tracking import served_model
from vaegan.model.config import ModelStructure
from vaegan.model.vae import read_config, weights_digest

NAME = "vaegan"
ALIAS = "candidate"  # always the newest version
DIGEST_TAG = "model.sha256"
LOCK_TAG = "dvc.lock.models"
TRAIN_STAGE = "train"

# All that served_model.py imports.
PACKAGES = ("annotated_types", "mlflow", "numpy", "safetensors", "torch")

DESCRIPTION = """\
A variational auto-encoder with two codes for each image: a *specified* one of what it shows
(its class) and an *unspecified* one of how it looks (its style).

```python
import mlflow
model = mlflow.pyfunc.load_model("models:/{reference}")
answer = model.predict(images, params={{"task": "sample", "seed": 1}})
```

`images` are float32 {shape} with values in [0, 1]. The parameter `task` says what to do:

- `reconstruct` (default): each image drawn again from its own codes.
- `encode`: mean and standard deviation of both codes of each image, four arrays by name.
- `swap`: what image `identity_from[i]` shows, in the style of image i. `identity_from` lists one
  position in the batch per image; left out, each image takes the next one's identity.
- `sample`: what image i shows, in a style drawn from the prior N(0, I); `seed` says which.

Loading runs the code that was registered with the weights, so load from a store that you trust.
"""


def register(
    model_folder: Path,
    run_id: str,
    tags: dict[str, str],
    input_example: np.ndarray,
    step: int = 0,
) -> ModelVersion:
    """Logs a trained model into a run and registers it as the newest version of ``vaegan``.

    The run may be active or not, and is left as it was. The alias ``candidate`` is moved
    to the new version.

    Args:
        model_folder: What :meth:`vaegan.model.DisentanglingVAE.save` wrote.
        run_id: The run that the model belongs to; it exists already.
        tags: Of the version. The digest of the weights is added to them.
        input_example: Some images float32 (n, C, H, W) in [0, 1].
        step: The training step of the weights; the run's metrics of that step are shown
            beside the model.

    Raises:
        FileNotFoundError, ValueError: the folder does not hold a model.
    """
    config = read_config(model_folder)
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
    # mlflow.pyfunc.log_model is this call without a run_id: it knows the active run alone.
    info = Model.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        model_id=logged.model_id,
        run_id=run_id,
        step=step,
        registered_model_name=NAME,
        tags=tags,
        python_model=served_model.__file__,
        artifacts={"model": str(model_folder)},
        code_paths=[str(Path(vaegan.__file__).parent)],
        signature=signature(config),
        input_example=(input_example, {"task": "reconstruct"}),
        pip_requirements=requirements(),
    )
    version = str(info.registered_model_version)
    _describe(client, version, config)
    made = client.get_model_version(NAME, version)
    make_candidate(made)
    return made


def make_candidate(version: ModelVersion) -> None:
    """Gives a version the alias ``candidate``, which marks the most recently trained one."""
    MlflowClient().set_registered_model_alias(NAME, ALIAS, version.version)


def _describe(client: MlflowClient, version: str, config: ModelStructure) -> None:
    """Writes the descriptions of the registered model and of the version."""
    shape = "(n, {}, {}, {})".format(*config.image_shape)
    client.update_registered_model(
        NAME, description=DESCRIPTION.format(reference=f"{NAME}@{ALIAS}", shape=shape)
    )
    client.update_model_version(
        NAME, version, description=DESCRIPTION.format(reference=f"{NAME}/{version}", shape=shape)
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
        digest: Of :func:`vaegan.model.weights_digest`.
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
