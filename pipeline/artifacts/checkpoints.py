"""Checkpoints of an unfinished training, in ``.checkpoints`` of the user's repository.

A key derived from everything that determines the training prevents that another training
resumes from them. They are not DVC outputs, because DVC deletes those before it runs a stage.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from pipeline.artifacts.files import atomic_file, sha256
from pipeline.artifacts.paths import repository

KEPT = 2  # the newest, and the previous one in case the newest is damaged


def training_key(determinants: dict[str, Any], code: list[Path]) -> str:
    """Computes a digest of everything that determines the result of a training.

    Args:
        determinants: Parameters, digests of the data and versions, as JSON values.
        code: Source files whose content is part of the key.

    Returns:
        16 hexadecimal digits.
    """
    text = json.dumps(determinants, sort_keys=True) + "".join(sha256(file) for file in code)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoints of one training.

    Args:
        key: From :func:`training_key`.
        root: Folder of all checkpoints; ``.checkpoints`` of the user's repository by default.
    """

    def __init__(self, key: str, root: Path | None = None) -> None:
        self.key = key
        self.folder = (root or repository() / ".checkpoints") / key

    def save(self, step: int, state: dict[str, Tensor], curves: list[dict[str, float]]) -> None:
        """Writes a checkpoint whose name holds its digest; removes all but the last ``KEPT``.

        Args:
            step: Number of completed steps.
            state: The result of ``Trainer.state``.
            curves: The rows of the loss curves up to this step.
        """
        content = safetensors.torch.save(state, metadata={"curves": json.dumps(curves)})
        digest = hashlib.sha256(content).hexdigest()[:16]
        path = self.folder / f"{step:09d}-{digest}.safetensors"
        try:
            self._write(path, content)
        except FileNotFoundError:  # another process ended the same training and cleared
            self._write(path, content)
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)  # another process of the same training removed it

    def _write(self, path: Path, content: bytes) -> None:
        with atomic_file(path) as part:
            part.write_bytes(content)

    def newest(self) -> tuple[dict[str, Tensor], list[dict[str, float]]] | None:
        """Reads state and curves of the newest undamaged checkpoint; None if there is none.

        Damaged ones are named on standard error and skipped.
        """
        for file in self._files():
            if sha256(file).startswith(file.stem.split("-")[-1]):
                with safetensors.safe_open(file, framework="pt") as content:
                    state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no dict)
                    return state, json.loads(content.metadata()["curves"])
            print(f"{file} is damaged (its SHA-256 differs); not used", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Removes the checkpoints of this training."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """Lists the checkpoints, newest first."""
        return sorted(self.folder.glob("*.safetensors"), reverse=True)
