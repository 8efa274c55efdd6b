"""Where, how and in which precision to compute."""

import ctypes
import sys
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import nn

Module = TypeVar("Module", bound=nn.Module)

MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_MAX = -1, -4  # of malloc.h


def resolve_device(name: str) -> torch.device:
    """The device of a name; ``"auto"`` is CUDA where there is a usable device, else the CPU.

    Raises:
        ValueError: CUDA was asked for by name and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no CUDA device; take auto or cpu")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """``"float32"`` or ``"bfloat16"``; ``"auto"`` is bfloat16 where the hardware has instructions.

    Without such instructions a CPU emulates bfloat16 several times slower than float32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported()
    else:
        native = any(have for what, have in torch.cpu.get_capabilities().items() if "bf16" in what)
    return "bfloat16" if native else "float32"


def configure_torch(threads: int) -> None:
    """Sets this process up to compute: threads, deterministic algorithms, memory kept.

    Args:
        threads: CPU threads. Sums are split by thread, so another number gives other rounding.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # scikit-learn's and numpy's own pools
    # As use_deterministic_algorithms(True), which imports a compiler first: a second.
    torch.set_deterministic_debug_mode("error")
    # Would fill every new tensor, at the cost of a tenth of a training step, against a
    # fault that this code does not have: reading memory before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32, in convolutions as in products
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Has glibc keep freed memory for what is allocated next; elsewhere does nothing.

    Each step frees and takes the same tens of megabytes. By default glibc gives blocks of that
    size back to the system at once and the next step's pages are faulted in again, more
    than a thousand in each step.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(MALLOPT_MMAP_MAX, 0)
        mallopt(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)


def to_channels_last(module: Module) -> Module:
    """Lays a module's weights out channels-last, in place: the layout CPUs convolve fastest in."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
