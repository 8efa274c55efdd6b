"""Numbers of the page: arrays in one block, the large ones in half precision."""

from typing import Any

import numpy as np

TOP = 14  # the largest number of an array is stored in [2**14, 2**15): half precision ends at 2**16
SMALL = 20_000  # numbers in an array, up to which it is stored in single precision


def pack(arrays: dict[str, np.ndarray]) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """Packs arrays, the large ones in half precision.

    Small arrays keep single precision: biases, normalisations and most maps of a class take little
    room, and their rounding changes images most.

    A large one is multiplied by the power of two that brings its largest number near the upper end
    of what half precision holds: it does not overflow, and small numbers keep eleven binary digits.

    Args:
        arrays: Finite numbers, by name.

    Returns:
        The numbers, the low byte first; and of each array its first byte (``start``), its
        ``shape``, and, if it is in half precision, the ``exponent`` of the power of two by which
        the stored numbers are multiplied.

    Raises:
        ValueError: a number is not finite.
    """
    parts: list[bytes] = []
    places, start = {}, 0
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
        place: dict[str, Any] = {"start": start, "shape": list(array.shape)}
        if array.size > SMALL:
            exponent = int(np.frexp(np.abs(array).max())[1]) - 1 - TOP
            part = np.ldexp(array.astype(np.float64), -exponent).astype("<f2").tobytes()
            place["exponent"] = exponent
        else:
            part = array.astype("<f4").tobytes()
        parts.append(part)
        places[name] = place
        start += len(part)
    return b"".join(parts), places


def unpack(content: bytes, places: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Returns the arrays as the page reads them, float32."""
    arrays = {}
    for name, place in places.items():
        count, exponent = int(np.prod(place["shape"])), place.get("exponent")
        stored = np.frombuffer(content, "<f4" if exponent is None else "<f2", count, place["start"])
        values = np.ldexp(stored.astype(np.float64), exponent or 0)
        arrays[name] = values.astype(np.float32).reshape(place["shape"])
    return arrays
