"""Configuration of the evaluation: sections ``classifier`` and ``evaluate`` of the parameters."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from annotated_types import Ge

from vaegan.bounds import Count, Device, Fraction, Seed, Threads


@dataclass(frozen=True)
class ClassifierConfig:
    """How to train the classifier of real images, which recognises the generated ones."""

    seed: Seed
    """Seed of its weights and batches."""
    steps: Count
    """Batches of 128 images."""
    device: Device
    """Device to train it on; auto: CUDA, else Apple's GPU if it works, else the CPU."""
    threads: Threads
    """CPU threads."""


@dataclass(frozen=True)
class GateConfig:
    """Bounds that a model must meet to become the champion of its data set."""

    transfer: Fraction
    """Share of swaps that show the identity asked for (swap/identity_accuracy), at least."""
    specified: Fraction
    """Accuracy of a linear probe of the specified code (specified/probe_accuracy), at least."""
    leakage: Fraction
    """Share of what chance leaves that the strongest probe reads (leakage/excess), at most."""
    style: Fraction
    """Correlation of each measure of style with its source's (swap/style_kept_*), at least."""


# What a quick evaluation is limited to; it fits probes of the panel PLAIN only, see ``probes.py``.
QUICK_LIMITS = {"test_images": 2000, "probe_images": 10_000, "swaps": 2000}


@dataclass(frozen=True)
class EvaluationConfig:
    """How to evaluate a model."""

    seed: Seed
    """Seed of the probes and of the choice of swaps."""
    split: Literal["test", "validation"]
    """Images to evaluate on; validation: those that prepare.validation_size held out."""
    test_images: Annotated[int, Ge(100)]
    """Images of the split, at most, that everything is measured on; a stratified choice."""
    probe_images: Annotated[int, Ge(100)]
    """Training codes, at most, that probes are fitted on; a stratified choice."""
    swaps: Annotated[int, Ge(100)]
    """Swapped images of each kind that are generated and classified."""
    effort: Literal["full", "quick"]
    """Quick, for tuning: fewer images, swaps and probes, no gates; not comparable with full."""
    degenerate_below: Fraction
    """Identity transfer below which the verdict on a model is degenerate."""
    gates: GateConfig
    """Bounds that a champion must meet."""
    champion_by: Literal["leakage/mean", "swap/identity_accuracy", "reconstruction/mse"]
    """Metric in which a new champion must be better than the champion before it."""
    device: Device
    """Device of generated images; auto: CUDA, else Apple's GPU if it works, else the CPU."""
    threads: Threads
    """CPU threads."""

    @property
    def quick(self) -> bool:
        """Whether numbers are for tuning only."""
        return self.effort == "quick"

    def limited(self) -> Self:
        """These parameters, with the limits of a quick evaluation if it is one."""
        if not self.quick:
            return self
        limits = {name: min(getattr(self, name), most) for name, most in QUICK_LIMITS.items()}
        return replace(self, **limits)
