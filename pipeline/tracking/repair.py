"""The repair: restores what a store's database lists and its disk has lost.

Artifacts may be deleted, or lie on a disk that was replaced, while the database goes on listing
versions, aliases and runs. Journals hold copies of models, figures and sample images: what is
missing is written again where the store expects it, under the same version and run.
"""

from pathlib import Path

from filelock import FileLock
from mlflow.entities.model_registry import ModelVersion

from pipeline.artifacts.paths import MODEL
from pipeline.journal import MODELS, is_gone, journals, last_begin, read_events
from pipeline.tracking import registry
from pipeline.tracking.model_run import (
    ModelRun,
    Say,
    model_copy,
    read_classes,
    read_conversion,
    read_examples,
    read_test_images,
    tells_of,
)
from pipeline.tracking.store import raised_by_store, reason


def repair(root: Path, experiment: str, say: Say, everything: bool = False) -> None:
    """Restores files of versions, artifacts of runs and the aliases ``candidate``.

    Args:
        root: Folder of the journals.
        experiment: Id of the experiment of the runs.
        say: Called with a sentence about what was restored, and what could not be.
        everything: Whether to check every version and run. If not, only versions on this machine
            that have an alias or the weights in ``models/`` are looked at, and the rest only if
            one of those is damaged.
    """
    if not root.is_dir():
        return
    with FileLock(root / ".repair.lock"):
        ours = [v for v in registry.list_versions() if registry.DIGEST_TAG in v.tags]
        damaged = _damaged(ours, everything, say)
        lost = _restore_versions(damaged, root, say)
        whole = [version for version in ours if version.version not in lost]
        for line in registry.restore_candidates(whole):
            say(line)
        if damaged or everything:
            _restore_runs(root, experiment, say)


def _damaged(
    versions: list[ModelVersion], everything: bool, say: Say
) -> list[tuple[ModelVersion, str]]:
    """Versions that cannot be loaded, each with what it lacks."""
    present = registry.weights_on_disk(MODEL)
    first = [
        version
        for version in versions
        if everything or version.aliases or version.tags.get(registry.DIGEST_TAG) == present
    ]
    rest = [version for version in versions if version not in first]
    damaged: list[tuple[ModelVersion, str]] = []
    for group in (first, rest):
        for version in group:
            try:
                folder = registry.local_folder(version)
                if registry.is_out_of_reach(folder):
                    continue
                checked = everything or folder is not None
                if checked and (fault := registry.damage(version)) is not None:
                    damaged.append((version, fault))
            except Exception as error:
                if not (raised_by_store(error) or isinstance(error, OSError)):
                    raise
                say(f"the files of {_name(version)} cannot be checked: {reason(error)}")
        if not damaged:
            break
    return damaged


def _restore_versions(damaged: list[tuple[ModelVersion, str]], root: Path, say: Say) -> set[str]:
    """Restores versions; returns the numbers of those that could not be."""
    lost = set()
    for version, fault in damaged:
        digest = version.tags.get(registry.DIGEST_TAG, "")
        copy = model_copy(root, digest)
        if copy is None:
            lost.add(version.version)
            say(
                f"{_name(version)} cannot be loaded ({fault}), and {root / MODELS} has no copy of "
                "its model: once it lies in models/ again (dvc checkout, dvc exp apply), "
                "python -m pipeline track restores the version"
            )
            continue
        folder = next((j for j in reversed(journals(root)) if tells_of(j, digest)), None)
        try:
            examples = None if folder is None else read_examples(folder)
            classes = None if folder is None else read_classes(folder)
            conversion = None if folder is None else read_conversion(folder)
            tests = None if folder is None else read_test_images(folder)
            registry.restore(version, copy, examples, classes, conversion, tests)
        except Exception as error:  # a damaged copy, or one of an older layout, stops no stage
            lost.add(version.version)
            say(f"{_name(version)} cannot be loaded ({fault}) nor restored: {reason(error)}")
        else:
            say(f"{_name(version)} could not be loaded ({fault}): restored from {copy}")
    return lost


def _restore_runs(root: Path, experiment: str, say: Say) -> None:
    """Logs artifacts again that runs have lost; of a file the newest journal counts."""
    count = 0
    for folder in reversed(journals(root)):
        events = read_events(folder)
        if not events or (
            events[-1]["event"] != "end" and not is_gone(last_begin(events)["process"])
        ):
            continue
        try:
            count += ModelRun(folder, events, experiment, say).restore_files()
        except Exception as error:  # as above
            say(f"artifacts of {folder.name} cannot be restored: {reason(error)}")
    if count:
        say(f"restored {count} artifacts of runs from {root}")


def _name(version: ModelVersion) -> str:
    names = ", ".join(sorted(version.aliases))
    return f"version {version.version}" + (f" [{names}]" if names else "")
