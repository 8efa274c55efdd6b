"""Reproduces a registered version from the raw data and compares every output with its record.

``python -m pipeline reproduce --version 3`` checks the version's commit out into a temporary git
worktree, applies the changes that it was trained with, runs all stages there without any cache, and
prints a table of digests. Exit status: 0 if all recorded outputs agree, 1 if one differs, 2 if the
version cannot be reproduced.
"""

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from ruamel.yaml import YAML

from pipeline.artifacts.files import ArtifactError, sha256, tree_digest
from pipeline.artifacts.paths import MODEL, OUTPUTS, repository
from pipeline.data.config import FOLDER
from pipeline.run import patient, terminable
from pipeline.tracking.git import GitError, git, git_line, is_shallow
from pipeline.tracking.model_run import PATCH
from pipeline.tracking.provenance import FAILURE_TAG, machine_tags
from pipeline.tracking.record import OUTPUT_PREFIX
from pipeline.tracking.registry import NAME
from pipeline.tracking.store import connect
from vaegan.model.vae import WEIGHTS_FILE

SHOWN = 12  # digits of a digest in the table
FOLDER_PREFIX = "reproduce-"  # of temporary folders; the number of the process follows


class ReproductionError(ValueError):
    """A version cannot be reproduced: something that is needed for it is missing."""


@dataclass(frozen=True)
class Comparison:
    """Digests of one output: the recorded and the reproduced one; None if there is none."""

    path: str
    recorded: str | None
    reproduced: str | None

    @property
    def outcome(self) -> str:
        """One of agrees, DIFFERS, MISSING or not recorded.

        A version has no record of an output that no stage made for it: in a fresh clone, for
        example, metrics come from git.
        """
        if self.recorded is None:
            return "not recorded"
        if self.reproduced is None:
            return "MISSING"
        return "agrees" if self.recorded == self.reproduced else "DIFFERS"


def reproduce(number: str) -> list[Comparison]:
    """Runs all stages of a version again; returns a comparison per output.

    Args:
        number: Number of the registered version.

    Raises:
        ReproductionError: there is no such version, its origin is unknown, or a stage failed.
    """
    connect()
    try:
        version = MlflowClient().get_model_version(NAME, number)
    except MlflowException as error:
        raise ReproductionError(f"--version: got {number}, expected a version of {NAME}") from error
    with _checked_out(version) as project:
        _run_stages(project)
        compared = compare_outputs(version.tags, project)
        weights = project / MODEL / WEIGHTS_FILE
        reproduced = sha256(weights) if weights.is_file() else None
    # The registered weights themselves, too, not only their recorded digest.
    return [*compared, Comparison("registered weights", _registered_weights(number), reproduced)]


def compare_outputs(tags: dict[str, str], project: Path) -> list[Comparison]:
    """Compares what a version's tags record, under whatever names its commit has, and today's.

    Args:
        tags: Tags of the version.
        project: Folder in which its stages have run.
    """
    today = [str(path) for stage, paths in OUTPUTS.items() if stage != "check" for path in paths]
    recorded = {
        tag.removeprefix(OUTPUT_PREFIX): digest
        for tag, digest in tags.items()
        if tag.startswith(OUTPUT_PREFIX)
    }
    older = sorted(recorded.keys() - set(today))
    compared = [
        Comparison(path, recorded.get(path), _digest(project / path)) for path in today + older
    ]
    return [c for c in compared if c.recorded or c.reproduced]


def _digest(path: Path) -> str | None:
    try:
        return tree_digest(path)
    except ArtifactError:
        return None


def _registered_weights(number: str) -> str:
    try:
        folder = Path(download_artifacts(f"models:/{NAME}/{number}"))
        (path,) = folder.rglob(WEIGHTS_FILE)
    except (MlflowException, OSError, ValueError) as error:
        raise ReproductionError(f"version {number} has no {WEIGHTS_FILE}: {error}") from error
    return sha256(path)


