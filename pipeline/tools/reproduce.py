"""Makes a registered model again, from the raw data, and compares every output with the record.

``python -m pipeline reproduce --version 3`` checks the version's commit out into a temporary
worktree, applies what was changed since that commit, runs all stages there without any cache, and
prints a table of what agrees. Exit status: 0 if all does, 1 if something does not, 2 if it could
not be tried.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.artifacts.files import ArtifactError, sha256, tree_digest
from pipeline.artifacts.paths import MODEL, repository
from pipeline.tracking.provenance import machine_tags
from pipeline.tracking.registry import NAME
from pipeline.tracking.store import connect
from pipeline.tracking.sync import OUTPUT_PREFIX, PATCH
from vaegan.model.vae import WEIGHTS_FILE, weights_digest

OUTPUTS = (
    "data/prepared",
    "classifier",
    "models",
    "reports/curves.csv",
    "codes",
    "reports/metrics.json",
    "reports/swaps.csv",
    "reports/figures",
)
SHOWN = 12  # digits of a digest in the table


class ReproductionError(ValueError):
    """A version cannot be made again: something that it would take is missing."""


@dataclass(frozen=True)
class Comparison:
    """One output: its recorded digest, and that of it made again; None where there is none."""

    path: str
    recorded: str | None
    found: str | None

    @property
    def word(self) -> str:
        """What is to be said of it.

        A version has no record of what no stage made for it: one whose metrics came from git, as
        in a fresh clone, has none of them.
        """
        if self.recorded is None:
            return "not recorded"
        if self.found is None:
            return "MISSING"
        return "agrees" if self.recorded == self.found else "DIFFERS"


def reproduce(number: str) -> list[Comparison]:
    """Makes a version again; returns a comparison per output.

    Args:
        number: Of the version, as a string.

    Raises:
        ReproductionError: there is no such version, its origin is not known, or a stage failed.
    """
    connect()
    try:
        version = MlflowClient().get_model_version(NAME, number)
    except MlflowException as error:
        raise ReproductionError(f"--version: got {number}, expected a version of {NAME}") from error
    with _checked_out(version) as folder:
        _run_stages(folder)
        found: dict[str, str | None] = {}
        for path in OUTPUTS:
            try:
                found[path] = tree_digest(folder / path)
            except ArtifactError:
                found[path] = None
        weights = weights_digest(folder / MODEL) if found[str(MODEL)] else None
    recorded = {path: version.tags.get(f"{OUTPUT_PREFIX}{path}") for path in OUTPUTS}
    compared = [Comparison(path, recorded[path], found[path]) for path in OUTPUTS]
    # The very weights that are registered, too, and not only what is said of them.
    return [*compared, Comparison("registered weights", _registered_weights(number), weights)]


def _registered_weights(number: str) -> str:
    try:
        folder = Path(download_artifacts(f"models:/{NAME}/{number}"))
        (path,) = folder.rglob(WEIGHTS_FILE)
    except (MlflowException, OSError, ValueError) as error:
        raise ReproductionError(f"version {number} has no {WEIGHTS_FILE}: {error}") from error
    return sha256(path)


@contextmanager
def _checked_out(version: ModelVersion) -> Iterator[Path]:
    """A temporary worktree of the version's commit, with its changes, and the raw archives."""
    commit = version.tags.get("git.commit")
    if not commit:
        raise ReproductionError(
            f"version {version.version} names no commit: it was trained outside of a git repository"
        )
    root = repository()
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise ReproductionError(
            f"version {version.version} was trained from commit {commit}, which this repository "
            "does not have: fetch it"
        )
    with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
        folder = Path(name) / "repository"
        added = _git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        if added.returncode:
            raise ReproductionError(f"git worktree: {added.stderr.strip()}")
        try:
            _apply_changes(version, folder)
            if (root / "data/raw").is_dir():
                (folder / "data/raw").symlink_to(root / "data/raw")
            yield folder
        finally:
            _git(root, "worktree", "remove", "--force", str(folder))


def _apply_changes(version: ModelVersion, folder: Path) -> None:
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
    applied = _git(folder, "apply", "--whitespace=nowarn", file)
    if applied.returncode:
        raise ReproductionError(f"{PATCH} does not apply: {applied.stderr.strip()}")


def _run_stages(folder: Path) -> None:
    """All stages, without DVC's caches and with a tracking store of their own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    binaries = Path(sys.executable).parent
    environment = kept | {"PATH": f"{binaries}{os.pathsep}{kept.get('PATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--force", "--no-run-cache"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise ReproductionError(f"the stages did not run to their end:\n{last}")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)


def table(comparisons: list[Comparison]) -> str:
    """A line per output: what was recorded, what came out, whether they agree."""
    lines = [f"{'output':22} {'recorded':{SHOWN}} {'made again':{SHOWN}}"]
    for c in comparisons:
        recorded, found = (value[:SHOWN] if value else "-" for value in (c.recorded, c.found))
        lines.append(f"{c.path:22} {recorded:{SHOWN}} {found:{SHOWN}} {c.word}")
    return "\n".join(lines)


def differences(version: ModelVersion) -> list[str]:
    """In what this machine and its libraries differ from those that the version was made on."""
    here = machine_tags()
    return [
        f"{name}: {version.tags[name]} then, {here[name]} now"
        for name in ("cpu", "gpu", "python", "libraries")
        if name in version.tags and version.tags[name] != here[name]
    ]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline reproduce", description=__doc__)
    parser.add_argument("--version", required=True, help="number of the registered version")
    options = parser.parse_args(argv)
    try:
        compared = reproduce(options.version)
        version = MlflowClient().get_model_version(NAME, options.version)
    except (ValueError, MlflowException, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(compared))
    for line in differences(version):
        print(f"note: {line}")
    recorded = [c for c in compared if c.recorded is not None]
    agree = sum(c.word == "agrees" for c in recorded)
    print(f"version {options.version}: {agree} of {len(recorded)} recorded outputs agree")
    return 0 if agree == len(recorded) else 1


if __name__ == "__main__":
    sys.exit(main())
