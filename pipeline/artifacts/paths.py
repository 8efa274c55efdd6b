"""Paths of what passes between stages, relative to the folder that a stage runs in."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every stage imports this module, few need these two: a second to start
    pass


PREPARED = Path("data/prepared")


MODEL = Path("models")


CODES = Path("codes")


CURVES = Path("reports/curves.csv")


CLASSIFIER = Path("classifier")


METRICS = Path("reports/metrics.json")


SWAPS = Path("reports/swaps.csv")


FIGURES = Path("reports/figures")


# Outputs of each stage, in the order of the stages; dvc.yaml declares the same.
OUTPUTS: dict[str, tuple[Path, ...]] = {
    "check": (Path("data/params.checked"),),
    "prepare": (PREPARED,),
    "train": (MODEL, CURVES),
    "encode": (CODES,),
    "classifier": (CLASSIFIER,),
    "evaluate": (METRICS, SWAPS),
    "visualize": (FIGURES,),
}


def repository() -> Path:
    """The user's own repository, also where a stage runs in one of DVC's temporary copies.

    DVC names it in ``DVC_ROOT``; a stage started by hand runs in it.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
