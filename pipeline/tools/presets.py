"""Presets: named sets of parameters, each a file in ``presets/``.

``python -m pipeline preset NAME`` prints a preset as the arguments that ``dvc exp run`` takes, so
``make preset NAME=cycle`` is ``dvc exp run --name cycle -S model.transport.layers=0 ...``; without
a name it lists them.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.params import PARAMS_FILE, Params, ParamsError, checked, flat, load_params, read_yaml

FOLDER = Path("presets")


def names() -> list[str]:
    """Of all presets, sorted; "default", the parameters as they are, is none of them."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """What a preset changes: values by dotted key.

    Raises:
        ParamsError: there is no such preset, or the file is no mapping of keys to values.
    """
    if name not in names():
        raise ParamsError(f"preset: got {name}, expected one of {', '.join(names())}")
    path = FOLDER / f"{name}.yaml"
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise ParamsError(f"{path}: holds no keys with values")
    return content


def applied(changes: dict[str, Any], params: Params, path: Path) -> Params:
    """Parameters with some values changed.

    Args:
        changes: By dotted key.
        params: What they are changed in.
        path: Where the changes are from, for the message.

    Raises:
        ParamsError: a key is unknown, or the values are not valid together.
    """
    if unknown := set(changes) - set(flat(params)):
        raise ParamsError(f"{path}: unknown parameters: {', '.join(sorted(unknown))}")
    content = asdict(params)
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
    return checked(content, path)


def arguments(changes: dict[str, Any]) -> list[str]:
    """The same as arguments of ``dvc exp run``."""
    return [part for key, value in changes.items() for part in ("-S", f"{key}={json.dumps(value)}")]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline preset", description=__doc__)
    parser.add_argument("name", nargs="?", help="default: list all")
    options = parser.parse_args(argv)
    if options.name is None:
        print("\n".join(names()))
        return 0
    try:
        changes = read(options.name)
        applied(changes, load_params(PARAMS_FILE), FOLDER / f"{options.name}.yaml")
    except ParamsError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 1
    print(" ".join(arguments(changes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
