"""Sections of the parameters as flat dictionaries."""

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def flat(section: "DataclassInstance", prefix: str = "") -> dict[str, Any]:
    """All values by dotted key, such as ``train.weights.partner``, in the order of the file."""
    values: dict[str, Any] = {}
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            values |= flat(value, f"{prefix}{field.name}.")
        else:
            values[f"{prefix}{field.name}"] = value
    return values
