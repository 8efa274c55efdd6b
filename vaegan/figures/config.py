"""Configuration of the figures: section ``visualize`` of the parameters."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from vaegan.bounds import Seed, Threads


@dataclass(frozen=True)
class FiguresConfig:
    """How to plot the figures."""

    seed: Seed
    """Seed of the t-SNE and of the choice of images."""
    grid_images: Annotated[int, Interval(ge=1, le=400)]
    """Images in the original and the generated grid."""
    swap_styles: Annotated[int, Interval(ge=1, le=20)]
    """Rows of the swap grid."""
    sweep_steps: Annotated[int, Interval(ge=2, le=41)]
    """Positions from -3 to 3 standard deviations in each row of the style sweep."""
    tsne_images: Annotated[int, Interval(ge=50, le=10_000)]
    """Test images in the t-SNE, at most."""
    tsne_perplexity: Annotated[float, Interval(gt=1, le=500)]
    """Perplexity of the t-SNE, at most a third of the images."""
    threads: Threads
    """CPU threads."""
