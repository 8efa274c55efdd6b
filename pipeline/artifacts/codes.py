"""Codes on disk: arrays per split, and the model they belong to."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.files import (
    ArtifactError,
    RowWriter,
    array_writer,
    described_array,
    read_array,
    read_json,
    write_json,
)
from pipeline.artifacts.paths import CODES, MODEL

if TYPE_CHECKING:  # every stage imports this module, few need these two: a second to start
    pass


CODE_ARRAYS = ("specified_mean", "specified_std", "unspecified_mean", "unspecified_std", "labels")


def write_codes(
    split: str,
    batches: Iterable[dict[str, np.ndarray]],
    count: int,
    model: str,
    folder: Path = CODES,
) -> None:
    """Writes the codes of a split as they come, and then ``codes.json``, which describes them.

    Args:
        split: Its name.
        batches: Of some images each: float32 (B, D) means and deviations, int64 (B,) labels,
            named as in ``CODE_ARRAYS``.
        count: Images in all, >= 1.
        model: Digest of the weights of the model whose codes they are.
        folder: Where to.

    Raises:
        ValueError: a batch has other arrays, or there are other than ``count`` images in all.
    """
    writers: dict[str, RowWriter] = {}
    with ExitStack() as stack:
        for batch in batches:
            if set(batch) != set(CODE_ARRAYS):
                raise ValueError(f"expected the arrays {CODE_ARRAYS}, got {tuple(batch)}")
            for name, rows in batch.items():
                if name not in writers:
                    file = array_writer(
                        folder / split / f"{name}.npy", (count, *rows.shape[1:]), rows.dtype
                    )
                    writers[name] = stack.enter_context(file)
                writers[name].append(rows)
        if not writers:
            raise ValueError(f"{folder / split} got no codes, expected those of {count} images")
    arrays = {
        name: described_array(writer.shape, writer.dtype, writer.digest.hexdigest())
        for name, writer in writers.items()
    }
    write_json(folder / split / "codes.json", {"model_sha256": model, "arrays": arrays})


def read_codes(split: str, model: str, folder: Path = CODES) -> dict[str, np.ndarray]:
    """Memory-maps the codes of a split.

    Args:
        split: Its name.
        model: Digest of the weights of the model whose codes are wanted.
        folder: Where from.

    Raises:
        ArtifactError: a file is missing or damaged, or the codes are of another model.
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
