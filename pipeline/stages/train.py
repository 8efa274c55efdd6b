"""Stage train: learns the model from the prepared data set, tracks it and registers it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from pipeline.artifacts.checkpoints import Checkpoints, training_key
from pipeline.artifacts.curves import write_curves
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.paths import MODEL
from pipeline.params import ModelParams, TrainParams, flat
from pipeline.stage import run_stage
from pipeline.tracking import runs as tracking
from pipeline.tracking.provenance import machine_tags
from vaegan.data import first_per_class, to_unit_range
from vaegan.devices import configure_torch, resolve_device, resolve_precision
from vaegan.model.config import CodeConfig, ModelConfig, TransportConfig
from vaegan.model.vae import DisentanglingVAE
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


def train(dataset: Dataset, model_params: ModelParams, params: TrainParams) -> None:
    """Trains, and writes ``models/`` and ``reports/curves.csv``; goes on from a checkpoint."""
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
    shown = first_per_class(dataset.train.labels)
    samples = to_unit_range(torch.from_numpy(dataset.train.images[shown])).to(device)
    about = {
        "dataset": dataset.name,
        "class_names": dataset.description["class_names"],
        "training_images": len(dataset.train),
        "params": settings,
        "precision": config.precision,
        "device": device.type,
        "torch": torch.__version__,
    }
    tags = machine_tags(config.precision, device.type, torch.get_num_threads())
    with tracking.training_run(
        dataset, settings, _describe(about), checkpoints.key, tags
    ) as training:
        curves = run_training(trainer, checkpoints, samples, training)
        fitted = trainer.fit_transport()
        print("".join(f"{name} {value:.3f}  " for name, value in fitted.items()))
        with whole_folder(MODEL) as folder:
            trainer.model.eval().save(folder, about)
        write_curves(curves.drop(columns=UNREPEATABLE))
        training.finish(fitted, params.steps, samples.cpu().numpy())
    checkpoints.clear()


def run_training(
    trainer: Trainer, checkpoints: Checkpoints, samples: torch.Tensor, training: tracking.Training
) -> pd.DataFrame:
    """Trains to the end, with a line, a checkpoint and a look at samples per report."""
    rows = _resume(trainer, checkpoints, training.logged)
    steps = trainer.config.steps
    with (
        training.reporting() as track,
        tqdm(
            total=steps, initial=trainer.step, unit="step", disable=not sys.stderr.isatty()
        ) as bar,
    ):
        for report in trainer.run():
            rows.append({"step": report.step} | report.metrics)
            # First the checkpoint: going on logs the metrics that it holds and the run lacks.
            checkpoints.save(report.step, trainer.state(), rows)
            track(report.step, report.metrics, sample_grid(trainer.model, samples))
            bar.update(report.step - bar.n)
            bar.write(_line(report.step, steps, report.metrics), file=sys.stdout)
            sys.stdout.flush()
    return pd.DataFrame(rows)


def _resume(trainer: Trainer, checkpoints: Checkpoints, logged: int) -> list[dict[str, float]]:
    """Brings the trainer to the newest checkpoint, if any; returns the curves up to there.

    What the open run lacks of them, beyond the step that is ``logged`` there, it gets: a run that
    goes on has them, a new one does not.
    """
    found = checkpoints.newest()
    if found is None:
        return []
    state, rows = found
    trainer.restore(state)
    print(f"going on from the checkpoint at step {trainer.step}")
    for row in rows:
        if row["step"] > logged:
            metrics = {name: value for name, value in row.items() if name != "step"}
            tracking.log_metrics(metrics, step=int(row["step"]))
    return rows


def _code() -> list[Path]:
    """This file and those of the library that the stage has imported."""
    modules = [m for name, m in sorted(sys.modules.items()) if name.split(".")[0] == "vaegan"]
    return [Path(__file__)] + [Path(module.__file__) for module in modules if module.__file__]


def _line(step: int, steps: int, metrics: dict[str, float]) -> str:
    shown = "  ".join(
        f"{name.removesuffix('_loss')} {value:.2f}"
        for name, value in metrics.items()
        if name.endswith("_loss") and name != "generator_loss"
    )
    return f"step {step}/{steps}  {shown}  {metrics['images_per_second']:.0f} images/s"


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


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: train(read_dataset(), params.model, params.train))


if __name__ == "__main__":
    sys.exit(main())
