"""The training loop that the adversarial game and the fit of the transport share."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaegan.progress import followed
from vaegan.rng import derive_seed
from vaegan.training.cuda_graph import GraphedStep
from vaegan.turns import in_turns


class TrainingLoop:
    """Runs training steps with keyed random numbers, and checks their losses.

    Args:
        update: One training step: samples from the generator it is given and returns its losses
            as detached scalars on the device. On a CUDA device it is captured as a CUDA graph,
            see :class:`GraphedStep`.
        set_rates: Sets the learning rates of a step, counted from 0.
        device: Device of the step.
        seed: With ``purpose`` and the number of the step, the key of the step's random numbers.
        purpose: See :func:`vaegan.rng.derive_seed`.
        where: Ends the message about a loss that is not finite.
        title: What the loop does, to log its progress; "" if who runs it reports itself.

    Attributes:
        step: Steps done so far.
        graphed: The step as a CUDA graph; None on the CPU. Set to None, each kernel is launched
            on its own.
    """

    def __init__(
        self,
        update: Callable[[torch.Generator], dict[str, Tensor]],
        set_rates: Callable[[int], None],
        device: torch.device,
        seed: int,
        purpose: str,
        where: str = "",
        title: str = "",
    ) -> None:
        self.update, self.set_rates = update, set_rates
        self.device = device
        self.seed, self.purpose = seed, purpose
        self.where, self.title = where, title
        self.step = 0
        self.rng = torch.Generator(device)
        self.graphed = GraphedStep(update, self.rng) if device.type == "cuda" else None

    def run(self, steps: int) -> tuple[list[str], Tensor]:
        """Runs a number of steps; on the CPU in turns with other processes.

        Returns:
            The names of the losses, and their values, float32 (steps, names) on the device.

        Raises:
            FloatingPointError: a loss is not finite. Raised after that step on the CPU; after
                the last step on another device, where each check would wait for the device.
        """
        history: list[Tensor] = []
        on_cpu = self.device.type == "cpu"
        turns = in_turns(range(steps)) if on_cpu else range(steps)
        for _ in followed(turns, self.title, steps) if self.title else turns:
            losses = self.advance()
            history.append(torch.stack(list(losses.values())))
            if on_cpu:
                self._check_finite(list(losses), history[-1], self.step)
        names, values = list(losses), torch.stack(history)
        if not on_cpu:
            for step, row in enumerate(values.cpu(), start=self.step - steps + 1):
                self._check_finite(names, row, step)
        return names, values

    def advance(self) -> dict[str, Tensor]:
        """Runs one step; on a CUDA device the next step overwrites the losses returned."""
        self.rng.manual_seed(derive_seed(self.seed, self.purpose, self.step))
        self.set_rates(self.step)
        self.step += 1
        return self.update(self.rng) if self.graphed is None else self.graphed()

    def resume(self, step: int) -> None:
        """Continues after ``step`` steps, with weights and moments that may be new tensors."""
        self.step = step
        if self.graphed is not None:
            self.graphed.reset()

    def _check_finite(self, names: list[str], losses: Tensor, step: int) -> None:
        """Raises an error about the first loss that is not finite; terms precede their sum."""
        for name, value in zip(names, losses.tolist(), strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} at step {step}{self.where}")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Returns a context in which networks compute in ``"float32"`` or ``"bfloat16"``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
