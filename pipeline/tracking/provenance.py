"""Provenance of a model: commit, uncommitted changes, versions, parameters, machine.

The commit is that of the git repository around the project, whose root may be a folder above it;
the patch of uncommitted changes covers the project's folder only, which holds all that stages read.
"""

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from pipeline.tracking.git import GitError, git, git_line

# What the pipeline itself writes does not make the user's tree a changed one.
OUTPUTS = ("dvc.lock", "reports")
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "safetensors", "dvc", "mlflow")
# Whatever the user's own git is set to: a patch that git apply takes, and nothing else.
PLAIN_DIFF = (
    "diff", "--relative", "--binary", "--no-ext-diff", "--no-textconv", "--no-color",
    "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
MOST_BYTES = 1_000_000  # of a file that git does not know, to be taken into a patch
FAILURE_TAG = "git.failure"  # why the commit of a run, or its changes, are unknown


@dataclass(frozen=True)
class Provenance:
    """The state of the tree when a run starts.

    Attributes:
        tags: Git commit, whether the tree has changes and their digest, DVC's experiment;
            ``git.failure`` is the reason if git does not tell.
        patch: From the commit to the tree; empty where nothing differs.
    """

    tags: dict[str, str]
    patch: bytes


def provenance() -> Provenance:
    """Reads the state of the tree, once: the user may edit it while a model trains."""
    tags, patch = {}, b""
    try:
        tags["git.commit"] = git_line("log", "-1", "--no-show-signature", "--format=%H")
        patch, left_out = changes()
        if not patch and not git("ls-tree", "HEAD"):
            raise GitError(f"the commit holds no file of {Path.cwd()}, and git ignores this folder")
        tags["git.dirty"] = str(bool(patch)).lower()
        tags["patch.sha256"] = hashlib.sha256(patch).hexdigest() if patch else "none"
        if left_out:
            tags["patch.left_out"] = ", ".join(left_out)[:500]
    except GitError as error:
        tags[FAILURE_TAG] = str(error)
    for tag, variable in (("dvc.exp", "DVC_EXP_NAME"), ("dvc.baseline", "DVC_EXP_BASELINE_REV")):
        if value := os.environ.get(variable):
            tags[tag] = value
    return Provenance(tags, patch)


def changes() -> tuple[bytes, list[str]]:
    """Makes a patch from the commit to the present tree, untracked files included.

    ``git apply`` in a clean checkout of the commit makes the same tree.

    Returns:
        The patch, and the names of files that git does not know and that are too large for it or
        cannot be read.

    Raises:
        GitError: git does not tell the changes.
    """
    excluded = [f":(exclude){path}" for path in OUTPUTS]
    patch = git(*PLAIN_DIFF, "HEAD", "--", ".", *excluded)
    found = git("ls-files", "-z", "--others", "--exclude-standard", "--", ".", *excluded)
    left_out = []
    for name in map(os.fsdecode, filter(None, found.split(b"\0"))):
        added = b""
        if not (Path(name).is_file() and Path(name).stat().st_size > MOST_BYTES):
            with suppress(GitError):
                added = git(*PLAIN_DIFF, "--no-index", "--", os.devnull, name, ends_with=(0, 1))
        patch += added
        if not added:
            left_out.append(name)
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
