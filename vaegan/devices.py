"""Where and in which precision to compute."""

from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


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


def make_deterministic(threads: int) -> None:
    """Sets the number of CPU threads and has torch use deterministic algorithms only.

    Args:
        threads: Sums are split by thread, so another number gives other rounding.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # scikit-learn's and numpy's own pools
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def to_channels_last(module: Module) -> Module:
    """Lays a module's weights out channels-last, in place: the layout CPUs convolve fastest in."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