@contextmanager
def _checked_out(version: ModelVersion) -> Iterator[Path]:
    """Makes a temporary worktree of the version's commit, with its changes and the raw archives.

    Yields:
        The project's folder in it: the repository may hold more than the project.
    """
    commit = version.tags.get("git.commit")
    if reason := version.tags.get(FAILURE_TAG):
        raise ReproductionError(
            f"version {version.version} was trained where git did not tell its origin: {reason}"
        )
    if not commit:
        raise ReproductionError(
            f"version {version.version} names no commit: it was trained outside of a git repository"
        )
    root = repository()
    prefix = git_line("rev-parse", "--show-prefix", folder=root)
    _remove_abandoned(root)
    try:
        git("cat-file", "-e", f"{commit}^{{commit}}", folder=root)
    except GitError as error:
        remedy = "git fetch --unshallow" if is_shallow(root) else "fetch it"
        raise ReproductionError(
            f"version {version.version} was trained from commit {commit}, which this repository "
            f"does not have: {remedy}"
        ) from error
    with tempfile.TemporaryDirectory(
        prefix=f"{FOLDER_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name).resolve() / "repository"
        project = folder / prefix
        try:
            git("worktree", "add", "--detach", str(folder), commit, folder=root, within=None)
            _apply_changes(version, folder, prefix)
            if not (project / "dvc.yaml").is_file():
                raise ReproductionError(f"commit {commit} has no {prefix}dvc.yaml")
            if (root / "data/raw").is_dir():
                (project / "data").mkdir(exist_ok=True)
                (project / "data/raw").symlink_to(root / "data/raw")
            _check_out_images(root, project)
            yield project
        finally:
            with patient():
                _remove_worktree(root, folder)


def _check_out_images(root: Path, project: Path) -> None:
    """Copies own images that DVC keeps, as of the commit, from the cache of the user's repository.

    Raises:
        ReproductionError: the cache does not have them.
    """
    files = _kept_images(project)
    if not files:
        return
    dvc = (sys.executable, "-m", "dvc")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [*dvc, *arguments], cwd=folder, env=kept, capture_output=True, text=True
        )
        if done.returncode:
            raise ReproductionError(
                f"own images of {', '.join(files)} are not in DVC's cache: dvc pull fetches them "
                f"if a remote has them ({' '.join(done.stderr.split())})"
            )
        return done.stdout.strip()

    run(project, "cache", "dir", "--local", run(root, "cache", "dir"))
    run(project, "checkout", "-q", *files)
    run(project, "config", "--local", "--unset", "cache.dir")  # outputs are not to come from it


def _kept_images(project: Path) -> list[str]:
    """Lists DVC's files that keep the own images which ``params.yaml`` names, or a part of them."""
    read = YAML(typ="safe", pure=True).load
    try:
        section = read((project / "params.yaml").read_text())["prepare"]
        dataset, path = section["dataset"], section["path"]
    except (FileNotFoundError, KeyError, TypeError):  # older commits know no own images
        return []
    if dataset != FOLDER:
        return []
    wanted, kept = Path(os.path.normpath(project / path)), []
    for file in sorted(project.rglob("*.dvc")):
        if file.is_file():
            content = read(file.read_text())
            folder = file.parent / content.get("wdir", ".")
            for out in content.get("outs", []):
                place = Path(os.path.normpath(folder / out["path"]))
                if place.is_relative_to(wanted) or wanted.is_relative_to(place):
                    kept.append(str(file.relative_to(project)))
    return kept


