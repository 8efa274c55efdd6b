"""Stage encode: the posteriors of both codes of every image."""

import sys

import numpy as np
import torch

from pipeline import tracking
from pipeline.artifacts import CODE_ARRAYS, MODEL, SPLITS, Dataset, read_dataset, write_codes
from pipeline.params import EncodeParams
from pipeline.stage import run_stage
from vaegan.data import LabelledImages, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.model import DisentanglingVAE


def encode_split(
    model: DisentanglingVAE, data: LabelledImages, batch_size: int, device: torch.device
) -> dict[str, np.ndarray]:
    """Posterior mean and standard deviation of both codes of every image, in one pass.

    Args:
        model: In eval mode, on ``device``.
        data: N images.
        batch_size: Images per pass.
        device: Where to encode.

    Returns:
        float32 (N, D) per code and moment, and int64 (N,) labels; the names are those of
        ``artifacts.CODE_ARRAYS``. Deviations of a code that is not variational are 0.
    """
    config = model.config
    widths = [config.specified.dim] * 2 + [config.unspecified.dim] * 2
    arrays = {
        name: np.empty((len(data), width), np.float32)
        for name, width in zip(CODE_ARRAYS[:4], widths, strict=True)
    }
    with torch.inference_mode():
        for start in range(0, len(data), batch_size):
            rows = slice(start, start + batch_size)
            images = to_unit_range(torch.from_numpy(data.images[rows].copy()).to(device))
            codes = model.encode(images.contiguous(memory_format=torch.channels_last))
            for code in ("specified", "unspecified"):
                posterior = getattr(codes, code)
                arrays[f"{code}_mean"][rows] = posterior.mean.cpu().numpy()
                arrays[f"{code}_std"][rows] = posterior.std.cpu().numpy()
    return arrays | {"labels": np.array(data.labels)}


def encode(dataset: Dataset, params: EncodeParams) -> None:
    """Writes ``codes/``."""
    configure_torch(params.threads)
    device = resolve_device(params.device)
    model = DisentanglingVAE.load(MODEL, device)
    with tracking.model_run(dataset, params, "encode"):
        for split in SPLITS:
            data = getattr(dataset, split)
            write_codes(split, encode_split(model, data, params.batch_size, device))
            print(f"encoded {len(data)} {split} images of {dataset.name}")


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: encode(read_dataset(), params.encode))


if __name__ == "__main__":
    sys.exit(main())
