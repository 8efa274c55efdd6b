"""A temporary clone of the repository in which the real pipeline runs, small."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SMALL = {
    "prepare.dataset": "digits",
    "model.base_channels": 4,
    "train.steps": 30,
    "train.lr": 1e-3,
    "train.pairs": 16,
    "train.report_every": 10,
    "train.threads": 1,
    "train.warmup_steps": 5,
    "train.transport.images_per_class": 2,
    "train.transport.steps": 20,
    "train.transport.changes": 4,
    "model.transport.hidden": 8,
    "classifier.steps": 30,
    "classifier.threads": 1,
    "evaluate.swaps": 200,
    "evaluate.threads": 1,
    "visualize.tsne_images": 60,
    "visualize.threads": 1,
}
# Probes that are hardly trained: at full length they take most of the time of a small pipeline.
PROBES = {
    "WIDTH, DEPTH, NETWORKS = 384, 3, 2": "WIDTH, DEPTH, NETWORKS = 64, 2, 1",
    "ROUNDS, PATIENCE = 15, 3": "ROUNDS, PATIENCE = 2, 1",
    "BATCH, ROUND_STEPS = 1024, 30": "BATCH, ROUND_STEPS = 512, 10",
    "TREES, LEAF = 100, 5": "TREES, LEAF = 5, 5",
}
SHORTER = {
    "vaegan/evaluation/probes.py": PROBES,
    "pipeline/report/failures.py": {"TRIED = 2000": "TRIED = 60"},
}
STAGES = ("check", "prepare", "train", "encode", "classifier", "evaluate", "visualize", "report")


class Clone:
    """A clone with small parameters, and commands in it as a user would type them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        self.environment = kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            **{
                f"GIT_{who}_{what}": "a@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }

    def clone(self, folder: Path) -> "Clone":
        """A git clone of the whole repository, whose root may lie above the project."""
        prefix = self.run("git", "rev-parse", "--show-prefix").strip()
        top = self.run("git", "rev-parse", "--show-toplevel").strip()
        self.run("git", "clone", "-q", top, str(folder))
        return Clone(folder / prefix)

    def run(self, *command: str, fails: bool = False) -> str:
        """Output and errors of a command that has to succeed, or to fail."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def repro(self) -> set[str]:
        """Runs ``dvc repro``; returns the stages that ran."""
        output = self.run("dvc", "repro")
        return {stage for stage in STAGES if f"Running stage '{stage}'" in output}

    def set(self, key: str, value: object) -> None:
        """Changes a value in params.yaml."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        content = yaml.load(path.read_text())
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
        with path.open("w") as file:
            yaml.dump(content, file)

    def client(self, store: str = "mlflow.db") -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder}/{store}")

    def runs(self, store: str = "mlflow.db") -> list:
        """All runs of a store, the newest first."""
        client = self.client(store)
        return client.search_runs([client.get_experiment_by_name("vaegan").experiment_id])


def small_clone(repository: Path, project: str = "") -> Clone:
    """A repository with the working tree's files, small parameters and short probes.

    Nothing has run in it.

    Args:
        repository: Root of the git repository.
        project: The project's folder in it.
    """
    folder = repository / project
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    clone = Clone(folder)
    for key, value in SMALL.items():
        clone.set(key, value)
    for name, changes in SHORTER.items():
        code = (folder / name).read_text()
        for full, short in changes.items():
            assert full in code
            code = code.replace(full, short)
        (folder / name).write_text(code)
    clone.run("git", "init", "-q", str(repository))
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "small")
    return clone
