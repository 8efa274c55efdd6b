"""The registered model: a trained model behind MLflow's ``predict``.

MLflow copies this file beside the weights and runs it wherever the model is loaded
("models from code"), so it imports nothing of this repository but ``vaegan`` and, as the module
``conversion``, ``pipeline/data/conversion.py``. ``pipeline/tracking/registry.py`` copies them.

The signature knows one input, the array that the model itself takes: MLflow has none for "this
array, or files". Images as they come pass beside it, as a list or a table of one column, neither of
which is a valid array, and are converted here as ``prepare`` converted the training images.

MLflow drops parameters that the signature does not name, and the scoring server drops unknown parts
of a request, both before a model sees them. A mistyped name would get the default task's answer, so
loading the model puts a check before each (:func:`_check_before_mlflow`).
"""

import base64
import difflib
import functools
import json
import sys
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import PIL.Image
import safetensors.numpy
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import DataType, ParamSchema, ParamSpec

from vaegan.data import to_unit_range
from vaegan.model.vae import DisentanglingVAE

TASKS = ("reconstruct", "encode", "swap", "sample", "compare", "classes")
PARAMS = ParamSchema(
    [
        ParamSpec("task", DataType.string, TASKS[0]),
        ParamSpec("identity", DataType.string, [], shape=(-1,)),
        ParamSpec("identity_from", DataType.long, [], shape=(-1,)),
        ParamSpec("seed", DataType.long, 0),
        ParamSpec("count", DataType.long, 1),
    ]
)
DEFAULTS = {param.name: param.default for param in PARAMS}
TASK_OF = {"identity": "swap", "identity_from": "swap", "seed": "sample", "count": "sample"}
IDENTITIES = "identities"  # artifact: specified codes of the classes
ERRORS = "errors"  # artifact: how well test images are reconstructed
UNLIKE = 99  # percentile of the errors of test images, above which an image is unlike them
BATCH = 100  # images whose errors are measured at a time
CONVERSION = "conversion"  # artifact: how prepare converted images; also the module that does it
SEEDS = 2**63  # seeds lie in [-SEEDS, SEEDS)
MOST_STYLES = 1000  # sampled for each image
SHOWN_CLASSES = 20  # in a message
SERVER = "mlflow.pyfunc.scoring_server"


