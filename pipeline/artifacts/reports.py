"""The table of swaps on disk."""

import csv
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.files import (
    ArtifactError,
    atomic_file,
)
from pipeline.artifacts.paths import SWAPS

if TYPE_CHECKING:  # every stage imports this module, few need these two: a second to start
    pass


SWAP_COLUMNS = ("style", "asked", "seen", "count")


def write_swaps(matrices: dict[str, np.ndarray], class_names: list[str]) -> None:
    """Writes how often swaps that should show one class showed another.

    Args:
        matrices: By kind of style, int64 (K, K); rows: the class asked for.
        class_names: K.
    """
    with atomic_file(SWAPS) as part, part.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SWAP_COLUMNS)
        for kind, matrix in matrices.items():
            for asked, seen in np.ndindex(*matrix.shape):
                count = int(matrix[asked, seen])
                table.writerow([kind, class_names[asked], class_names[seen], count])


def read_swaps(class_names: list[str]) -> dict[str, np.ndarray]:
    """Reads what :func:`write_swaps` wrote.

    Raises:
        ArtifactError: the file is missing or is no such table.
    """
    places = {name: place for place, name in enumerate(class_names)}
    matrices: dict[str, np.ndarray] = {}
    try:
        with SWAPS.open(newline="") as file:
            for row in csv.DictReader(file):
                kind, asked, seen, count = (row[name] for name in SWAP_COLUMNS)
                matrix = matrices.setdefault(kind, np.zeros([len(places)] * 2, np.int64))
                matrix[places[asked], places[seen]] = int(count)
    except FileNotFoundError as error:
        raise ArtifactError(f"{SWAPS} is missing: run the stage evaluate") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{SWAPS} is not a table of swaps: {error!r}") from error
    return matrices
