"""A training step as a CUDA graph: captured once, then replayed without Python.

The kernels of a network of this size finish sooner than Python launches the next ones. Launched
one by one, they leave the device idle most of the time.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture: the first ones allocate workspaces and optimizer state


class GraphedStep:
    """A training step, captured as a CUDA graph in its fourth call and replayed from then on.

    Args:
        update: The step. It computes everything on the device, reads and writes the same tensors
            in each call, and never waits for the device.
        rng: Generator on the device, passed to the step. It may be seeded before each call.
    """

    def __init__(
        self, update: Callable[[torch.Generator], dict[str, Tensor]], rng: torch.Generator
    ) -> None:
        self.update = update
        self.rng = rng
        self.reset()

    def reset(self) -> None:
        """Discards the graph; to be called when tensors that the step uses were replaced."""
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.losses: dict[str, Tensor] = {}

    def __call__(self) -> dict[str, Tensor]:
        """Runs the step; the next call overwrites the tensors returned."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._on_side_stream()
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self.rng)
            with torch.cuda.graph(graph):
                self.losses = self.update(self.rng)
            self.graph = graph
        self.graph.replay()
        return self.losses

    def _on_side_stream(self) -> dict[str, Tensor]:
        """Runs the step on another stream.

        Autograd keeps state of the default stream, which would invalidate the capture.
        """
        side, default = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(default)
        with torch.cuda.stream(side):
            losses = self.update(self.rng)
        default.wait_stream(side)
        return losses
