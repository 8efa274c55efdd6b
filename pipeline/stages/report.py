"""Stage report: writes the report on a model, one HTML file that opens anywhere without a network.

Equal inputs give equal bytes, so the page holds no commit, no time, no machine and no champion; see
``pipeline/report/content.py``.
"""

from typing import TYPE_CHECKING, Any

from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.paths import REPORT
from pipeline.report.content import Inputs, build_report
from vaegan.devices import configure_torch
from vaegan.evaluation.config import EvaluationConfig

if TYPE_CHECKING:  # no stage computes with the code of it
    from pipeline.journal import Journal

THREADS = 1  # the page takes seconds


def run(params: EvaluationConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``reports/report.html``.

    Returns:
        SHA-256 of the model's weights (``model``) and the size of the page in bytes (``bytes``).

    Raises:
        ArtifactError: an input is missing, damaged or of another model.
    """
    configure_torch(THREADS)
    inputs = Inputs.read()
    journal.begin(inputs.dataset, {"model": inputs.digest})
    text = build_report(inputs, params.gates)
    with atomic_file(REPORT) as part:
        part.write_text(text, encoding="utf-8")
    return {"model": inputs.digest, "bytes": REPORT.stat().st_size}
