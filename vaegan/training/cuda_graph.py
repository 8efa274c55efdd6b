"""Work on a CUDA device that is recorded once and then repeated without Python.

The kernels of a network of this size end sooner than Python starts the next ones: step by step,
the device waits most of the time.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording: the first ones allocate workspaces and optimizer state


class Repeated:
    """A function without arguments, recorded as a CUDA graph in its fourth call.

    Args:
        function: All that it computes it computes on the device, from and into the same tensors
            each time, without ever waiting for it.
        rng: The generator on the device that it draws from; may be seeded anew before each call.
    """

    def __init__(self, function: Callable[[], dict[str, Tensor]], rng: torch.Generator) -> None:
        self.function = function
        self.rng = rng
        self.forget()

    def forget(self) -> None:
        """Records anew: to be called when tensors that the function uses were replaced."""
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.found: dict[str, Tensor] = {}

    def __call__(self) -> dict[str, Tensor]:
        """Computes; what it returns is overwritten by the next call."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._aside()
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self.rng)
            with torch.cuda.graph(graph):
                self.found = self.function()
            self.graph = graph
        self.graph.replay()
        return self.found

    def _aside(self) -> dict[str, Tensor]:
        """On another stream: what autograd keeps of the usual one would spoil the recording."""
        side, usual = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(usual)
        with torch.cuda.stream(side):
            found = self.function()
        usual.wait_stream(side)
        return found
