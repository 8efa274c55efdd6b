"""Shared by all benchmarks: timing in turn, results, and a description of the machine."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

LATEST = Path(__file__).parent / "latest"  # ignored by git; published by --publish


@dataclass(frozen=True)
class Result:
    """One measured quantity.

    Attributes:
        name: Words for the quantity.
        value: The number.
        unit: Its unit; "" for a ratio.
        target: ``("<=", bound)`` or ``(">=", bound)``; None for a row that only informs.
    """

    name: str
    value: float
    unit: str = ""
    target: tuple[str, float] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        relation, bound = self.target
        return self.value <= bound if relation == "<=" else self.value >= bound


def seconds(function: Callable[[], object]) -> float:
    """Times one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def side_by_side(
    functions: dict[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, float]:
    """Times functions in turn, so that the machine's drift affects all alike; returns medians.

    Args:
        functions: By name.
        repeats: Timed calls of each, >= 1.
        warm_up: Calls of each before that, not timed.
    """
    for _ in range(warm_up):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(taken) for name, taken in times.items()}


def machine() -> dict[str, Any]:
    """Describes the machine and the versions that determine speed."""
    described = Path("/proc/cpuinfo")  # Linux only
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    capabilities = [name for name, have in torch.cpu.get_capabilities().items() if have is True]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "instructions": sorted(n for n in capabilities if n in ("avx2", "avx512_f") or "bf16" in n),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
