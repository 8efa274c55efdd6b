"""Variational auto-encoders that separate what an image shows from how it looks.

The library: tensors and arrays in, tensors, arrays and figures out. It knows nothing of DVC,
MLflow, parameter files or the pipeline's file layout. ``docs/library.ipynb`` shows how its public
names work together. They are imported on first access, because most of them need torch.
"""
# ruff: noqa: F401  (type checkers read the imports, and __all__ comes from the table)

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaegan.data import LabelledImages, as_tensor, first_per_class, to_unit_range
    from vaegan.devices import configure_torch
    from vaegan.evaluation.classifier import classify, train_classifier
    from vaegan.evaluation.leakage import leakage
    from vaegan.evaluation.probes import majority_rate
    from vaegan.evaluation.style import measure as measure_style
    from vaegan.evaluation.style import style_kept
    from vaegan.evaluation.swaps import cross_class_pairs
    from vaegan.figures.images import swap_grid
    from vaegan.model.config import CodeConfig, ModelConfig, TransportConfig
    from vaegan.model.vae import DisentanglingVAE
    from vaegan.training.config import ObjectiveWeights, TrainingConfig, TransportFitConfig
    from vaegan.training.trainer import Trainer

_PUBLIC = {
    "CodeConfig": "model.config.CodeConfig",
    "DisentanglingVAE": "model.vae.DisentanglingVAE",
    "LabelledImages": "data.LabelledImages",
    "ModelConfig": "model.config.ModelConfig",
    "ObjectiveWeights": "training.config.ObjectiveWeights",
    "Trainer": "training.trainer.Trainer",
    "TrainingConfig": "training.config.TrainingConfig",
    "TransportConfig": "model.config.TransportConfig",
    "TransportFitConfig": "training.config.TransportFitConfig",
    "as_tensor": "data.as_tensor",
    "classify": "evaluation.classifier.classify",
    "configure_torch": "devices.configure_torch",
    "cross_class_pairs": "evaluation.swaps.cross_class_pairs",
    "first_per_class": "data.first_per_class",
    "leakage": "evaluation.leakage.leakage",
    "majority_rate": "evaluation.probes.majority_rate",
    "measure_style": "evaluation.style.measure",
    "style_kept": "evaluation.style.style_kept",
    "swap_grid": "figures.images.swap_grid",
    "to_unit_range": "data.to_unit_range",
    "train_classifier": "evaluation.classifier.train_classifier",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Imports a public name on first access."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].rpartition(".")
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value  # the next access finds it without this function
    return value


def __dir__() -> list[str]:
    """Lists the public names beside what is imported already."""
    return sorted({*globals(), *_PUBLIC})
