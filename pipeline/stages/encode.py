"""Stage encode: the posteriors of both codes of every image."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.artifacts.codes import write_codes
from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.paths import MODEL
from pipeline.stages.config import EncodeConfig
from vaegan.data import LabelledImages, as_tensor, to_unit_range
from vaegan.devices import configure_torch, resolve_device, to_channels_last
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.progress import followed

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal


def encode_split(
    model: DisentanglingVAE, data: LabelledImages, batch_size: int, device: torch.device
) -> Iterator[dict[str, np.ndarray]]:
    """Encodes images batch by batch: posterior mean and standard deviation of both codes.

    Args:
        model: In eval mode, on ``device``.
        data: N images.
        batch_size: Images per pass, and in memory at a time.
        device: Device of ``model``, on which the images are encoded.

    Yields:
        One dictionary per batch of B images, in the order of ``data``: float32 (B, D) per code and
        moment, such as ``specified_mean``, and int64 (B,) ``labels``; the names are those of
        ``pipeline.artifacts.codes.CODE_ARRAYS``. The standard deviation of a code that is not
        variational is 0.

    Raises:
        FloatingPointError: a code is not finite.
    """
    starts = range(0, len(data), batch_size)
    for start in followed(starts, f"encoding {len(data)} images", len(starts)):
        rows = slice(start, start + batch_size)
        with torch.inference_mode():
            images = to_unit_range(as_tensor(data.images[rows], device))
            codes = model.encode(images.contiguous(memory_format=torch.channels_last))
            arrays = {
                f"{name}_{moment}": getattr(getattr(codes, name), moment).cpu().numpy()
                for name in ("specified", "unspecified")
                for moment in ("mean", "std")
            }
        for name, array in arrays.items():
            if not (finite := np.isfinite(array).all(axis=1)).all():
                raise FloatingPointError(f"{name} of image {start + finite.argmin()} is not finite")
        yield arrays | {"labels": data.labels[rows]}


def run(params: EncodeConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``codes/``.

    Returns:
        SHA-256 of the model's weights (``model``), name of the data set (``dataset``) and the
        number of images by split (``images``).

    Raises:
        ArtifactError: the prepared data set is missing or damaged.
        FileNotFoundError, ValueError: ``models/`` does not hold a model.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    device = resolve_device(params.device)
    model = to_channels_last(DisentanglingVAE.load(MODEL, device))
    digest = weights_digest(MODEL)
    journal.begin(dataset, {"model": digest})
    for split, data in dataset.splits.items():
        batches = encode_split(model, data, params.batch_size, device)
        write_codes(split, batches, len(data), digest)
    images = {split: len(data) for split, data in dataset.splits.items()}
    return {"model": digest, "dataset": dataset.name, "images": images}
