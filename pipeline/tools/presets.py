"""Prints a preset, a named set of parameters in ``presets/``, as arguments of ``dvc exp run``.

``make preset NAME=cycle`` runs ``dvc exp run --name cycle -S model.transport.layers=0 ...``;
without a name, ``python -m pipeline preset`` lists the presets.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.params import PARAMS_FILE, Params, ParamsError, checked, load_params, read_yaml
from pipeline.sections import flat

FOLDER = Path("presets")


def list_names() -> list[str]:
    """Lists all presets, sorted; "default", ``params.yaml`` as it is, is not one of them."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """Reads the values that a preset changes, by dotted key.

    Raises:
        ParamsError: there is no such preset, or the file is not a mapping of keys to values.
    """
    if name not in list_names():
        raise ParamsError(f"preset: got {name}, expected one of {', '.join(list_names())}")
    path = FOLDER / f"{name}.yaml"
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise ParamsError(f"{path}: holds no keys with values")
    return content


def read_all() -> dict[str, dict[str, Any]]:
    """Reads every preset, by name."""
    return {name: read(name) for name in list_names()}


def apply_changes(changes: dict[str, Any], params: Params, path: Path) -> Params:
    """Returns parameters with some values changed.

    Args:
        changes: New values by dotted key.
        params: The parameters to change.
        path: Source of the changes, for the message.

    Raises:
        ParamsError: a key is unknown, or the values are not valid together.
    """
    if unknown := set(changes) - set(flat(params)):
        raise ParamsError(f"{path}: unknown parameters: {', '.join(sorted(unknown))}")
    content = asdict(params)
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = content
        for name in sections:
            section = section[name]
        section[last] = value
    return checked(content, path)


def format_arguments(changes: dict[str, Any]) -> list[str]:
    """Formats changes as arguments of ``dvc exp run``."""
    return [part for key, value in changes.items() for part in ("-S", f"{key}={json.dumps(value)}")]


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline preset", description=__doc__)
    parser.add_argument("name", nargs="?", help="name of a preset; without it all are listed")
    options = parser.parse_args(argv)
    if options.name is None:
        print("\n".join(list_names()))
        return 0
    try:
        changes = read(options.name)
        apply_changes(changes, load_params(PARAMS_FILE), FOLDER / f"{options.name}.yaml")
    except ParamsError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 1
    print(" ".join(format_arguments(changes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
