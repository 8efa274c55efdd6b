"""The registered model: a trained model behind MLflow's ``predict``.

MLflow copies this file beside the weights and runs it wherever the model is loaded
("models from code"), so it imports nothing of this repository but ``vaegan``, which is
copied with it. ``pipeline/registry.py`` does the copying.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import DataType, ParamSchema, ParamSpec

from vaegan.model.vae import DisentanglingVAE

TASKS = ("reconstruct", "encode", "swap", "sample")
PARAMS = ParamSchema(
    [
        ParamSpec("task", DataType.string, TASKS[0]),
        ParamSpec("identity_from", DataType.long, [], shape=(-1,)),
        ParamSpec("seed", DataType.long, 0),
    ]
)


class ServedModel(PythonModel):
    """A :class:`vaegan.model.DisentanglingVAE` on the CPU, in eval mode."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads weights and structure from the artifact ``model``."""
        self.model = DisentanglingVAE.load(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Performs the task ``params["task"]`` on images.

        Args:
            context: As :meth:`load_context` had it; not used again.
            model_input: float32 (n, C, H, W) in [0, 1], n >= 1.
            params: What is left out has its default.
                task: "reconstruct" (default): each image decoded from its own codes.
                    "encode": mean and standard deviation of both codes of each image.
                    "swap": what image ``identity_from[i]`` shows, in the style of image i.
                    "sample": what image i shows, in a style sampled from the prior N(0, I).
                identity_from: For "swap", n positions in the batch; empty (default): the
                    next image's, and for the last image the first's.
                seed: For "sample"; the same images and seed give the same answer.

        Returns:
            float32 (n, C, H, W) in [0, 1]; for "encode" four arrays by name,
            ``specified_mean`` and ``specified_std`` (n, S), ``unspecified_mean`` and
            ``unspecified_std`` (n, Z).

        Raises:
            MlflowException: the images or a parameter are not usable. The error code is
                INVALID_PARAMETER_VALUE, to which the scoring server answers with status 400.
        """
        options = {param.name: param.default for param in PARAMS} | (params or {})
        images = _checked(model_input)
        with torch.inference_mode():
            match options["task"]:
                case "reconstruct":
                    return self.model.reconstruct(images).numpy()
                case "encode":
                    return self._encode(images)
                case "swap":
                    identities = images[_positions(options["identity_from"], len(images))]
                    return self.model.swap(identities, images).numpy()
                case "sample":
                    rng = torch.Generator().manual_seed(int(options["seed"]))
                    return self.model.sample(images, rng).numpy()
                case task:
                    raise _refusal(f"unknown task {task!r}, expected one of {', '.join(TASKS)}")

    def _encode(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        codes = self.model.encode(images)
        return {
            "specified_mean": codes.specified.mean.numpy(),
            "specified_std": codes.specified.std.numpy(),
            "unspecified_mean": codes.unspecified.mean.numpy(),
            "unspecified_std": codes.unspecified.std.numpy(),
        }


def _checked(images: np.ndarray) -> torch.Tensor:
    """Copies images into a tensor; MLflow has checked shape and type against the signature."""
    if not len(images):
        raise _refusal(f"expected one image or more, got none: shape {images.shape}")
    if wrong := int((~np.isfinite(images)).sum()):
        raise _refusal(f"pixels must be finite numbers, got {wrong} that are not")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        hint = "; were these bytes, divide them by 255" if high > 1 else ""
        raise _refusal(f"pixels must lie in [0, 1], got values from {low:g} to {high:g}{hint}")
    return torch.tensor(images, dtype=torch.float32)


def _positions(identity_from: list[int], count: int) -> list[int]:
    """Positions in the batch from which the images take their identities."""
    positions = [int(position) for position in identity_from]
    if not positions:
        return [*range(1, count), 0]
    if len(positions) != count:
        raise _refusal(
            f"identity_from must have one position for each of the {count} images or be empty, "
            f"got {len(positions)}: {positions}"
        )
    if wrong := [position for position in positions if not 0 <= position < count]:
        raise _refusal(
            f"identity_from must hold positions from 0 to {count - 1} in the batch, got {wrong}"
        )
    return positions


def _refusal(message: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(ServedModel())
