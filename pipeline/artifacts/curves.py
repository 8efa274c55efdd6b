"""The loss curves on disk, as CSV."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.files import ArtifactError, atomic_file
from pipeline.artifacts.paths import CURVES

if TYPE_CHECKING:  # takes a second to import
    import pandas as pd


def write_curves(curves: "pd.DataFrame", path: Path = CURVES) -> None:
    """Writes the loss curves: a row per report, with the column ``step`` and one per metric."""
    with atomic_file(path) as part:
        curves.to_csv(part, index=False)


def read_curves(path: Path = CURVES) -> "pd.DataFrame":
    """Reads the loss curves.

    Raises:
        ArtifactError: the file is missing or not a table.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage train") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ArtifactError(f"{path} is not a table: {error}") from error
