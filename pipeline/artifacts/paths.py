"""Paths of what passes between stages, relative to the folder that a stage runs in."""

import os
from pathlib import Path

CHECKED = Path("data/params.checked")
PREPARED = Path("data/prepared")
MODEL = Path("models")
CODES = Path("codes")
CURVES = Path("reports/curves.csv")
CLASSIFIER = Path("classifier")
METRICS = Path("reports/metrics.json")
SWAPS = Path("reports/swaps.csv")
FIGURES = Path("reports/figures")
# The outputs of each stage, as in dvc.yaml.
OUTPUTS: dict[str, tuple[Path, ...]] = {
    "check": (CHECKED,),
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
