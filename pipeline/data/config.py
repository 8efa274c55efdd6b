"""Configuration of the data set: section ``prepare`` of the parameters."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

# Training images of each named data set, known before anything is downloaded.
TRAINING_IMAGES = {"mnist": 60_000, "fashion_mnist": 60_000, "kmnist": 60_000, "digits": 1_437}

FOLDER = "folder"  # the data set that is the user's own images
NO_PATH = "images"  # prepare.path of whoever has no own images: it holds a note only
FOLDERS = "folders"  # prepare.labels of images without a table
SMALLEST, LARGEST = 8, 128  # pixels of a side of the images that are learned from

Side = Annotated[int, Interval(ge=SMALLEST, le=LARGEST)]


@dataclass(frozen=True)
class PrepareConfig:
    """Images to learn from."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "digits", "folder"]
    """Data set by name, or folder: own images; digits is embedded and needs no download."""
    fallback: Literal["digits", "none"]
    """Data set to use if the archives are neither on disk nor reachable; none: stop."""
    download_timeout: Annotated[float, Interval(gt=0, le=3600)]
    """Seconds without a new byte after which a download is given up."""
    path: Annotated[str, MinLen(1)]
    """Own images: a folder, or a .zip or .npz file; with dataset: folder only."""
    labels: Annotated[str, MinLen(1)]
    """Where classes are from: folders, the names of the folders, or a .csv file in the path."""
    image_size: Annotated[
        Literal["auto"] | Side | tuple[Side, Side], "'auto', 8 to 128, or [height, width]"
    ]
    """Pixels of a side, 8 to 128, or [height, width]; auto: as they are, if all agree."""
    fit: Literal["pad", "crop", "stretch"]
    """Treatment of another aspect: pad with background, crop to the middle, or stretch."""
    channels: Literal["auto", "gray", "color"]
    """Gray or colour; auto: gray if no image has a coloured pixel."""
    background: Literal["black", "white"]
    """Colour under transparency and in padding, as the prepared images show it."""
    invert: Literal["auto", True, False]
    """Whether dark and light are exchanged; auto: if gray strokes are dark on light ground."""
    kind: Literal["auto", "strokes", "pictures"]
    """Light strokes on a dark ground, or pictures; auto: decided by gray levels and borders."""
    test_fraction: Annotated[float, Interval(gt=0, lt=1)]
    """Share of the images that becomes the test split, where the images come without one."""
    min_images: Annotated[int, Ge(2)]
    """Classes with fewer training images, or unseen ones, are left out: two images form a pair."""
    unreadable: Literal["error", "skip"]
    """Treatment of damaged images: all are named and nothing is written, or they are left out."""
    duplicates: Literal["together", "drop", "allow"]
    """Equal images: kept in one split, first one kept, or as together, in several classes too."""
    validation_size: Annotated[int, Ge(0)]
    """Training images held out for model selection, so that no choice depends on test images."""
