"""Send everything on disk that the tracking store lacks: runs, reports, results, models."""

import argparse
import sys
from pathlib import Path

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import read_json, sha256, tree_digest
from pipeline.artifacts.paths import CURVES, FIGURES, METRICS, MODEL, REPORT, SWAPS, repository
from pipeline.journal import FILES, FOLDER, Journal, journals, read_events
from pipeline.tracking.follower import context
from pipeline.tracking.store import connect, one_line, set_aside_moved, store_digest
from pipeline.tracking.sync import sync_all
from vaegan.model.vae import weights_digest

STAGE = "track"  # of a journal that tells of outputs whose own journals are not here


def main(argv: list[str]) -> int:
    """Sends what the store lacks; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline track", description=__doc__)
    parser.parse_args(argv)
    try:
        aside = set_aside_moved()
        if aside is not None:
            print(f"the repository was moved: its store is kept as {aside}, a new one is filled")
        experiment = connect()
        journal_outputs()
        root = repository() / FOLDER
        with one_line():
            sent = sync_all(root, experiment, store_digest(), everything=True)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"compared {len(journals(root))} journals with the store: it lacked something of {sent}")
    return 0


def journal_outputs() -> None:
    """Writes a journal of the model and the results on disk, unless one tells of them already.

    Outputs that came from DVC's cache or remote, as in a fresh clone, have no journal.

    Raises:
        ArtifactError, ValueError: the outputs are damaged.
    """
    if not MODEL.is_dir():
        return
    model = weights_digest(MODEL)
    results = [path for path in (METRICS, SWAPS, FIGURES, REPORT) if path.exists()]
    if not METRICS.exists() or read_json(METRICS).get("model/digest") != model:
        results = []
    if REPORT in results and model not in REPORT.read_text(encoding="utf-8"):
        results = [path for path in results if path not in (REPORT, FIGURES)]  # of another model
    if _is_told(model, [path for path in results if path in (METRICS, REPORT)]):
        return
    journal = Journal(STAGE, context({}))
    journal.begin(read_dataset(), {"model": model})
    journal.keep_model(MODEL, model)
    kept = [path for path in (CURVES, *results) if path.exists()]
    for path in kept:
        journal.keep_file(path)
    digests = {str(path): tree_digest(path) for path in (MODEL, *kept)}
    journal.outputs({"model": model}, digests)
    journal.end("FINISHED")


def _is_told(model: str, results: list[Path]) -> bool:
    """Whether journals tell of a model and hold copies of its results as they are on disk."""
    digests = {path: sha256(path) for path in results}
    told, kept = False, set()
    for folder in journals(repository() / FOLDER):
        for event in read_events(folder):
            if event["event"] == "outputs" and event["summary"]["model"] == model:
                told = True
                copies = ((path, folder / FILES / path) for path in digests)
                kept |= {p for p, copy in copies if copy.is_file() and sha256(copy) == digests[p]}
    return told and kept == digests.keys()
