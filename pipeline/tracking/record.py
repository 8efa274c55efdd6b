"""The record of a model's origin: code, data, machine, libraries, and digests of all outputs.

It is an artifact of the model's run, ``provenance.json``, and the registered version carries the
same facts as tags, which ``python -m pipeline reproduce`` reads. The run's own tags are few: those
that a person filters by.
"""

from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import load_dict
from mlflow.entities import Run

from pipeline.tracking import champion, registry

FILE = "provenance.json"
OUTPUT_PREFIX = "sha256."  # of the digest of an output; its path follows
# Tags of a run: keys by which it is found, and facts that a person filters by.
FILTERS = ("dataset", "git.commit", "dvc.exp", registry.DIGEST_TAG)
OLDER = "params.sha256"  # a tag of runs that were made before they had a record
# Tags of a version that say something else than its origin.
DECISIONS = (
    registry.FILES_TAG, champion.SCORES_TAG, champion.REASON_TAG, champion.FORCED_TAG,
    *champion.WORDS,
)  # fmt: skip


class Record:
    """The record of one run.

    Args:
        run: The run, as it is now.
        lock: Held while the record is changed: several stages add to it.
    """

    def __init__(self, run: Run, lock: Path) -> None:
        self.run, self.lock = run, lock
        self.client = MlflowClient()

    def read(self) -> dict[str, str]:
        """Facts by name; those of the version if the artifact is lost, {} if there are none."""
        if self._exists():
            return dict(load_dict(f"runs:/{self.run.info.run_id}/{FILE}"))
        model = self.run.data.tags.get(registry.DIGEST_TAG)
        version = None if model is None else registry.version_of(model)
        if version is not None:
            return {name: text for name, text in version.tags.items() if name not in DECISIONS}
        return of_older_run(self.run)

    def add(self, facts: dict[str, str], begin: bool = False) -> None:
        """Adds facts, or replaces those of the same name.

        Args:
            facts: By name.
            begin: Whether to leave a record that exists already as it is.
        """
        with FileLock(self.lock):
            known = self.read()
            if not (known and begin):
                self._write(known | facts)

    def restore(self, facts: dict[str, str]) -> bool:
        """Writes the artifact again if it is lost; returns whether it did.

        Args:
            facts: For a run without a version.
        """
        with FileLock(self.lock):
            if self._exists() or not (known := self.read() or facts):
                return False
            self._write(known)
            return True

    def _exists(self) -> bool:
        files = self.client.list_artifacts(self.run.info.run_id)
        return any(file.path == FILE for file in files)

    def _write(self, facts: dict[str, str]) -> None:
        self.client.log_dict(self.run.info.run_id, dict(sorted(facts.items())), FILE)


def of_older_run(run: Run) -> dict[str, str]:
    """Facts that a run has as tags because it was made before there were records."""
    passing = ("mlflow.", "synced.", "failure", "journal")
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith(passing)}
    return tags if OLDER in tags else {}


def filters(facts: dict[str, str]) -> dict[str, str]:
    """The facts that are tags of the run, too."""
    return {name: value for name, value in facts.items() if name in FILTERS}
