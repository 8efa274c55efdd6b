"""Descriptions of images: what the evaluation's classifiers see in them, and their style."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vaegan.evaluation import style
from vaegan.evaluation.classifier import Classifier, Predictions, classify

CHUNK_VALUES = 1 << 24  # of pixels in memory at a time, as float32
BATCH = 1000  # images per pass of a network


@dataclass(frozen=True)
class Description:
    """N images, as the evaluation's classifiers and style measures describe them.

    Attributes:
        predictions: Output of the classifier of classes.
        measures: Style measures, (N, 3); (N, 0) unless the images are strokes.
        factors: Predicted value of each known style factor, int64 (N,), by name.
    """

    predictions: Predictions
    measures: np.ndarray
    factors: dict[str, np.ndarray]


@dataclass(frozen=True)
class Instruments:
    """The evaluation's classifiers and measures.

    Attributes:
        classifier: Of classes.
        strokes: Whether the style of strokes is measured.
        factors: A classifier of each known style factor, by name.
    """

    classifier: Classifier
    strokes: bool
    factors: Mapping[str, Classifier]

    def describe(self, chunks: Iterable[Tensor]) -> Description:
        """Describes images, float32 (M, C, H, W) in [0, 1] at a time, on the networks' device."""
        found = [self._describe(images) for images in chunks]
        predictions = Predictions(
            np.concatenate([part.predictions.classes for part in found]),
            np.concatenate([part.predictions.features for part in found]),
        )
        factors = {
            name: np.concatenate([part.factors[name] for part in found]) for name in self.factors
        }
        return Description(predictions, np.concatenate([p.measures for p in found]), factors)

    def _describe(self, images: Tensor) -> Description:
        return Description(
            classify(self.classifier, images, BATCH),
            style.measure(images.cpu().numpy()) if self.strokes else np.empty((len(images), 0)),
            {name: classify(of, images, BATCH).classes for name, of in self.factors.items()},
        )


def chunks(count: int, image_shape: tuple[int, ...]) -> Iterator[slice]:
    """Divides N images (C, H, W) into slices of which one fits into memory as float32."""
    size = max(1, CHUNK_VALUES // int(np.prod(image_shape)))
    size -= size % BATCH if size > BATCH else 0
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
