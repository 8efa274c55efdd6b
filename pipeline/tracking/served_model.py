"""The registered model: a trained model behind MLflow's ``predict``.

MLflow copies this file beside the weights and runs it wherever the model is loaded
("models from code"), so it imports nothing of this repository but ``vaegan``, which is
copied with it. ``pipeline/tracking/registry.py`` copies them.

MLflow drops parameters that the signature does not name, and the scoring server drops unknown parts
of a request, both before a model sees them. A mistyped name would get the default task's answer, so
loading the model puts a check before each (:func:`_check_before_mlflow`).
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import safetensors.numpy
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import DataType, ParamSchema, ParamSpec

from vaegan.model.vae import DisentanglingVAE

TASKS = ("reconstruct", "encode", "swap", "sample")
PARAMS = ParamSchema(
    [
        ParamSpec("task", DataType.string, TASKS[0]),
        ParamSpec("identity", DataType.string, [], shape=(-1,)),
        ParamSpec("identity_from", DataType.long, [], shape=(-1,)),
        ParamSpec("seed", DataType.long, 0),
    ]
)
DEFAULTS = {param.name: param.default for param in PARAMS}
TASK_OF = {"identity": "swap", "identity_from": "swap", "seed": "sample"}
IDENTITIES = "identities"  # artifact: specified codes of the classes
SEEDS = 2**63  # seeds lie in [-SEEDS, SEEDS)
SERVER = "mlflow.pyfunc.scoring_server"


class ServedModel(PythonModel):
    """A :class:`vaegan.model.DisentanglingVAE` on the CPU, in eval mode."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads weights and structure from the artifact ``model``, and the classes' codes."""
        self.model = DisentanglingVAE.load(Path(context.artifacts["model"]))
        self.names: list[str] = []
        self.identities = torch.empty(0)
        if IDENTITIES in context.artifacts:
            self.names, self.identities = read_identities(Path(context.artifacts[IDENTITIES]))
        _check_before_mlflow()

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
                    "swap": another identity in the style of image i.
                    "sample": what image i shows, in a style sampled from the prior N(0, I).
                identity: For "swap", a class by name or number, or n of them, one for each image:
                    the mean specified code of training images of the class.
                identity_from: For "swap", n positions in the batch of the images that show the
                    identity. Without both, the next image's, and for the last image the first's.
                seed: For "sample"; the same images and seed give the same answer.

        Returns:
            float32 (n, C, H, W) in [0, 1]; for "encode" four arrays by name,
            ``specified_mean`` and ``specified_std`` (n, S), ``unspecified_mean`` and
            ``unspecified_std`` (n, Z).

        Raises:
            MlflowException: the images or a parameter are not usable. The error code is
                INVALID_PARAMETER_VALUE, to which the scoring server answers with status 400.
        """
        options = DEFAULTS | check_params(params)
        check_shape(model_input, self.model.config.image_shape)
        images = _checked(model_input)
        with torch.inference_mode():
            match options["task"]:
                case "reconstruct":
                    return self.model.reconstruct(images).numpy()
                case "encode":
                    return self._encode(images)
                case "swap":
                    return self._swap(images, options["identity"], options["identity_from"])
                case _:
                    rng = torch.Generator().manual_seed(options["seed"])
                    return self.model.sample(images, rng).numpy()

    def _encode(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        codes = self.model.encode(images)
        return {
            "specified_mean": codes.specified.mean.numpy(),
            "specified_std": codes.specified.std.numpy(),
            "unspecified_mean": codes.unspecified.mean.numpy(),
            "unspecified_std": codes.unspecified.std.numpy(),
        }

    def _swap(
        self, images: torch.Tensor, classes: list[str], identity_from: list[int]
    ) -> np.ndarray:
        if classes:
            specified = self._codes_of(classes, len(images))
            return self.model.decode(specified, self.model.encode(images).unspecified.mean).numpy()
        if len(images) == 1:
            raise _refusal(
                "a swap needs a second image, or a class: send two images or more, or the "
                f"parameter identity{self._known_classes()}"
            )
        return self.model.swap(images[_positions(identity_from, len(images))], images).numpy()

    def _codes_of(self, classes: list[str], count: int) -> torch.Tensor:
        """Specified codes (count, S) of classes by name or number, one for all images or each."""
        if not self.names:
            raise _refusal("this version knows no classes: use identity_from instead of identity")
        if len(classes) not in (1, count):
            raise _refusal(
                f"identity must have one class, or one for each of the {count} images, got "
                f"{len(classes)}: {', '.join(classes)}"
            )
        numbers = [self._class_number(name) for name in classes]
        return self.identities[numbers].expand(count, -1)

    def _class_number(self, name: str) -> int:
        """The number of a class that is given by its name or, as digits, by its number."""
        if name in self.names:
            number = self.names.index(name)
        elif name.isdecimal() and int(name) < len(self.names):
            number = int(name)
        else:
            raise _refusal(f"unknown class {name!r}{self._known_classes()}")
        if not self.identities[number].isfinite().all():
            raise _refusal(f"class {name!r} has no training image, so its code is unknown")
        return number

    def _known_classes(self) -> str:
        shown = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
        return f", expected one of {shown} or a number from 0" if self.names else ""


def check_params(params: dict[str, Any] | None) -> dict[str, Any]:
    """Checks names and values of parameters; returns those that were given, in their types.

    Raises:
        MlflowException: a name is unknown, a value is wrong, or the task does not use it.
    """
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise _refusal(f"params must be an object of names and values, got {params!r}")
    if unknown := [name for name in params if name not in DEFAULTS]:
        raise _refusal(
            f"unknown parameter {', '.join(map(repr, unknown))}, expected {', '.join(DEFAULTS)}"
        )
    given = {name: _typed(name, value) for name, value in params.items()}
    task = given.get("task", TASKS[0])
    if task not in TASKS:
        raise _refusal(f"unknown task {task!r}, expected one of {', '.join(TASKS)}")
    for name, value in given.items():
        if TASK_OF.get(name, task) != task and value != DEFAULTS[name]:
            raise _refusal(f"{name} is for the task {TASK_OF[name]}, got the task {task}")
    if given.get("identity") and given.get("identity_from"):
        raise _refusal("give identity or identity_from, not both")
    return given


def check_shape(images: Any, shape: tuple[int, ...]) -> None:
    """Checks type and shape of images, for which MLflow prints them all.

    Raises:
        MlflowException: they are not float32 (n, C, H, W), n >= 1, for ``shape`` (C, H, W).
    """
    expected = f"float32 images (n, {', '.join(map(str, shape))}) with values in [0, 1]"
    if isinstance(images, list | np.ndarray) and not len(images):
        raise _refusal(f"got no images, expected one or more: {expected}")
    if isinstance(images, np.ndarray):
        if images.shape[1:] != shape:
            raise _refusal(f"got images of shape {images.shape}, expected {expected}")
        if images.dtype != np.float32:
            hint = "; divide bytes by 255" if images.dtype == np.uint8 else ""
            raise _refusal(f"got images of type {images.dtype}, expected {expected}{hint}")


def _typed(name: str, value: Any) -> Any:
    """A parameter's value in the type that its name has."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if name == "task":
        if not isinstance(value, str):
            raise _refusal(f"task must be one of {', '.join(TASKS)}, got {value!r}")
        return value
    if name == "seed":
        number = _whole(value)
        if number is None or not -SEEDS <= number < SEEDS:
            raise _refusal(f"seed must be a whole number in [-2^63, 2^63), got {value!r}")
        return number
    if name == "identity":
        names = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(entry, str) or _whole(entry) is not None for entry in names):
            raise _refusal(f"identity must be a class by name or number, or a list, got {value!r}")
        return [entry if isinstance(entry, str) else str(_whole(entry)) for entry in names]
    positions = value if isinstance(value, list | tuple) else None
    if positions is None or any(_whole(entry) is None for entry in positions):
        raise _refusal(f"identity_from must be a list of positions in the batch, got {value!r}")
    return [_whole(entry) for entry in positions]


