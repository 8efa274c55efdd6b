"""Where a model comes from: commit and what was changed since, versions, parameters, machine."""

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from typing import Any

# What the pipeline itself writes does not make the user's tree a changed one.
OUTPUTS = ("dvc.lock", "reports")
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "safetensors", "dvc", "mlflow")


def origin_tags() -> dict[str, str]:
    """Git commit, whether the tree has changes and their digest, DVC's experiment.

    To be taken when a run starts: the user may go on editing while it trains.
    """
    tags = {}
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        patch = changes()
        tags = {
            "git.commit": commit.strip(),
            "git.dirty": str(bool(patch)).lower(),
            "patch.sha256": hashlib.sha256(patch.encode()).hexdigest() if patch else "none",
        }
    for tag, variable in (("dvc.exp", "DVC_EXP_NAME"), ("dvc.baseline", "DVC_EXP_BASELINE_REV")):
        if value := os.environ.get(variable):
            tags[tag] = value
    return tags


def changes() -> str:
    """A patch from the commit to the tree as it is, files that git does not know included.

    ``git apply`` in a clean checkout of the commit makes the same tree; "" where nothing differs.
    """
    patch = _git("diff", "HEAD", "--binary", "--", ".", *_excluded()) or ""
    new = _git("ls-files", "-z", "--others", "--exclude-standard", "--", ".", *_excluded()) or ""
    for name in filter(None, new.split("\0")):
        patch += _git("diff", "--no-index", "--binary", "--", os.devnull, name) or ""
    return patch


def machine_tags(precision: str, device: str, threads: int, cpu: str) -> dict[str, str]:
    """What can change the bits of a result besides parameters, data and code."""
    return {
        "precision": precision,
        "device": device,
        "threads": str(threads),
        "cpu": cpu or platform.processor(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES),
    }


def params_digest(params: dict[str, Any]) -> str:
    """SHA-256 of flat parameters, whatever their order."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def _excluded() -> list[str]:
    return [f":(exclude){path}" for path in OUTPUTS]


def _git(*arguments: str) -> str | None:
    """Output of git; None where there is no git, no repository, or it fails.

    ``git diff --no-index`` ends with 1 where files differ, which is no failure.
    """
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError:
        return None
    fine = done.returncode == 0 or (done.returncode == 1 and "--no-index" in arguments)
    return done.stdout if fine else None
