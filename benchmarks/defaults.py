"""The default run's parts, from ``params.yaml`` and what ``dvc repro`` left on disk."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline.artifacts.checkpoints import Checkpoints
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.params import Params, load_params
from pipeline.tracking import runs as tracking
from vaegan.data import as_tensor, first_per_class, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.training.trainer import Trainer

Kind = TypeVar("Kind", bound=Trainer)


def configured(device: str = "cpu") -> tuple[Params, Dataset, torch.device]:
    """The parameters, the data set and a device, with torch set up as the stages do."""
    params = load_params()
    configure_torch(params.train.threads)
    return params, read_dataset(), resolve_device(device)


def trainer(kind: type[Kind], device: str = "cpu", **changes: Any) -> Kind:
    """A trainer of the default run, with some fields of its configuration changed."""
    params, dataset, _ = configured(device)
    return kind(params.model, replace(params.train, **{"device": device} | changes), dataset.train)


def wait_until_logged(step: int) -> None:
    """Returns when the open run has the report of a step: its metrics come last."""
    while tracking.last_step("lr") < step:
        time.sleep(0.01)


@contextmanager
def in_own_store(
    dataset: Dataset, device: str | torch.device = "cpu"
) -> Iterator[tuple[Checkpoints, torch.Tensor, tracking.Training]]:
    """An open run in a store, and a folder, that are gone afterwards.

    Yields:
        Checkpoints there, the images of the sample grids, and the run: what the stage's loop needs.
    """
    shown = first_per_class(dataset.train.labels)
    samples = to_unit_range(as_tensor(dataset.train.images[shown], device))
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        os.chdir(folder)
        try:
            with tracking.training_run(dataset, {}, "benchmark", "benchmark", {}) as training:
                yield Checkpoints("benchmark"), samples, training
        finally:
            os.chdir(before)
            del os.environ["DVC_ROOT"]
