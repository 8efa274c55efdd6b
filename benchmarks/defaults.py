"""The default run's parts, from ``params.yaml`` and the outputs of ``dvc repro``.

The only benchmark code that knows how the stage ``train`` sets up and runs its loop.
"""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline.artifacts.checkpoints import Checkpoints
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.console import Console
from pipeline.journal import Journal
from pipeline.params import PARAMS_FILE, Params, load_params, read_yaml
from pipeline.stages.train import run_training, sample_images
from vaegan.devices import configure_torch, resolve_device
from vaegan.training.trainer import Trainer

Kind = TypeVar("Kind", bound=Trainer)


def configured(device: str = "cpu") -> tuple[Params, Dataset, torch.device]:
    """Returns parameters, data set and device, after setting torch up as the stages do."""
    params = load_params()
    configure_torch(params.train.threads)
    return params, read_dataset(), resolve_device(device)


def make_trainer(kind: type[Kind], device: str = "cpu", **changes: Any) -> Kind:
    """Builds a trainer of the default run with some fields of its configuration replaced."""
    params, dataset, _ = configured(device)
    config = replace(params.train, **{"device": device} | changes)
    return kind(params.model, config, dataset.train)


def run_stage_loop(trainer: Trainer, dataset: Dataset) -> None:
    """Runs the stage's loop to its end as the stage does, but nothing follows the journal.

    Checkpoints and journal are written to a temporary folder; a line is printed per report.
    """
    console = Console("train", trainer.config.steps)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("benchmark", Path(folder))
        journal = Journal("train", on_event=console.event, root=Path(folder) / "journal")
        journal.begin(dataset, {"tags": {}, "note": ""}, checkpoints.key)
        run_training(trainer, checkpoints, sample_images(dataset, trainer.device), journal)


def write_params(folder: Path, **train: Any) -> None:
    """Writes this repository's ``params.yaml`` with some keys of ``train`` replaced.

    A mapping replaces the keys that it names and keeps the others.
    """
    params = read_yaml(PARAMS_FILE)
    for key, value in train.items():
        old = params["train"][key]
        params["train"][key] = old | value if isinstance(value, dict) else value
    (folder / PARAMS_FILE).write_text(json.dumps(params))  # JSON is YAML


def stage_environment(folder: Path) -> dict[str, str]:
    """Returns the environment in which a stage runs in ``folder`` with a store of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return kept | {"DVC_ROOT": str(folder), "PYTHONPATH": str(Path.cwd())}
