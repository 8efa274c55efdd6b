"""The codes on disk: arrays per split, and ``codes.json``, which names the model."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import (
    ArtifactError,
    atomic_folder,
    read_array,
    read_json,
    write_arrays,
    write_json,
)
from pipeline.artifacts.paths import CODES, MODEL

CODE_ARRAYS = ("specified_mean", "specified_std", "unspecified_mean", "unspecified_std", "labels")


def write_codes(
    split: str,
    batches: Iterable[dict[str, np.ndarray]],
    count: int,
    model: str,
    folder: Path = CODES,
) -> None:
    """Writes the codes of a split, batch by batch, and ``codes.json``.

    Args:
        split: Name of the split.
        batches: float32 (B, D) means and standard deviations and int64 (B,) labels, named as in
            ``CODE_ARRAYS``.
        count: Images in all batches together, >= 1.
        model: Digest of the weights of the model that encoded them.
        folder: Parent of the folder that is written.

    Raises:
        ValueError: a batch has other arrays, or there are not ``count`` images; nothing is
            written then.
    """
    with atomic_folder(folder / split) as new:
        arrays = write_arrays(new, batches, count)
        if set(arrays) != set(CODE_ARRAYS):
            raise ValueError(
                f"{folder / split}: expected the arrays {CODE_ARRAYS}, got {tuple(arrays)}"
            )
        write_json(new / "codes.json", {"model_sha256": model, "arrays": arrays})


def read_codes(split: str, model: str, folder: Path = CODES) -> dict[str, np.ndarray]:
    """Memory-maps the codes of a split.

    Args:
        split: Name of the split.
        model: Digest of the weights of the expected model.
        folder: Parent of the split's folder.

    Raises:
        ArtifactError: a file is missing or damaged, or another model encoded the images.
    """
    about = read_json(folder / split / "codes.json")
    if about.get("model_sha256") != model:
        raise ArtifactError(
            f"{folder / split} holds codes of the model {about.get('model_sha256')}, expected "
            f"those of {model} in {MODEL}: run the stage encode"
        )
    try:
        digests = {name: about["arrays"][name]["sha256"] for name in CODE_ARRAYS}
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / split / 'codes.json'}: {error!r} is missing") from error
    return {name: read_array(folder / split / f"{name}.npy", digests[name]) for name in CODE_ARRAYS}
