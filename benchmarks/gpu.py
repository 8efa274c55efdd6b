"""Training on a CUDA device, if there is one: throughput and time to quality.

A training step is timed as it runs, recorded as a CUDA graph and replayed, and launched kernel by
kernel. ``quality`` on the device follows.
"""

import torch

from benchmarks import quality
from benchmarks.defaults import make_trainer
from benchmarks.measure import Result, side_by_side
from vaegan.training.trainer import Trainer

STEPS, ROUNDS = 50, 9


def run() -> list[Result]:
    """Measures; returns no rows without a CUDA device."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return []
    trained = quality.results(quality.train_measured("cuda"))  # first: its clock is the process's
    graph, kernels = (make_trainer(Trainer, "cuda", precision="bfloat16") for _ in range(2))
    kernels.loop.graphed = None

    def train(trainer: Trainer) -> None:
        for _ in range(STEPS):
            trainer.train_step()
        torch.cuda.synchronize()

    times = side_by_side({"graph": lambda: train(graph), "kernels": lambda: train(kernels)}, ROUNDS)
    images = STEPS * 2 * graph.config.pairs
    return [
        Result("images per second, bfloat16", images / times["graph"]),
        Result("the same, kernel by kernel, bfloat16", images / times["kernels"]),
        *trained,
    ]
