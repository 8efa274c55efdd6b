"""Variables of the environment that could redirect a run: which are honoured, which are removed.

A shell, a git hook or the worker of a queue may hold variables of MLflow, DVC or git that were set
for something else. :func:`clean` removes them before a command runs, so a run goes where the
command line and the documented variables say. ``docs/operations.md`` lists the honoured ones.
"""

import os
import subprocess
from collections.abc import MutableMapping
from pathlib import Path

from pipeline import DEFAULTS

# Where the store is, how to reach it, and how MLflow logs. The rest of MLFLOW_* is removed.
HONOURED = (
    "MLFLOW_TRACKING_", "MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES", "MLFLOW_HTTP_",
    "MLFLOW_ALLOW_HTTP_REDIRECTS", "MLFLOW_S3_", "MLFLOW_GCS_",
    "MLFLOW_BOTO_", "MLFLOW_MYSQL_", "MLFLOW_KERBEROS_", "MLFLOW_SQLALCHEMYSTORE_",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "MLFLOW_ENABLE_MULTIPART_", "MLFLOW_MULTIPART_",
    "MLFLOW_ENABLE_PROXY_MULTIPART_", "MLFLOW_LOGGING_LEVEL", "MLFLOW_CONFIGURE_LOGGING",
)  # fmt: skip
STORE_FOLDERS = ("MLFLOW_TRACKING_DIR", "MLFLOW_WORKSPACE_STORE_URI")  # of stores in folders
# Set by git in hooks, of the repository whose hook it is.
GIT = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE",
    "GIT_PREFIX", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)  # fmt: skip
ROOT, STAGE = "DVC_ROOT", "DVC_STAGE"
QUICK = "VAEGAN_QUICK"  # set by python -m pipeline quick, whose models nobody reproduces
EXPERIMENT, BASELINE = "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"
COPIES = Path(".dvc/tmp")  # in a repository: where DVC makes copies to run experiments in


def clean(command: str, environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Removes variables that do not belong to this command; returns their names.

    ``DVC_ROOT`` stays if the current folder belongs to that repository or to one of DVC's temporary
    copies of it, and is set to the project's own folder there. ``DVC_STAGE`` stays if it names the
    command, ``DVC_EXP_NAME`` if this git repository has the commit that the experiment is based on.

    Args:
        command: The stage or tool that is about to run.
        environment: Changed in place.
    """
    removed = drop_mlflow(environment)
    removed += [name for name in GIT if environment.pop(name, None) is not None]
    root = _project(environment[ROOT]) if environment.get(ROOT) else None
    if root is not None:
        environment[ROOT] = str(root)
    by_dvc = root is not None and environment.get(STAGE, "").rpartition(":")[2] == command
    kept = {ROOT: root is not None, STAGE: by_dvc}
    kept[EXPERIMENT] = kept[BASELINE] = by_dvc and _is_commit(environment.get(BASELINE))
    return removed + [
        name for name, keep in kept.items() if not keep and environment.pop(name, None) is not None
    ]


def drop_mlflow(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Removes MLflow's variables that are not honoured; returns their names."""
    removed = [
        name
        for name in sorted(environment)
        if name.startswith(("MLFLOW_", "_MLFLOW_"))
        and (not name.startswith((*HONOURED, *DEFAULTS)) or name in STORE_FOLDERS)
    ]
    for name in removed:
        del environment[name]
    return removed


def _project(root: str) -> Path | None:
    """The folder of this project in DVC's repository ``root``; None if it is of another one."""
    own, here = Path(root).resolve(), Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir():  # the repository, or a copy of it
            ours = folder == own or folder.is_relative_to(own / COPIES)
            return own / here.relative_to(folder) if ours else None
    return None


def _is_commit(revision: str | None) -> bool:
    """Whether the git repository of the current folder has a commit."""
    if not revision:
        return False
    command = ["git", "cat-file", "-e", f"{revision}^{{commit}}"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
