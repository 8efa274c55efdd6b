"""Device, precision, threads, determinism and memory layout of torch computations."""

import ctypes
import sys
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import nn

Module = TypeVar("Module", bound=nn.Module)

MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_MAX = -1, -4  # of malloc.h


def resolve_device(name: str) -> torch.device:
    """Returns the device of a name; ``"auto"`` is CUDA if a device is usable, else the CPU.

    Raises:
        ValueError: the name is ``"cuda"`` and no CUDA device is usable.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no CUDA device; take auto or cpu")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """Returns ``"float32"`` or ``"bfloat16"``; ``"auto"`` is bfloat16 if the hardware supports it.

    A CPU without bfloat16 instructions emulates it, several times slower than float32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported()
    else:
        native = any(have for what, have in torch.cpu.get_capabilities().items() if "bf16" in what)
    return "bfloat16" if native else "float32"


def configure_torch(threads: int) -> None:
    """Configures this process: threads, deterministic algorithms, freed memory kept.

    Args:
        threads: CPU threads. Sums are split by thread, so their number changes the rounding.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # scikit-learn's and numpy's own pools
    # Equals use_deterministic_algorithms(True), which takes a second to import a compiler.
    torch.set_deterministic_debug_mode("error")
    # Filling every new tensor costs a tenth of a training step. It guards against reading
    # memory before it is written, which this code does not do.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # full float32 in convolutions, as in products
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Makes glibc reuse freed memory; does nothing with other C libraries.

    Each step frees and allocates the same tens of megabytes. By default glibc returns blocks of
    that size to the system at once, so every step faults more than a thousand pages in again.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # missing in other C libraries
    if mallopt is not None:
        mallopt(MALLOPT_MMAP_MAX, 0)
        mallopt(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)


def to_channels_last(module: Module) -> Module:
    """Converts a module's weights in place to channels-last, the CPU's fastest layout."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
