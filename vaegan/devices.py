"""Device, precision, threads, determinism and memory layout of torch computations."""

import ctypes
import logging
import sys
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional as F

Module = TypeVar("Module", bound=nn.Module)

log = logging.getLogger(__name__)

MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_MAX = -1, -4  # of malloc.h


def resolve_device(name: str) -> torch.device:
    """Returns the device of a name.

    ``"auto"`` is CUDA if a device is usable; else Apple's GPU (``"mps"``), if a trial there gives
    what the CPU gives; else the CPU.

    Raises:
        ValueError: the name is ``"cuda"`` or ``"mps"`` and torch finds no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if apple_gpu_works() else "cpu")
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not found.get(name, True):
        raise ValueError(f"device is {name}, but torch finds no such device; take auto or cpu")
    return torch.device(name)


@cache
def apple_gpu_works() -> bool:
    """Returns whether Apple's GPU is there and computes a small training step as the CPU does."""
    if not torch.backends.mps.is_available():
        return False
    try:
        found, expected = _trial(torch.device("mps")), _trial(torch.device("cpu"))
    # An operation that is missing there raises one of several errors, which depends on torch.
    except Exception as error:
        log.warning("Apple's GPU is not used: %s", error)
        return False
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def _trial(device: torch.device) -> torch.Tensor:
    """Runs a training step's kinds of operations; returns a weight after an optimizer step."""
    rng = torch.Generator(device).manual_seed(0)
    noise = torch.randn(8, 1, 5, 5, generator=rng, device=device)  # another one on each device
    weight = torch.linspace(-1, 1, 8 * 25).view(8, 1, 5, 5).to(device) + 0 * noise
    weight = weight.requires_grad_()
    images = torch.linspace(0, 1, 4 * 144).view(4, 1, 12, 12).to(device).sin()
    maps = F.conv2d(images.contiguous(memory_format=torch.channels_last), weight, None, 2, 2)
    maps = F.batch_norm(maps, None, None, training=True).relu()
    codes = F.batch_norm(maps.flatten(1), None, None, training=True)
    order = torch.argsort(images.flatten(1)[:, 5], stable=True)
    distances = torch.cdist(codes, codes[order]).square()
    loss = F.softplus(maps).mean() + (1 / (1 + distances)).mean()
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    loss.backward()
    optimizer.step()
    return weight.detach().cpu()


def resolve_precision(name: str, device: torch.device) -> str:
    """Returns ``"float32"`` or ``"bfloat16"``; ``"auto"`` is bfloat16 if the hardware supports it.

    A CPU without bfloat16 instructions emulates it, several times slower than float32. On Apple's
    GPU it is float32.
    """
    if name != "auto":
        return name
    if device.type == "mps":
        return "float32"
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
