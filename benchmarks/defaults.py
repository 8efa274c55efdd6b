"""The default run's parts, from ``params.yaml`` and the outputs of ``dvc repro``.

The only benchmark code that knows how the stage ``train`` sets up and runs its loop.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline.artifacts.checkpoints import Checkpoints
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.params import PARAMS_FILE, Params, load_params, read_yaml
from pipeline.stages.train import model_config, run_training, training_config
from vaegan.data import as_tensor, first_per_class, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.model.config import ModelConfig
from vaegan.training.config import TrainingConfig
from vaegan.training.trainer import Trainer

Kind = TypeVar("Kind", bound=Trainer)


def configured(device: str = "cpu") -> tuple[Params, Dataset, torch.device]:
    """Returns parameters, data set and device, after setting torch up as the stages do."""
    params = load_params()
    configure_torch(params.train.threads)
    return params, read_dataset(), resolve_device(device)


def configs(device: str = "cpu") -> tuple[ModelConfig, TrainingConfig]:
    """Returns the model's and the training's configuration of the default run; no set-up."""
    params = load_params()
    config = training_config(params.train, resolve_device(device))
    return model_config(params.model, read_dataset()), config


def make_trainer(kind: type[Kind], device: str = "cpu", **changes: Any) -> Kind:
    """Builds a trainer of the default run with some fields of its configuration replaced."""
    _, dataset, where = configured(device)
    structure, config = configs(device)
    return kind(structure, replace(config, **changes), dataset.train, where)


class Untracked:
    """Takes the place of the run that the stage's loop reports to, and discards the reports."""

    logged = 0

    @contextmanager
    def reporting(self) -> Iterator[Any]:
        """Yields a function that ignores its arguments."""
        yield lambda *_: None


def run_stage_loop(trainer: Trainer) -> None:
    """Runs the stage's loop to its end: checkpoints in a temporary folder, sample grids, lines."""
    dataset = read_dataset()
    shown = first_per_class(dataset.train.labels)
    samples = to_unit_range(as_tensor(dataset.train.images[shown], trainer.device))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("benchmark", Path(folder))
        run_training(trainer, checkpoints, samples, Untracked())  # type: ignore[arg-type]


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
