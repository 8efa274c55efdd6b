"""The players of the adversarial game: their parameters, optimizers and learning rates."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Player:
    """One side of the adversarial game: its modules and the optimizer of their parameters."""

    name: str
    modules: list[nn.Module]
    lr: float
    betas: tuple[float, float]
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for module in self.modules for p in module.parameters()]
        self.optimizer = adam(self.parameters, self.lr, self.betas)

    def set_rate(self, scale: float) -> None:
        """Sets the learning rate to ``scale`` times the player's ``lr``."""
        set_rate(self.optimizer, self.lr * scale)

    def update(self, loss: Tensor) -> None:
        """Backpropagates a loss and takes an optimizer step."""
        self.backward(loss)
        self.step()

    def backward(self, loss: Tensor, keep_graph: bool = False) -> None:
        """Computes gradients of the player's own parameters and of no others.

        A loss that runs through an adversary leaves no gradients there.

        Args:
            loss: Scalar.
            keep_graph: Whether another loss will be backpropagated through the same pass.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=self.parameters, retain_graph=keep_graph)

    def step(self) -> None:
        """Takes an optimizer step along the gradients of :meth:`backward`."""
        self.optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Returns weights, buffers and optimizer moments by flat names."""
        tensors = {
            f"module/{index}/{key}": value
            for index, module in enumerate(self.modules)
            for key, value in module.state_dict().items()
        }
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in moments.items()}
        return tensors

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restores a state that :meth:`state` returned.

        Raises:
            KeyError, RuntimeError: the state is of another structure.
        """
        for index, module in enumerate(self.modules):
            module.load_state_dict(strip_prefix(state, f"module/{index}/"))
        optimizer = self.optimizer.state_dict()
        # The fused optimizer expects moments in the memory layout of their parameter.
        optimizer["state"] = {
            index: {
                key: _in_layout_of(parameter, value)
                for key, value in strip_prefix(state, f"optimizer/{index}/").items()
            }
            for index, parameter in enumerate(self.parameters)
        }
        self.optimizer.load_state_dict(optimizer)


def adam(
    parameters: list[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Creates a fused Adam; on a CUDA device one that can be captured in a graph."""
    device = parameters[0].device
    captured = device.type == "cuda"
    # A value that changes between replays of a graph has to be on the device.
    rate = torch.tensor(lr, device=device) if captured else lr
    return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True, capturable=captured)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of an optimizer of :func:`adam`."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def strip_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Selects the entries of a flat state whose names start with a prefix, and removes it."""
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def _in_layout_of(parameter: Tensor, value: Tensor) -> Tensor:
    same = value.shape == parameter.shape
    return torch.empty_like(parameter, requires_grad=False).copy_(value) if same else value


def learning_rate_scale(step: int, steps: int, warmup_steps: int) -> float:
    """Returns a factor in [0, 1]: linear warm-up, then half a cosine down to 0 at ``steps``."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
