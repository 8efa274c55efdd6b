"""Stage train: trains the model on the prepared data set."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

import vaegan
from pipeline.artifacts.checkpoints import Checkpoints, training_key
from pipeline.artifacts.curves import write_curves
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import atomic_folder
from pipeline.artifacts.paths import MODEL
from pipeline.sections import flat
from vaegan.data import first_per_class, to_unit_range
from vaegan.devices import configure_torch
from vaegan.model.config import ModelConfig
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.training.config import TrainingConfig
from vaegan.training.trainer import Trainer

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

# Depends on the machine's load: tracked, but kept out of a file that DVC hashes.
UNREPEATABLE = "images_per_second"
GRID_CLASSES, GRID_PIXELS = 20, 1500  # of a sample grid, at most: classes, and pixels of its sides


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


def resolved(params: TrainingConfig, strokes: bool) -> TrainingConfig:
    """Replaces ``transport.style_changes: auto`` by what the prepared images are."""
    if params.transport.style_changes != "auto":
        return params
    changes: Literal["strokes", "pictures"] = "strokes" if strokes else "pictures"
    return replace(params, transport=replace(params.transport, style_changes=changes))


def run(model_params: ModelConfig, params: TrainingConfig, journal: "Journal") -> dict[str, Any]:
    """Trains, and writes ``models/`` and ``reports/curves.csv``; resumes from a checkpoint.

    Returns:
        SHA-256 of the weights (``model``), the last losses of the transport's fit (``fitted``), why
        there is none if it was asked for (``no_transport``) and the number of steps (``step``).

    Raises:
        ArtifactError: the prepared data set is missing or damaged.
        FloatingPointError: a loss is not finite.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    trainer = Trainer(model_params, resolved(params, dataset.strokes), dataset.train)
    settings = flat(model_params, "model.") | flat(params, "train.")
    machine = {"precision": trainer.precision, "device": trainer.device.type}
    versions = machine | {"torch": torch.__version__}
    data = dataset.description["splits"]["train"]["arrays"]
    checkpoints = Checkpoints(training_key(settings | {"data": data} | versions, _code()))
    about = {
        "dataset": dataset.name,
        "class_names": dataset.description["class_names"],
        "training_images": len(dataset.train),
        "params": settings,
    } | versions
    machine["threads"] = str(torch.get_num_threads())
    note = f"{_describe(about)} {without_transport(trainer, model_params).capitalize()}".rstrip()
    journal.begin(dataset, {"tags": machine, "note": note}, checkpoints.key)
    curves = run_training(trainer, checkpoints, sample_images(dataset, trainer.device), journal)
    fitted = trainer.fit_transport()
    with atomic_folder(MODEL) as folder:
        trainer.model.eval().save(folder, about)
    write_curves(curves.drop(columns=UNREPEATABLE))
    checkpoints.clear()
    return {
        "model": weights_digest(MODEL),
        "fitted": fitted,
        "no_transport": without_transport(trainer, model_params),
        "step": params.steps,
    }


def without_transport(trainer: Trainer, asked: ModelConfig) -> str:
    """Says why a model has no transport although its parameters ask for one; "" otherwise."""
    if trainer.model.transport is not None or not asked.transport.layers:
        return ""
    per_class = len(trainer.labels) / trainer.model.config.class_count
    return (
        f"no class transport: {per_class:.0f} training images per class, fewer than "
        f"train.transport.images_per_class: {trainer.config.transport.images_per_class}"
    )


def sample_images(dataset: Dataset, device: torch.device) -> torch.Tensor:
    """The first training image of each of the first classes, float32 (M, C, H, W) in [0, 1].

    Of 20 classes at most, or fewer if the images are large: a grid has M * M images.
    """
    fit = GRID_PIXELS // max(dataset.train.image_shape[1:]) - 1  # beside the sources on the edge
    shown = first_per_class(dataset.train.labels)[: min(GRID_CLASSES, fit)]
    return to_unit_range(torch.from_numpy(dataset.train.images[shown])).to(device)


def run_training(
    trainer: Trainer, checkpoints: Checkpoints, samples: torch.Tensor, journal: "Journal"
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
    else:  # the slider of MLflow's sample grids starts at step 0
        journal.report(0, {}, sample_grid(trainer.model, samples))
    for report in trainer.run():
        rows.append({"step": report.step} | report.metrics)
        # The checkpoint comes first: resuming reports what it holds and the journal lacks.
        checkpoints.save(report.step, trainer.state(), rows)
        _report(journal, rows[-1], sample_grid(trainer.model, samples))
    return pd.DataFrame(rows)


def _report(journal: "Journal", row: dict[str, float], image: np.ndarray | None = None) -> None:
    metrics = {name: value for name, value in row.items() if name != "step"}
    journal.report(int(row["step"]), metrics, image)


def _code() -> list[Path]:
    """The files that determine a training: this one and those that it imports of the library."""
    library = Path(vaegan.__file__).parent
    patterns = ("*.py", "model/*.py", "training/*.py")
    return [Path(__file__), *(file for p in patterns for file in sorted(library.glob(p)))]


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
