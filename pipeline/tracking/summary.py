"""The description of a run in MLflow: verdict, headline numbers, and where the rest is.

It stands above the description of the training, which a person may go on editing.
"""

from typing import Any

from mlflow.entities import Run

from pipeline.tracking import champion
from vaegan.evaluation.metrics import shortened

NOTE = "mlflow.note.content"
RULE = "\n\n---\n\n"  # between the results and the training
NOT_APPLIED = "not applied"  # begins what results say of the gates of a quick evaluation
WHERE = (
    "Report: artifact `report.html`, as soon as the stage `report` has written "
    "`reports/report.html`. All metrics: `metrics.json`. Commit, machine, digests: "
    "`provenance.json`."
)


def with_results(run: Run, results: dict[str, Any], reason: str) -> str:
    """A run's description with its results first.

    Args:
        run: With the description so far; results in it are replaced.
        results: Content of ``reports/metrics.json``.
        reason: Of the verdict, "" if it is not known.
    """
    parts = [describe(results), WHERE, reason]  # MLflow's page folds what is below a few lines
    before, _, rest = _note(run).partition(RULE)
    training = rest if WHERE in before else _note(run)  # which may hold rules of a person's own
    return "\n\n".join(part for part in parts if part) + RULE + training


def describe(results: dict[str, Any]) -> str:
    """Verdict and headline numbers in a line; MLflow's table of runs shows its beginning as is."""
    verdict, gates = results["verdict"], results["gates"]
    if verdict == champion.SOUND:
        whole = gates == champion.PASSED or gates.startswith(NOT_APPLIED)
        verdict += f", gates {gates.partition(':')[0]}" if whole else ", a gate missed"
    missed = "" if gates == champion.PASSED else f"; {gates}"
    numbers = " · ".join(f"{name} {value}" for name, value in shortened(results).items())
    return f"{verdict}: {numbers} ({results['dataset']}, {results['split']} images{missed})"


def with_fit(run: Run, losses: dict[str, float]) -> str:
    """A run's description with the last losses of the transport's fit, which are no curves."""
    said = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
    note, sentence = _note(run), f" Fit of the class transport: {said}."
    return note if not losses or sentence in note else note + sentence


def _note(run: Run) -> str:
    return run.data.tags.get(NOTE, "")
