"""Calls of git, and its failures in its own words."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.artifacts.paths import repository

ANSWER_WITHIN = 120.0  # seconds
TOLD = Path(".dvc/tmp/shallow")  # in a temporary copy of DVC's: the user has been warned


class GitError(ValueError):
    """git gives no answer; the message says why, in git's own words."""


def warn_of_shallow_clone() -> None:
    """Warns, in an experiment's temporary copy, if DVC will not be able to keep the experiment.

    DVC cannot fetch an experiment from its copy into a shallow clone, and says nothing of it.
    """
    name = os.environ.get("DVC_EXP_NAME")
    if name is None or Path.cwd() == repository() or TOLD.exists():
        return
    try:
        if not is_shallow(repository()):
            return
    except GitError:
        return  # the provenance of the run tells
    print(
        f"WARNING: this clone is shallow: DVC will not keep the experiment {name}, only MLflow "
        "will have its run. Run git fetch --unshallow, then the same experiment again",
        file=sys.stderr,
        flush=True,
    )
    TOLD.parent.mkdir(parents=True, exist_ok=True)
    TOLD.touch()


def is_shallow(folder: Path) -> bool:
    """Whether the git repository around a folder lacks a part of its history."""
    return git_line("rev-parse", "--is-shallow-repository", folder=folder) == "true"


def git_line(*arguments: str, folder: Path | None = None) -> str:
    """Output of git as text, without the end of its line."""
    return os.fsdecode(git(*arguments, folder=folder)).removesuffix("\n")


def git(
    *arguments: str,
    folder: Path | None = None,
    ends_with: tuple[int, ...] = (0,),
    within: float | None = ANSWER_WITHIN,
) -> bytes:
    """Runs git without waiting for anyone: no prompts and no hooks.

    Args:
        arguments: Of git.
        folder: Where it runs; the current folder by default.
        ends_with: Exit statuses that are no failure.
        within: Seconds until it is given up; None waits for as long as it takes.

    Returns:
        Its output.

    Raises:
        GitError: git is missing, fails or does not end.
    """
    # A monitor of the file system, started here, would keep the pipes open for as long as it runs.
    settings = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    try:
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=folder,
            env=os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {arguments[0]} did not end within {within:g} s") from error
    except OSError as error:
        raise GitError(f"git cannot be run: {error}") from error
    if done.returncode not in ends_with:
        raise GitError(f"git {arguments[0]}: {_explain(done.stderr, folder or Path.cwd())}")
    return done.stdout


def _explain(errors: bytes, folder: Path) -> str:
    """The message of git in a line; it calls a repository with a damaged HEAD none."""
    said = " ".join(os.fsdecode(errors).split())[:400]
    if "not a git repository" in said:
        places = (place / ".git" for place in (folder, *folder.parents))
        if found := next((place for place in places if os.path.lexists(place)), None):
            return f"{said}; {found} is there, but is damaged"
    return said
