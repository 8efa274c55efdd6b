"""What all benchmarks share: timing side by side, a result, the machine they ran on."""

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
BEGUN = "BENCHMARK_BEGUN"  # variable that holds when a benchmark's process was started


@dataclass(frozen=True)
class Result:
    """One measured quantity.

    Attributes:
        name: What was measured, in words.
        value: The number.
        unit: Its unit; "" for a ratio.
        target: ``("<=", bound)`` or ``(">=", bound)``; None where it only informs.
    """

    name: str
    value: float
    unit: str = ""
    target: tuple[str, float] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        relation, bound = self.target
        return self.value <= bound if relation == "<=" else self.value >= bound


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def side_by_side(
    functions: dict[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, float]:
    """Median seconds of each function, called in turn so that all meet the same machine.

    Args:
        functions: By name.
        repeats: Timed calls of each, >= 1.
        warm_up: Calls of each before, not timed.
    """
    for _ in range(warm_up):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(taken) for name, taken in times.items()}


class Memory:
    """This process's memory as Linux counts it, in bytes."""

    @staticmethod
    def peak() -> int:
        """Most that was ever resident, pages of mapped files included."""
        return _status("VmHWM")

    @staticmethod
    def own() -> int:
        """Resident now and the process's own: without pages of files, which can be dropped."""
        return _status("RssAnon")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")


def machine() -> dict[str, Any]:
    """The machine and the versions that decide about speed."""
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
