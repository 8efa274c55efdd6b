"""Compares the results on disk with the committed ones, for a sentence at the end of a run."""

import json
import os
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import METRICS, repository
from pipeline.tracking.git import GitError, git
from pipeline.tracking.provenance import changes
from vaegan.evaluation.metrics import SHORT

RECORDS = "dvc.lock reports"  # what a run changes of the files that git keeps


def advice() -> list[str]:
    """Explains why results differ from the committed ones; no line if they do not.

    Nothing is said in an experiment, whose results DVC keeps apart, and without git.
    """
    if os.environ.get("DVC_EXP_NAME") or Path.cwd() != repository():
        return []
    try:
        committed = json.loads(git("show", f"HEAD:./{METRICS}"))
        patch, _ = changes()
    except (GitError, ValueError):  # not committed yet, or not by this pipeline
        return []
    return describe(read_json(METRICS), committed, changed=bool(patch))


def describe(ours: dict[str, Any], committed: dict[str, Any], changed: bool) -> list[str]:
    """The same for given results.

    Args:
        ours: Results on disk.
        committed: Those of the last commit.
        changed: Whether the tree has changes of code, parameters or data, too.
    """
    if ours == committed:
        return []
    numbers = ", ".join(
        f"{short} {ours[key]:.3f} for {committed[key]:.3f}"
        for key, short in SHORT.items()
        if isinstance(ours.get(key), float) and isinstance(committed.get(key), float)
    )
    if any(ours.get(key) != committed.get(key) for key in ("dataset", "protocol")):
        why = "they are of another data set, or were measured by another protocol"
    elif changed:
        why = "they belong to your changes"
    else:
        why = (
            "nothing is changed since the last commit, so another processor rounded differently, "
            "or the committed ones are of before that commit"
        )
    return [
        f"note: these results differ from the committed ones ({numbers}): {why}",
        f"note: keep them with git commit {RECORDS}; git checkout {RECORDS} drops them",
    ]