def _remove_worktree(root: Path, folder: Path) -> None:
    """Removes a worktree, half made ones included, from disk and from git's list."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(GitError):  # git does not know it yet
        git("worktree", "remove", "--force", "--force", str(folder), folder=root)


def _remove_abandoned(root: Path) -> None:
    """Removes worktrees of earlier reproductions whose process was killed."""
    for line in git_line("worktree", "list", "--porcelain", folder=root).splitlines():
        folder = Path(line.removeprefix("worktree "))
        made = re.fullmatch(rf"{FOLDER_PREFIX}(\d+)-.*", folder.parent.name)
        if line.startswith("worktree ") and made and not psutil.pid_exists(int(made[1])):
            _remove_worktree(root, folder)
            shutil.rmtree(folder.parent, ignore_errors=True)


def _apply_changes(version: ModelVersion, folder: Path, prefix: str) -> None:
    """Applies the changes that a version was trained with.

    Args:
        version: The registered version.
        folder: Root of the worktree.
        prefix: The project's folder in it, "" or ending in a slash.
    """
    expected = version.tags.get("patch.sha256", "none")
    if expected == "none":
        return
    try:
        file = download_artifacts(run_id=version.run_id, artifact_path=PATCH)
    except (MlflowException, OSError) as error:
        raise ReproductionError(
            f"version {version.version} was trained from a changed tree, and its run has no {PATCH}"
        ) from error
    if (found := hashlib.sha256(Path(file).read_bytes()).hexdigest()) != expected:
        raise ReproductionError(
            f"{PATCH} of version {version.version} is damaged: its SHA-256 is {found}, "
            f"expected {expected}"
        )
    # Paths in a patch are relative to the project, or, in older versions, to git's root.
    faults = []
    for place in dict.fromkeys((prefix, "")):
        try:
            git("apply", "--whitespace=nowarn", f"--directory={place}", file, folder=folder)
        except GitError as error:
            faults.append(str(error))
        else:
            return
    raise ReproductionError(f"{PATCH} does not apply: {faults[0]}")


def _run_stages(project: Path) -> None:
    """Runs all stages without DVC's caches and with a tracking store of their own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    binaries = Path(sys.executable).parent
    environment = kept | {"PATH": f"{binaries}{os.pathsep}{kept.get('PATH', '')}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--force", "--no-run-cache"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:  # the stage that runs writes into a folder that is removed now
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        last = "\n".join(output.splitlines()[-15:])
        raise ReproductionError(f"dvc repro failed:\n{last}")


def table(comparisons: list[Comparison]) -> str:
    """Formats a line per output: recorded digest, reproduced digest, outcome."""
    lines = [f"{'output':22} {'recorded':{SHOWN}} {'reproduced':{SHOWN}}"]
    for c in comparisons:
        recorded, reproduced = (d[:SHOWN] if d else "-" for d in (c.recorded, c.reproduced))
        lines.append(f"{c.path:22} {recorded:{SHOWN}} {reproduced:{SHOWN}} {c.outcome}")
    return "\n".join(lines)


def list_differences(version: ModelVersion) -> list[str]:
    """Lists how this machine and its libraries differ from those that trained the version."""
    here = machine_tags()
    return [
        f"{name}: {version.tags[name]} then, {here[name]} now"
        for name in ("cpu", "gpu", "python", "libraries")
        if name in version.tags and version.tags[name] != here[name]
    ]


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline reproduce", description=__doc__)
    parser.add_argument("--version", metavar="N", help="number of the registered version")
    options = parser.parse_args(argv)
    if options.version is None:
        print("error: which version? python -m pipeline reproduce --version 1; python -m pipeline "
              "champion lists them", file=sys.stderr)  # fmt: skip
        return 2
    try:
        with terminable(signal.SIGTERM, signal.SIGHUP):
            compared = reproduce(options.version)
        version = MlflowClient().get_model_version(NAME, options.version)
    except KeyboardInterrupt:
        print("stopped; the temporary worktree is removed", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ValueError, MlflowException, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(compared))
    for line in list_differences(version):
        print(f"note: {line}")
    recorded = [c for c in compared if c.recorded is not None]
    agree = sum(c.outcome == "agrees" for c in recorded)
    print(f"version {options.version}: {agree} of {len(recorded)} recorded outputs agree")
    return 0 if agree == len(recorded) else 1


if __name__ == "__main__":
    sys.exit(main())
