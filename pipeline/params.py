"""The parameters of the pipeline: the sections of ``params.yaml``, and its only reader.

A section is a dataclass that lives beside what it configures and declares its keys, their bounds
and their meaning; pydantic checks the file against it. ``python -m pipeline check`` checks the
file; ``--schema`` prints its JSON schema; ``--mark FILE`` writes a constant file for DVC's stage
``check``.
"""

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.artifacts.paths import repository
from pipeline.data.config import FOLDER, FOLDERS, NO_PATH, TRAINING_IMAGES, PrepareConfig
from pipeline.sections import flat
from pipeline.stages.config import EncodeConfig
from vaegan.evaluation.config import ClassifierConfig, EvaluationConfig
from vaegan.figures.config import FiguresConfig
from vaegan.model.config import ModelConfig
from vaegan.training.config import TrainingConfig

PARAMS_FILE = Path("params.yaml")
# Under several threads torch hangs in the LU decomposition of several larger matrices at once.
LARGEST_TRANSPORT = 128  # dimensions of the unspecified code
FEWEST_IMAGES = 100  # of a split that is trained or evaluated on, as of evaluate.test_images


class ParamsError(ValueError):
    """``params.yaml`` is not usable; the message has one line per fault."""


@dataclass(frozen=True)
class Params:
    """The whole of ``params.yaml``: one section per stage, and one for the model."""

    # pydantic applies it to the sections too, which know nothing of pydantic.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
    prepare: PrepareConfig
    model: ModelConfig
    train: TrainingConfig
    encode: EncodeConfig
    classifier: ClassifierConfig
    evaluate: EvaluationConfig
    visualize: FiguresConfig


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Reads and checks a parameters file, YAML 1.2 as DVC writes it.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds a wrong, missing or unknown
            key; one line per fault, each with the key, its value and what is allowed.
    """
    return checked(read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file.

    Raises:
        ParamsError: the file is missing or is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text())
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ParamsError(f"{path}: is not YAML: {text}") from error


def checked(content: Any, path: Path) -> Params:
    """Parameters from the content of a file, checked.

    Args:
        content: Nested mappings.
        path: Where it is from, for the message.

    Raises:
        ParamsError: as :func:`load_params`.
    """
    if not isinstance(content, dict):
        holds = f"holds {_short(content)}" if content is not None else "is empty"
        sections = ", ".join(field.name for field in fields(Params))
        raise ParamsError(f"{path} {holds}; expected the sections {sections}")
    try:
        # pydantic's strict mode builds a dataclass from JSON, but not from a dictionary. Values
        # that JSON lacks, such as a date, become strings; no key takes arbitrary ones.
        text = json.dumps(content, default=str)
    except (TypeError, ValueError) as error:  # a list as a key, a mapping that holds itself
        raise ParamsError(f"{path}: cannot be written as JSON: {error}") from error
    try:
        params = reader().validate_json(text)
    except ValidationError as error:
        lines = [f"{path}: {_fault(fault)}" for fault in _merged(error.errors(), content)]
        raise ParamsError("\n".join(lines)) from error
    if conflicts := _conflicts(params) + _own_conflicts(params.prepare):
        raise ParamsError("\n".join(f"{path}: {line}" for line in conflicts))
    return params


@cache
def reader() -> TypeAdapter[Params]:
    """The validator of the whole file."""
    return TypeAdapter(Params)


def _conflicts(params: Params) -> list[str]:
    """One line per combination of values that are valid alone but not together."""
    model, found = params.model, []
    style = model.unspecified
    if model.transport.layers and style.variational and not style.shared_variance:
        found.append(
            f"model.transport.layers: got {model.transport.layers}, expected 0 with a variance of "
            "each image's own, which the transport leaves alone and which tells the class, or "
            "model.unspecified.shared_variance: true"
        )
    if model.transport.layers and style.dim > LARGEST_TRANSPORT:
        found.append(
            f"model.unspecified.dim: got {style.dim}, expected at most {LARGEST_TRANSPORT} with a "
            "transport, or model.transport.layers: 0"
        )
    held_out, dataset = params.prepare.validation_size, params.prepare.dataset
    own = dataset == FOLDER  # may come with validation images
    if params.evaluate.split == "validation" and held_out < FEWEST_IMAGES and not own:
        found.append(
            "evaluate.split: got 'validation', expected 'test' as long as "
            f"prepare.validation_size is {held_out}, less than {FEWEST_IMAGES}"
        )
    most = TRAINING_IMAGES.get(dataset, math.inf) - FEWEST_IMAGES
    if held_out > most:
        found.append(
            f"prepare.validation_size: got {held_out}, expected at most {most} for {dataset}: "
            f"{FEWEST_IMAGES} of its {TRAINING_IMAGES[dataset]} training images have to be left"
        )
    # The KL divergence of a code without a variance is constant, so nothing would be trained.
    constant = {f"{name}_kl" for name in ("specified", "unspecified")
                if not getattr(model, name).variational}  # fmt: skip
    weighted = {name for name, weight in flat(params.train.weights).items() if weight}
    if weighted <= constant:
        found.append(
            f"train.weights: got a weight of {' and '.join(sorted(weighted))} only, expected one "
            "of another term too, as codes that are not variational have no divergence"
        )
    return found


def _own_conflicts(prepare: PrepareConfig) -> list[str]:
    """One line per parameter of own images that does not fit the data set."""
    found, own = [], prepare.dataset == FOLDER
    no_path = os.path.normpath(prepare.path) if own else prepare.path
    if own == (no_path == NO_PATH):
        expected = f"dataset: {FOLDER}, or path: {NO_PATH}"
        if own:
            expected = "the path of your own images, such as images/pets"
        found.append(f"prepare.path: got {prepare.path!r}, expected {expected}")
    if prepare.labels != FOLDERS and not (own and prepare.labels.casefold().endswith(".csv")):
        expected = f"{FOLDERS!r}, or the name of a .csv file in prepare.path"
        if not own:
            expected = f"{FOLDERS!r} as long as prepare.dataset is {prepare.dataset!r}"
        found.append(f"prepare.labels: got {prepare.labels!r}, expected {expected}")
    return found


def missing_images(params: Params) -> list[str]:
    """One line if the own images are not there."""
    path = Path(params.prepare.path)
    if params.prepare.dataset != FOLDER or path.exists():
        return []
    said = f"prepare.path: got {params.prepare.path!r}, expected a folder, a .zip or a .npz file"
    if str(path).startswith("~"):
        said += "; the full path, as ~ is not expanded here"
    elif path != repository() / path and (repository() / path).exists():
        said += (
            ": it is in the repository, but not in this copy of DVC's, which holds only what git "
            f"or DVC know: dvc add {path}, or set its absolute path"
        )
    elif Path(f"{path}.dvc").exists():
        said += ": dvc pull fetches it"
    return [said]


def unavailable_devices(params: Params) -> list[str]:
    """One line per section whose device this machine lacks."""
    wanted = {key: value for key, value in flat(params).items()
              if key.endswith(".device") and value not in ("auto", "cpu")}  # fmt: skip
    if not wanted:
        return []
    import torch  # takes seconds, and no other check needs it

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [f"{key}: got {name!r}, expected 'auto' or 'cpu': torch finds no such device here"
            for key, name in wanted.items() if not found[name]]  # fmt: skip


def _merged(faults: list[Any], content: Any) -> list[Any]:
    """Faults of the content, one for each field: of a choice of types pydantic reports each."""
    merged: dict[tuple[Any, ...], Any] = {}
    for fault in faults:
        location = fault["loc"]
        place: Any = Params
        for depth, name in enumerate(location):
            hints = get_type_hints(place, include_extras=True) if is_dataclass(place) else {}
            if name not in hints:
                break
            place = hints[name]
            if depth + 1 < len(location) and not is_dataclass(place):  # a type of a choice
                location = location[: depth + 1]
                value = reduce(getitem, location, content)
                fault = {"type": "choice", "msg": place.__metadata__[0], "input": value}
                break
        merged[location] = fault | {"loc": location}
    return list(merged.values())


def _fault(fault: Any) -> str:
    """One line on one fault of pydantic's: key, value, what is allowed."""
    key = ".".join(map(str, fault["loc"])) or "the whole file"
    value = _short(fault["input"])
    match fault["type"]:
        case "missing":
            return f"{key}: is missing"
        case "unexpected_keyword_argument":
            return f"{key}: unknown key (value {value}); remove it or mend its name"
        case "json_invalid":  # nested too deeply, or half a character
            return f"{key}: {fault['msg']}"
        case "value_error":  # a rule of the section itself, which says "got ..., expected ..."
            said = str(fault["ctx"]["error"])
        case "dataclass_type":
            said = f"got {value}, expected a mapping"
        case _:
            allowed = fault["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            allowed = allowed.removeprefix("String should have ")
            said = f"got {value}, expected {allowed}"
    return f"{key}: {said}{_field_help(fault['loc'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _field_help(location: tuple[Any, ...]) -> str:
    """The description of the field at a location, in brackets; nothing where there is none."""
    schema = reader().json_schema()
    place, description = schema, None
    for name in location:
        field = place.get("properties", {}).get(name, {})
        description = field.get("description")
        place = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
    return f" ({description})" if description else ""


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after one line per fault on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pipeline check", description=__doc__)
    parser.add_argument("--schema", action="store_true", help="print the JSON schema and stop")
    parser.add_argument("--mark", type=Path, metavar="FILE", help="write a constant file if valid")
    options = parser.parse_args(arguments)
    if options.schema:
        print(json.dumps(reader().json_schema(), indent=2))
        return 0
    try:
        params = load_params()
    except ParamsError as error:
        print(error, file=sys.stderr)
        return 1
    if lines := unavailable_devices(params) + missing_images(params):
        print("\n".join(f"{PARAMS_FILE}: {line}" for line in lines), file=sys.stderr)
        return 1
    if options.mark:
        options.mark.parent.mkdir(parents=True, exist_ok=True)
        options.mark.write_text("valid\n")
    print(f"{PARAMS_FILE} is valid: {len(flat(params))} values")
    return 0


if __name__ == "__main__":
    sys.exit(main())
