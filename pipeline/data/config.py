"""Configuration of the data set: section ``prepare`` of the parameters."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

# Training images of each named data set, known before anything is downloaded.
TRAINING_IMAGES = {"mnist": 60_000, "fashion_mnist": 60_000, "kmnist": 60_000, "digits": 1_437}


@dataclass(frozen=True)
class PrepareConfig:
    """Images to learn from."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "digits"]
    """Data set by name; digits is embedded in scikit-learn and needs no download."""
    fallback: Literal["digits", "none"]
    """Data set to use if the archives are neither on disk nor reachable; none: stop."""
    download_timeout: Annotated[float, Interval(gt=0, le=3600)]
    """Seconds without a new byte after which a download is given up."""
    validation_size: Annotated[int, Ge(0)]
    """Training images held out for model selection, so that no choice depends on test images."""