class ServedModel(PythonModel):
    """A :class:`vaegan.model.DisentanglingVAE` on the CPU, in eval mode."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the model, the classes' codes and the conversion of images."""
        # It lies in the version's folder of code, which MLflow has made importable.
        import conversion  # type: ignore[import-not-found]

        self.model = DisentanglingVAE.load(Path(context.artifacts["model"]))
        values = json.loads(Path(context.artifacts[CONVERSION]).read_text())
        self.conversion = conversion.Conversion.from_dict(values)
        self.open_image = conversion.open_image
        self.names: list[str] = []
        self.identities = torch.empty(0)
        if IDENTITIES in context.artifacts:
            self.names, self.identities = read_identities(Path(context.artifacts[IDENTITIES]))
        self.percentiles: np.ndarray | None = None
        if ERRORS in context.artifacts:
            self.percentiles = read_percentiles(Path(context.artifacts[ERRORS]))
        _check_before_mlflow()

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # or what as_they_come knows; MLflow warns of other hints
        params: dict[str, Any] | None = None,
    ) -> np.ndarray | dict[str, np.ndarray] | list[str]:
        """Performs the task ``params["task"]`` on images.

        Args:
            context: As :meth:`load_context` had it; not used again.
            model_input: float32 (n, C, H, W) in [0, 1], n >= 1, of the model's own shape. Or n
                images of any size as a list or a table of one column: the content of an image
                file as bytes or base64, a Pillow image, or an array (H, W) or (H, W, C), uint8,
                uint16 or floats in [0, 1]. These are converted as ``prepare`` converts images.
            params: What is left out has its default.
                task: "reconstruct" (default): each image decoded from its own codes.
                    "encode": mean and standard deviation of both codes of each image.
                    "swap": another identity in the style of image i.
                    "sample": what image i shows, in a style sampled from the prior N(0, I).
                    "compare": how image i compares with test images, by its reconstruction.
                    "classes": the names of the classes by number; no image is needed.
                identity: For "swap", a class by name or number, or n of them, one for each image:
                    the mean specified code of training images of the class. A name comes first.
                identity_from: For "swap", n positions in the batch of the images that show the
                    identity. Without both, the next image's, and for the last image the first's.
                seed: For "sample"; the same images and seed give the same answer.
                count: For "sample", the styles of each image; those of an image are consecutive.

        Returns:
            float32 (n, C, H, W) in [0, 1], for "sample" n times ``count`` of them; for "encode"
            four arrays by name, ``specified_mean`` and ``specified_std`` (n, S),
            ``unspecified_mean`` and ``unspecified_std`` (n, Z); for "compare" three arrays (n,),
            see :meth:`_compare`; for "classes" a list of names. Images as they come that are unlike
            the test images cause a warning.

        Raises:
            MlflowException: the images or a parameter are not usable. The error code is
                INVALID_PARAMETER_VALUE, to which the scoring server answers with status 400.
        """
        options = DEFAULTS | check_params(params)
        if options["task"] == "classes":
            return self.names
        images = self._images(model_input)
        if self.percentiles is not None and as_they_come(model_input) is not None:
            self._warn_of_unlike(images)
        with torch.inference_mode():
            match options["task"]:
                case "reconstruct":
                    return self.model.reconstruct(images).numpy()
                case "encode":
                    return self._encode(images)
                case "compare":
                    return self._compare(images)
                case "swap":
                    return self._swap(images, options["identity"], options["identity_from"])
                case _:
                    rng = torch.Generator().manual_seed(options["seed"])
                    repeated = images.repeat_interleave(options["count"], dim=0)
                    return self.model.sample(repeated, rng).numpy()

    def _images(self, given: Any) -> torch.Tensor:
        """The given images in the model's own shape; all that cannot be converted are named."""
        images = as_they_come(given)
        if images is None:
            check_shape(given, self.model.config.image_shape)
            return _checked(given)
        converted, faults = [], []
        for position, image in enumerate(images):
            try:
                is_file = isinstance(image, bytes | str)
                picture = self.open_image(_content(image)) if is_file else _picture(image)
                converted.append(self.conversion.convert(picture))
            except ValueError as error:
                faults.append(f"image {position} {error}")
        if faults:
            raise _refusal("; ".join(faults))
        return to_unit_range(torch.from_numpy(np.stack(converted)))

    def _compare(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        """Compares the errors of reconstructions with those of test images.

        Returns:
            By name, one value for each image: ``error``, squared and per pixel; ``percentile``, the
            per cent of the test images with a smaller one; ``unlike``, whether these are 99 %.
        """
        if self.percentiles is None:
            raise _refusal("this version was registered without test images to compare with")
        errors = reconstruction_errors(self.model, images)
        below = np.searchsorted(self.percentiles, errors)
        return {
            "error": errors,
            "percentile": np.minimum(below, len(self.percentiles) - 1),
            "unlike": errors > self.percentiles[UNLIKE],
        }

    def _warn_of_unlike(self, images: torch.Tensor) -> None:
        unlike = np.flatnonzero(self._compare(images)["unlike"])
        if len(unlike):
            more = ", ..." if len(unlike) > SHOWN_CLASSES else ""
            some = ", ".join(map(str, unlike[:SHOWN_CLASSES])) + more
            warnings.warn(
                f"unlike the images that the model was trained on: image {some}; its "
                f"reconstruction is worse than that of {UNLIKE} % of the test images, so expect "
                "little of its codes",
                stacklevel=3,
            )

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

    def _class_number(self, given: str) -> int:
        """The number of a class that is given by its name or, as digits, by its number.

        A name counts first. Where it would be a guess which of the two is meant, as with "1" where
        a class is called "01", or all classes are called numbers, only names count.
        """
        name, numbers = unicodedata.normalize("NFC", given), self._numbers()
        if name in self.names:
            number = self.names.index(name)
        elif name in numbers:
            number = numbers[name]
        else:
            raise _refusal(f"unknown class {given!r}{self._known_classes(name)}")
        if not self.identities[number].isfinite().all():
            raise _refusal(f"class {given!r} has no training image, so its code is unknown")
        return number

    def _numbers(self) -> dict[str, int]:
        """The numbers of classes by which these may be called, by their digits."""
        numerals = {name.lstrip("0") or "0" for name in self.names if name.isdecimal()}
        if all(name.isdecimal() for name in self.names):
            return {}
        numbers = {str(number): number for number in range(len(self.names))}
        return {digits: number for digits, number in numbers.items() if digits not in numerals}

    def _known_classes(self, unknown: str = "") -> str:
        if not self.names:
            return ""
        near = difflib.get_close_matches(unknown, self.names)
        hint = f" (near it: {_listed(near)})" if near else ""
        return f"{hint}, expected one of {_listed(self.names)}" + (
            " or a number from 0" if self._numbers() else ""
        )


def _listed(names: list[str]) -> str:
    """Names of classes in a sentence; one that could be taken for several is quoted."""
    quoted = [repr(name) if "," in name or name != name.strip() else name for name in names]
    return ", ".join(quoted[:SHOWN_CLASSES]) + (", ..." if len(names) > SHOWN_CLASSES else "")


def as_they_come(given: Any) -> list[Any] | None:
    """Images of any size, one for each entry of a list or a column; None if it is neither.

    MLflow itself reads a column of flattened arrays.
    """
    kinds: Any = bytes | str | PIL.Image.Image | np.ndarray
    given = given.to_frame() if isinstance(given, pd.Series) else given
    if isinstance(given, pd.DataFrame) and given.shape[1] == 1:
        kinds = bytes | str | PIL.Image.Image
        cells = given.iloc[:, 0].tolist()
        given = [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in cells]
    if isinstance(given, list) and any(isinstance(entry, kinds) for entry in given):
        return given
    return None


def _content(file: bytes | str) -> bytes:
    """The content of an image file; a string holds it as base64, perhaps as a data URL."""
    if isinstance(file, bytes):
        return file
    try:
        return base64.b64decode(file.rpartition(",")[2], validate=True)
    except ValueError as error:
        raise ValueError(
            f"is the text {file[:40]!r}, expected the content of a file in base64; in Python "
            "Path(name).read_bytes() gives the content"
        ) from error


def _picture(image: Any) -> PIL.Image.Image:
    """A Pillow image of an array (H, W) or (H, W, C), or (C, H, W) where that is clear."""
    if isinstance(image, PIL.Image.Image):
        return image
    if not isinstance(image, np.ndarray):
        raise ValueError(f"is a {type(image).__name__}, expected a file's content or an array")
    pixels = image
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[2] not in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not pixels.size or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,), (4,)):
        raise ValueError(f"has the shape {image.shape}, expected (H, W) or (H, W, C), C 1, 3 or 4")
    if np.issubdtype(pixels.dtype, np.floating):
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # nor NaN
            raise ValueError("has floats outside [0, 1]")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ValueError(f"has the type {image.dtype}, expected uint8, uint16 or floats in [0, 1]")
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


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
            raise _refusal(
                f"got images of shape {images.shape}, expected {expected}; images in a list may "
                "have any size"
            )
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
    if name == "count":
        number = _whole(value)
        if number is None or not 1 <= number <= MOST_STYLES:
            raise _refusal(f"count must be a whole number in [1, {MOST_STYLES}], got {value!r}")
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
            is_ours = {param.name for param in params_schema or ()} == ours
            if is_ours:
                params = check_params(params)
                if as_they_come(data) is not None or params.get("task") == "classes":
                    input_schema = None
                else:
                    check_shape(data, tuple(input_schema.inputs[0].shape[1:]))
            try:
                return validate(data, params, input_schema, params_schema, *rest, **more)
            except MlflowException as error:
                if not is_ours:
                    raise
                # Its message holds the data.
                raise _refusal(error.message.rpartition("Error: ")[2]) from error

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
            data, params = split(request)
            return _with_files(data), params

        whole.of_vaegan = True  # type: ignore[attr-defined]
        server._split_data_and_params = whole