def _whole(value: Any) -> int | None:
    """A whole number as an int; None for anything else, truth values included."""
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_before_mlflow() -> None:
    """Puts our checks before MLflow's, in this process, for models with our parameters only.

    MLflow has no place for such checks. Where it has moved the functions that are wrapped here, it
    goes on dropping unknown names, and :meth:`ServedModel.predict` checks what is left.
    """
    ours = frozenset(DEFAULTS)
    pyfunc: Any = sys.modules["mlflow.pyfunc"]
    validate = getattr(pyfunc, "_validate_prediction_input", None)
    # Parameters of versions that were loaded here before.
    wrapped: frozenset[frozenset[str]] = getattr(validate, "of_vaegan", frozenset())
    if validate is not None and ours not in wrapped:

        @functools.wraps(validate)
        def checked(
            data: Any, params: Any, input_schema: Any, params_schema: Any, *rest: Any, **more: Any
        ) -> Any:
            if {param.name for param in params_schema or ()} == ours:
                params = check_params(params)
                check_shape(data, tuple(input_schema.inputs[0].shape[1:]))
            return validate(data, params, input_schema, params_schema, *rest, **more)

        checked.of_vaegan = wrapped | {ours}  # type: ignore[attr-defined]
        pyfunc._validate_prediction_input = checked
    server: Any = sys.modules.get(SERVER)  # there if this process serves a model
    split = getattr(server, "_split_data_and_params", None)
    if split is not None and not hasattr(split, "of_vaegan"):
        parts = {*server.SUPPORTED_FORMATS, "params"}

        @functools.wraps(split)
        def whole(request: Any) -> Any:
            if unknown := sorted(_parts(request) - parts):
                raise _refusal(
                    f"unknown part {', '.join(map(repr, unknown))} of the request, expected "
                    "inputs and perhaps params"
                )
            return split(request)

        whole.of_vaegan = True  # type: ignore[attr-defined]
        server._split_data_and_params = whole


