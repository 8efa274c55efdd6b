"""Throughput of the stage ``encode`` against its encoder's bare forward passes.

Bare: the encoder's forward passes, class transport included, on as many batches of one random
tensor; network: the same without the transport. Stage: its own loop, from memory-mapped images to
written files. All three run in turn in one process, on the 70,000 images of both splits.
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
    """Measures on the prepared data set; writes to a temporary folder."""
    params, dataset, device = configured()
    size = params.encode.batch_size
    model = to_channels_last(DisentanglingVAE.load(MODEL, device))
    count = sum(map(len, dataset.splits.values()))
    batch = torch.rand(size, *dataset.train.image_shape)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def passes(encode: Callable[[Tensor], Codes]) -> None:
        with torch.inference_mode():
            for start in range(0, count, size):
                encode(batch[: count - start])

    with tempfile.TemporaryDirectory() as folder:

        def stage() -> None:
            for split, data in dataset.splits.items():
                batches = encode_split(model, data, size, device)
                write_codes(split, batches, len(data), "benchmark", Path(folder))

        functions: dict[str, Callable[[], object]] = {
            "network": lambda: passes(model.encoder),
            "bare": lambda: passes(model.encode),
            "stage": stage,
        }
        times = side_by_side(functions, ROUNDS)
    return [
        Result("images per second, stage's loop", count / times["stage"]),
        Result(
            "throughput of the stage / bare", times["bare"] / times["stage"], target=(">=", 0.9)
        ),
        Result("the same / network alone", times["network"] / times["stage"], target=(">=", 0.9)),
    ]
