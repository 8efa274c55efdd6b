"""Paths of the stages' outputs, relative to the folder that a stage runs in."""

import os
from pathlib import Path

CHECKED = Path("data/params.checked")
PREPARED = Path("data/prepared")
MODEL = Path("models")
CODES = Path("codes")
CURVES = Path("reports/curves.csv")
CLASSIFIER = Path("classifier")
METRICS = Path("reports/metrics.json")
HEADLINE = Path("reports/headline.json")  # the few numbers of it that DVC's tables show
SWAPS = Path("reports/swaps.csv")
FIGURES = Path("reports/figures")
REPORT = Path("reports/report.html")
# The outputs of each stage, as in dvc.yaml.
OUTPUTS: dict[str, tuple[Path, ...]] = {
    "check": (CHECKED,),
    "prepare": (PREPARED,),
    "train": (MODEL, CURVES),
    "encode": (CODES,),
    "classifier": (CLASSIFIER,),
    "evaluate": (HEADLINE, METRICS, SWAPS),
    "visualize": (FIGURES,),
    "report": (REPORT,),
}


def repository() -> Path:
    """Returns the user's own repository, also if a stage runs in a temporary copy of DVC's.

    DVC sets ``DVC_ROOT`` to it; without DVC it is the current folder.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
