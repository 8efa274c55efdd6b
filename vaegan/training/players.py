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
        self.optimizer = adam(self.parameters, self.lr, self.betas)

    def set_rate(self, scale: float) -> None:
        """The next moves are at ``scale`` times the player's rate."""
        set_rate(self.optimizer, self.lr * scale)

    def update(self, loss: Tensor) -> None:
        """Collects gradients of a loss and moves."""
        self.collect(loss)
        self.move()

    def collect(self, loss: Tensor, keep_graph: bool = False) -> None:
        """Backpropagates into the player's own parameters and no others.

        So a loss that runs through an adversary leaves no gradients there.

        Args:
            loss: Scalar.
            keep_graph: Whether another loss is still to be backpropagated through the same pass.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=self.parameters, retain_graph=keep_graph)

    def move(self) -> None:
        """One optimizer step along what was collected."""
        self.optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Weights, buffers and moments, flat."""
        tensors = {
            f"module/{index}/{key}": value
            for index, module in enumerate(self.modules)
            for key, value in module.state_dict().items()
        }
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in moments.items()}
        return tensors

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on from what :meth:`state` gave.

        Raises:
            KeyError, RuntimeError: the state is of another structure.
        """
        for index, module in enumerate(self.modules):
            module.load_state_dict(below(state, f"module/{index}/"))
        optimizer = self.optimizer.state_dict()
        # The fused optimizer goes through memory: moments must lie as their parameter does.
        optimizer["state"] = {
            index: {
                key: _laid_out_as(parameter, value)
                for key, value in below(state, f"optimizer/{index}/").items()
            }
            for index, parameter in enumerate(self.parameters)
        }
        self.optimizer.load_state_dict(optimizer)


def adam(
    parameters: list[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam as all training here uses it: fused, and on a CUDA device fit to be recorded."""
    device = parameters[0].device
    recorded = device.type == "cuda"
    # What changes from step to step has to lie on the device for that.
    rate = torch.tensor(lr, device=device) if recorded else lr
    return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True, capturable=recorded)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the step size of an optimizer of :func:`adam`."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of a flat state whose names begin with a prefix, without it."""
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    same = value.shape == parameter.shape
    return torch.empty_like(parameter, requires_grad=False).copy_(value) if same else value


def learning_rate_scale(step: int, steps: int, warmup_steps: int) -> float:
    """Linear rise over ``warmup_steps``, then half a cosine down to 0 at ``steps``; in [0, 1]."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
