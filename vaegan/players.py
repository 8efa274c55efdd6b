"""The sides of the adversarial game, and how fast they move."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Player:
    """One side of the game: the modules it owns and the optimizer that moves them, alone."""

    name: str
    modules: list[nn.Module]
    lr: float
    betas: tuple[float, float]
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for module in self.modules for p in module.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.lr, betas=self.betas, fused=True)

    def update(self, loss: Tensor, scale: float) -> None:
        """Collects gradients of a loss and moves, at ``scale`` times the player's rate."""
        self.collect(loss)
        self.move(scale)

    def collect(self, loss: Tensor, keep_graph: bool = False) -> None:
        """Backpropagates into the player's own parameters and no others.

        So a loss that runs through an adversary leaves no gradients there.

        Args:
            loss: Scalar.
            keep_graph: Whether another loss is still to be backpropagated through the same pass.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=self.parameters, retain_graph=keep_graph)

    def move(self, scale: float) -> None:
        """One optimizer step along what was collected, at ``scale`` times the player's rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * scale
        self.optimizer.step()


def learning_rate_scale(step: int, steps: int, warmup_steps: int) -> float:
    """Linear rise over ``warmup_steps``, then half a cosine down to 0 at ``steps``; in [0, 1]."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
