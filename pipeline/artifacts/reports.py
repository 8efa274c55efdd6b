"""The confusion matrices of swaps on disk, as one CSV table."""

import csv

import numpy as np

from pipeline.artifacts.files import ArtifactError, atomic_file
from pipeline.artifacts.paths import SWAPS

# style: kind of style code; asked: class of the specified code; seen: class predicted by the
# classifier.
SWAP_COLUMNS = ("style", "asked", "seen", "count")
WHOLE = 32  # classes, at most, of which also the pairs that do not occur have a row


def write_swaps(matrices: dict[str, np.ndarray], class_names: list[str]) -> None:
    """Writes ``reports/swaps.csv``: a row per kind of style, class asked for and predicted class.

    Of many classes most pairs do not occur; rows of count 0 are left out then.

    Args:
        matrices: By kind of style, int64 (K, K); rows: the class asked for.
        class_names: K names.
    """
    with atomic_file(SWAPS) as part, part.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SWAP_COLUMNS)
        for kind, matrix in matrices.items():
            whole = len(class_names) <= WHOLE
            for asked, predicted in np.argwhere(np.ones_like(matrix) if whole else matrix):
                count = int(matrix[asked, predicted])
                table.writerow([kind, class_names[asked], class_names[predicted], count])


def read_swaps(class_names: list[str]) -> dict[str, np.ndarray]:
    """Reads what :func:`write_swaps` wrote.

    Raises:
        ArtifactError: the file is missing or is not such a table.
    """
    places = {name: place for place, name in enumerate(class_names)}
    matrices: dict[str, np.ndarray] = {}
    try:
        with SWAPS.open(newline="") as file:
            for row in csv.DictReader(file):
                kind, asked, predicted, count = (row[name] for name in SWAP_COLUMNS)
                matrix = matrices.setdefault(kind, np.zeros([len(places)] * 2, np.int64))
                matrix[places[asked], places[predicted]] = int(count)
    except FileNotFoundError as error:
        raise ArtifactError(f"{SWAPS} is missing: run the stage evaluate") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{SWAPS} is not a table of swaps: {error!r}") from error
    return matrices
