"""Training on a CUDA device, where there is one: throughput, time to quality, nearness to limits.

The step is timed as it runs, recorded and repeated, and started kernel by kernel. Its arithmetic is
counted by torch; as bytes count those that its operations read and write, each as if alone. The
device's matrix rate and memory bandwidth are measured in the same run, on a large product and a
large copy.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import quality
from benchmarks.defaults import trainer
from benchmarks.measure import Result, seconds
from vaegan.training.trainer import Trainer

STEPS, ROUNDS = 50, 9
SIDE = 8192  # of the matrices
COPIED = 2**30  # bytes


def rate(device: torch.device, work: Callable[[], object], amount: float) -> float:
    """``amount`` per second of a call, the median of some, each waited for."""

    def waited() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(3):
        waited()
    return amount / statistics.median(seconds(waited) for _ in range(ROUNDS))


class Traffic(TorchDispatchMode):
    """Counts the bytes of what every operation is given and makes, views aside."""

    bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, found)):
                self.bytes += leaf.nbytes if isinstance(leaf, Tensor) and leaf.is_cuda else 0
        return found


def step_rates(device: torch.device, precision: str) -> dict[str, float]:
    """Of the training step: images per second, recorded and not, operations and bytes."""
    subject = trainer(Trainer, device.type, precision=precision)
    subject.train_step()
    with FlopCounterMode(display=False) as counter:
        subject.train_step()
    with Traffic() as traffic:
        subject.train_step()

    def several() -> None:
        for _ in range(STEPS):
            subject.train_step()

    steps = STEPS * 2 * subject.config.pairs
    several()
    recorded = rate(device, several, steps)
    subject.loop.graphed = None
    several()
    started = rate(device, several, steps)
    per_image = 1 / (2 * subject.config.pairs)
    return {
        "recorded": recorded,
        "started": started,
        "operations": recorded * counter.get_total_flops() * per_image,
        "bytes": recorded * traffic.bytes * per_image,
    }


def matrix_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations per second of a large product, as training computes them."""
    left = torch.randn(SIDE, SIDE, device=device, dtype=getattr(torch, precision))
    return rate(device, lambda: left @ left, 2 * SIDE**3)


def run() -> list[Result]:
    """Measures; without a CUDA device there is nothing to say."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return []
    device = torch.device("cuda")
    trained = quality.results(quality.train_measured("cuda"))  # first: its clock starts with us
    source = torch.empty(COPIED, dtype=torch.uint8, device=device)
    bandwidth = rate(device, source.clone, 2 * COPIED)
    results = [Result("memory bandwidth of the device", bandwidth / 1e9, "GB/s")]
    for precision in ("bfloat16", "float32"):
        limit = matrix_rate(device, precision)
        found = step_rates(device, precision)
        results += [
            Result(f"matrix rate of the device, {precision}", limit / 1e12, "TFLOP/s"),
            Result(f"images per second, {precision}", found["recorded"]),
            Result(f"the same, kernel by kernel, {precision}", found["started"]),
            Result(f"share of the matrix rate, {precision}", found["operations"] / limit),
            Result(f"share of the memory bandwidth, {precision}", found["bytes"] / bandwidth),
        ]
    return results + trained