def _with_files(data: dict[str, Any]) -> dict[str, Any]:
    """A request's data; base64 in ``inputs`` as a table of lists, which MLflow does not cast."""
    inputs = data.get("inputs")
    if len(data) != 1 or not isinstance(inputs, list) or not inputs:
        return data
    if not all(isinstance(entry, str) for entry in inputs):
        return data
    return {"dataframe_split": {"columns": ["image"], "data": [[[text]] for text in inputs]}}


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


def reconstruction_errors(model: DisentanglingVAE, images: torch.Tensor) -> np.ndarray:
    """Squared error per pixel of each reconstruction of images (n, C, H, W), float32 (n,)."""
    with torch.inference_mode():
        errors = [
            (model.reconstruct(batch) - batch).square().flatten(1).mean(dim=1)
            for batch in images.split(BATCH)
        ]
    return torch.cat(errors).numpy()


def write_percentiles(path: Path, errors: np.ndarray) -> None:
    """Writes the 101 percentiles of the errors of test images."""
    values = np.percentile(errors, np.arange(101)).astype(float).tolist()
    path.write_text(json.dumps({"percentiles": values, "images": len(errors)}) + "\n")


def read_percentiles(path: Path) -> np.ndarray:
    """Reads what :func:`write_percentiles` wrote."""
    return np.array(json.loads(path.read_text())["percentiles"])


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


class _Refusal(MlflowException):
    """A request that cannot be answered, in one sentence.

    The scoring server writes the whole input before the message of an exception; this one keeps
    the message that it was made with.
    """

    sentence: str

    @property
    def message(self) -> str:
        return self.sentence

    @message.setter
    def message(self, text: str) -> None:
        self.__dict__.setdefault("sentence", text)


def _refusal(message: str) -> MlflowException:
    return _Refusal.invalid_parameter_value(message)


mlflow.models.set_model(ServedModel())
