"""Provenance of a model: commit, uncommitted changes, versions, parameters, machine."""

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

# What the pipeline itself writes does not make the user's tree a changed one.
OUTPUTS = ("dvc.lock", "reports")
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "safetensors", "dvc", "mlflow")
# Whatever the user's own git is set to: a patch that git apply takes, and nothing else.
PLAIN_DIFF = (
    "diff", "--relative", "--binary", "--no-ext-diff", "--no-textconv", "--no-color",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
MOST_BYTES = 1_000_000  # of a file that git does not know, to be taken into a patch


@dataclass(frozen=True)
class Provenance:
    """The state of the tree when a run starts.

    Attributes:
        tags: Git commit, whether the tree has changes and their digest, DVC's experiment.
        patch: From the commit to the tree; empty where nothing differs.
    """

    tags: dict[str, str]
    patch: bytes


def provenance() -> Provenance:
    """Reads the state of the tree, once: the user may edit it while a model trains."""
    tags, patch = {}, b""
    commit = _git("rev-parse", "--verify", "HEAD")
    if commit is not None:
        patch, left_out = changes()
        tags = {
            "git.commit": commit.decode().strip(),
            "git.dirty": str(bool(patch)).lower(),
            "patch.sha256": hashlib.sha256(patch).hexdigest() if patch else "none",
        }
        if left_out:
            tags["patch.left_out"] = ", ".join(left_out)[:500]
    for tag, variable in (("dvc.exp", "DVC_EXP_NAME"), ("dvc.baseline", "DVC_EXP_BASELINE_REV")):
        if value := os.environ.get(variable):
            tags[tag] = value
    return Provenance(tags, patch)


def changes() -> tuple[bytes, list[str]]:
    """Makes a patch from the commit to the present tree, untracked files included.

    ``git apply`` in a clean checkout of the commit makes the same tree.

    Returns:
        The patch, and the names of files that git does not know and that are too large for it.
    """
    excluded = [f":(exclude){path}" for path in OUTPUTS]
    patch = _git(*PLAIN_DIFF, "HEAD", "--", ".", *excluded) or b""
    found = _git("ls-files", "-z", "--others", "--exclude-standard", "--", ".", *excluded) or b""
    left_out = []
    for name in map(os.fsdecode, filter(None, found.split(b"\0"))):
        if Path(name).is_file() and Path(name).stat().st_size > MOST_BYTES:
            left_out.append(name)
        else:
            patch += _git(*PLAIN_DIFF, "--no-index", "--", os.devnull, name) or b""
    return patch, left_out


def cpu_name() -> str:
    """Name of the processor type, from torch or else from Python."""
    return str(torch.cpu.get_capabilities().get("cpu_name", "") or platform.processor())


def gpu_name() -> str:
    """Name of the CUDA device that ``auto`` selects; "none" if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def machine_tags() -> dict[str, str]:
    """Tags for the machine and libraries, which can change the bits of a result."""
    return {
        "cpu": cpu_name(),
        "gpu": gpu_name(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES),
    }


def params_digest(params: dict[str, Any]) -> str:
    """SHA-256 of flat parameters; their order does not matter."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def _git(*arguments: str) -> bytes | None:
    """Output of git; None if there is no git, no repository, or it fails.

    ``git diff --no-index`` ends with 1 where files differ, which is no failure.
    """
    try:
        done = subprocess.run(["git", *arguments], capture_output=True)
    except OSError:
        return None
    fine = done.returncode == 0 or (done.returncode == 1 and "--no-index" in arguments)
    return done.stdout if fine else None
