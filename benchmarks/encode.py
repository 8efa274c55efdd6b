"""Encoding 70,000 images against the bare encoder.

Floor: the encoder's forward passes alone, class transport included, on as many batches of random
images that are there already; and for comparison those of its network without transport. Real:
what the stage does, from the memory-mapped images to the files of the codes, synchronised with
the disk. In turn in one process.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.defaults import configured
from benchmarks.measure import Result, side_by_side
from pipeline.artifacts.codes import write_codes
from pipeline.artifacts.paths import MODEL
from pipeline.stages.encode import encode_split
from vaegan.devices import to_channels_last
from vaegan.model.codes import Codes
from vaegan.model.vae import DisentanglingVAE

ROUNDS = 7


def run() -> list[Result]:
    """Measures on the prepared data set, into a temporary folder."""
    params, dataset, device = configured()
    size = params.encode.batch_size
    model = to_channels_last(DisentanglingVAE.load(MODEL, device))
    count = sum(map(len, dataset.splits.values()))
    batch = torch.rand(size, *dataset.train.image_shape, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def passes(encode: Callable[[Tensor], Codes]) -> None:
        with torch.inference_mode():
            for start in range(0, count, size):
                encode(batch[: count - start])
        if device.type == "cuda":
            torch.cuda.synchronize()

    with tempfile.TemporaryDirectory() as folder:

        def real() -> None:
            for split, data in dataset.splits.items():
                batches = encode_split(model, data, size, device)
                write_codes(split, batches, len(data), "benchmark", Path(folder))

        functions: dict[str, Callable[[], object]] = {
            "network": lambda: passes(model.encoder),
            "bare": lambda: passes(model.encode),
            "real": real,
        }
        times = side_by_side(functions, ROUNDS)
    return [
        Result(f"images per second, network alone ({count:,} images)", count / times["network"]),
        Result("images per second, bare encoder", count / times["bare"]),
        Result("images per second, stage's loop", count / times["real"]),
        Result("throughput of the stage / bare", times["bare"] / times["real"], target=(">=", 0.9)),
        Result("the same / network alone", times["network"] / times["real"], target=(">=", 0.9)),
    ]