def _parts(request: Any) -> set[str]:
    """Names of the parts of a request; none if it is not an object, which MLflow refuses itself."""
    try:
        content = json.loads(request) if isinstance(request, str | bytes) else request
    except ValueError:
        return set()
    return set(content) if isinstance(content, dict) else set()


def write_identities(path: Path, names: list[str], codes: np.ndarray) -> None:
    """Writes the classes' names and specified codes, float32 (K, S); NaN for an unknown code."""
    arrays = {"specified": np.ascontiguousarray(codes, np.float32)}
    path.write_bytes(safetensors.numpy.save(arrays, {"names": json.dumps(names)}))


def read_identities(path: Path) -> tuple[list[str], torch.Tensor]:
    """Reads what :func:`write_identities` wrote."""
    with safetensors.safe_open(path, "pt") as file:
        return json.loads(file.metadata()["names"]), file.get_tensor("specified")


def _checked(images: np.ndarray) -> torch.Tensor:
    """Copies images into a tensor, after a check of their values."""
    if wrong := int((~np.isfinite(images)).sum()):
        raise _refusal(f"pixels must be finite numbers, got {wrong} that are not")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        hint = "; were these bytes, divide them by 255" if high > 1 else ""
        raise _refusal(f"pixels must lie in [0, 1], got values from {low:g} to {high:g}{hint}")
    return torch.tensor(images, dtype=torch.float32)


def _positions(identity_from: list[int], count: int) -> list[int]:
    """Positions in the batch from which the images take their identities."""
    if not identity_from:
        return [*range(1, count), 0]
    if len(identity_from) != count:
        raise _refusal(
            f"identity_from must have one position for each of the {count} images or be empty, "
            f"got {len(identity_from)}: {identity_from}"
        )
    if wrong := [position for position in identity_from if not 0 <= position < count]:
        raise _refusal(
            f"identity_from must hold positions from 0 to {count - 1} in the batch, got {wrong}"
        )
    return identity_from


def _refusal(message: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(ServedModel())
