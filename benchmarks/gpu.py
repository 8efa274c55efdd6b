"""Training on a CUDA device, where there is one: throughput, time to quality, nearness to limits.

The step's arithmetic is counted by torch; the device's matrix rate and memory bandwidth are
measured in the same run, on a large product and a large copy.
"""

import statistics
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import quality
from benchmarks.defaults import trainer
from benchmarks.measure import Result, seconds
from vaegan.training import Trainer

STEPS, ROUNDS, WARM_UP = 50, 9, 20
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


def step_rates(device: torch.device, precision: str) -> tuple[float, float]:
    """Images and floating-point operations per second of the training step."""
    subject = trainer(Trainer, device.type, precision=precision)
    for _ in range(WARM_UP):
        subject.train_step()
    with FlopCounterMode(display=False) as counter:
        subject.train_step()
    operations = counter.get_total_flops()

    def several() -> None:
        for _ in range(STEPS):
            subject.train_step()

    images = 2 * subject.config.pairs
    per_second = rate(device, several, STEPS * images)
    return per_second, per_second * operations / images


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
    source = torch.empty(COPIED, dtype=torch.uint8, device=device)
    bandwidth = rate(device, source.clone, 2 * COPIED)
    results = [Result("memory bandwidth of the device", bandwidth / 1e9, "GB/s")]
    for precision in ("bfloat16", "float32"):
        limit = matrix_rate(device, precision)
        images, operations = step_rates(device, precision)
        results += [
            Result(f"matrix rate of the device, {precision}", limit / 1e12, "TFLOP/s"),
            Result(f"images per second, {precision}", images),
            Result(f"share of the matrix rate, {precision}", operations / limit),
        ]
    return results + quality.results(quality.train_measured("cuda"))
