"""Stage train: trains the model on the prepared data set."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.artifacts.checkpoints import Checkpoints, training_key
from pipeline.artifacts.curves import write_curves
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import atomic_folder
from pipeline.artifacts.paths import MODEL
from pipeline.journal import Journal
from pipeline.params import ModelParams, TrainParams, flat
from vaegan.data import first_per_class, to_unit_range
from vaegan.devices import configure_torch, resolve_device, resolve_precision
from vaegan.model.config import CodeConfig, ModelConfig, TransportConfig
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.training.config import ObjectiveWeights, TrainingConfig, TransportTraining
from vaegan.training.trainer import Trainer

# Depends on the machine's load: tracked, but kept out of a file that DVC hashes.
UNREPEATABLE = "images_per_second"


def model_config(params: ModelParams, dataset: Dataset) -> ModelConfig:
    """The structure for a data set's images and classes."""
    transport = params.transport.model_dump()
    return ModelConfig(
        image_shape=dataset.train.image_shape,
        class_count=dataset.train.class_count,
        base_channels=params.base_channels,
        specified=CodeConfig(**params.specified.model_dump()),
        unspecified=CodeConfig(**params.unspecified.model_dump()),
        transport=TransportConfig(**transport) if transport["layers"] else None,
    )


def training_config(params: TrainParams, device: torch.device) -> TrainingConfig:
    """The library's configuration for a stage's parameters."""
    resolved = {"weights", "transport", "device", "threads", "precision", "supervision"}
    precision = resolve_precision(params.precision, device)
    return TrainingConfig(
        **params.model_dump(exclude=resolved),
        classes_known=params.supervision == "labels",
        precision=precision,
        weights=ObjectiveWeights(**params.weights.model_dump()),
        transport=TransportTraining(
            **params.transport.model_dump(), seed=params.seed, precision=precision
        ),
    )


def sample_grid(model: DisentanglingVAE, images: torch.Tensor) -> np.ndarray:
    """Each image's identity (column) in each image's style (row), sources on the edges.

    Args:
        model: In any mode; left in training mode.
        images: float32 (N, C, H, W) in [0, 1].

    Returns:
        uint8 (N * H + H, N * W + W, C).
    """
    count = len(images)
    model.eval()
    with torch.inference_mode():
        drawn = model.swap(images.repeat(count, 1, 1, 1), images.repeat_interleave(count, 0))
    model.train()
    top = torch.cat([torch.zeros_like(images[:1]), images])
    rows = torch.cat([images[:, None], drawn.view(count, count, *images.shape[1:])], dim=1)
    grid = torch.cat([top[None], rows])  # (N + 1, N + 1, C, H, W)
    n, _, channels, height, width = grid.shape
    tiled = grid.permute(0, 3, 1, 4, 2).reshape(n * height, n * width, channels)
    return (tiled.cpu().numpy() * 255.0).round().astype(np.uint8)


def run(model_params: ModelParams, params: TrainParams, journal: Journal) -> dict[str, Any]:
    """Trains, and writes ``models/`` and ``reports/curves.csv``; resumes from a checkpoint.

    Returns:
        SHA-256 of the weights (``model``), the last losses of the transport's fit (``fitted``) and
        the number of steps (``step``).

    Raises:
        ArtifactError: the prepared data set is missing or damaged.
        FloatingPointError: a loss is not finite.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    device = resolve_device(params.device)
    config = training_config(params, device)
    trainer = Trainer(model_config(model_params, dataset), config, dataset.train, device)
    settings = flat(model_params, "model.") | flat(params, "train.")
    data = dataset.description["splits"]["train"]["arrays"]
    determinants = settings | {
        "data": data,
        "precision": config.precision,
        "device": device.type,
        "torch": torch.__version__,
    }
    checkpoints = Checkpoints(training_key(determinants, _code()))
    about = {
        "dataset": dataset.name,
        "class_names": dataset.description["class_names"],
        "training_images": len(dataset.train),
        "params": settings,
        "precision": config.precision,
        "device": device.type,
        "torch": torch.__version__,
    }
    machine = {
        "precision": config.precision,
        "device": device.type,
        "threads": str(torch.get_num_threads()),
    }
    journal.begin(dataset, {"tags": machine, "note": _describe(about)}, checkpoints.key)
    curves = run_training(trainer, checkpoints, sample_images(dataset, device), journal)
    fitted = trainer.finish()
    with atomic_folder(MODEL) as folder:
        trainer.model.eval().save(folder, about)
    write_curves(curves.drop(columns=UNREPEATABLE))
    checkpoints.clear()
    return {"model": weights_digest(MODEL), "fitted": fitted, "step": params.steps}


def sample_images(dataset: Dataset, device: torch.device) -> torch.Tensor:
    """The first training image of each class, float32 (K, C, H, W) in [0, 1]."""
    shown = first_per_class(dataset.train.labels)
    return to_unit_range(torch.from_numpy(dataset.train.images[shown])).to(device)


def run_training(
    trainer: Trainer, checkpoints: Checkpoints, samples: torch.Tensor, journal: Journal
) -> pd.DataFrame:
    """Trains to the end; each report has a checkpoint and an entry in the journal.

    Args:
        trainer: At its first step.
        checkpoints: Of this training; the newest one that is whole is resumed from.
        samples: Images of the sample grid, float32 (N, C, H, W) in [0, 1].
        journal: Takes the reports, those that a resumed training had made included.

    Returns:
        A row per report, with its step and its metrics.
    """
    rows: list[dict[str, float]] = []
    found = checkpoints.newest()
    if found is not None:
        state, rows = found
        trainer.restore(state)
        journal.resumed(trainer.step)
        for row in rows:
            _report(journal, row)
    for report in trainer.run():
        rows.append({"step": report.step} | report.metrics)
        # The checkpoint comes first: resuming reports what it holds and the journal lacks.
        checkpoints.save(report.step, trainer.state(), rows)
        _report(journal, rows[-1], sample_grid(trainer.model, samples))
    return pd.DataFrame(rows)


def _report(journal: Journal, row: dict[str, float], image: np.ndarray | None = None) -> None:
    metrics = {name: value for name, value in row.items() if name != "step"}
    journal.report(int(row["step"]), metrics, image)


def _code() -> list[Path]:
    """This file and those of the library that the stage has imported."""
    modules = [m for name, m in sorted(sys.modules.items()) if name.split(".")[0] == "vaegan"]
    return [Path(__file__)] + [Path(module.__file__) for module in modules if module.__file__]


def _describe(about: dict[str, Any]) -> str:
    """The run's description, for a person."""
    params = about["params"]
    codes = ", ".join(
        f"{code} code of {params[f'model.{code}.dim']} dimensions, "
        + ("sampled" if params[f"model.{code}.variational"] else "not sampled")
        for code in ("specified", "unspecified")
    )
    return (
        f"Disentangling VAE trained on {about['dataset']} ({about['training_images']} images), "
        f"{params['train.steps']} steps of {params['train.pairs']} pairs; {codes}."
    )
