"""Inputs of the figures: a model with its test images, and the choice of what figures show."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts.dataset import Dataset
from pipeline.explorer.directions import main_directions
from vaegan.data import to_unit_range
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.style import MEASURES, class_means, measure
from vaegan.evaluation.swaps import decode_in_batches
from vaegan.figures.choice import choose_different, spread_classes
from vaegan.figures.config import FiguresConfig
from vaegan.figures.styles import Property, choose_directions
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng

REACH = 2.5  # standard deviations on either side, to which a style is moved
MOVED = 5  # directions of style
COLUMNS = 10  # identities in the swap grid and in the animation
CANDIDATES = 40  # images of a class, out of which those of a figure are chosen
REFERENCES = 3  # classes in which styles are compared
MEASURED = 2000  # images by which directions of style are named
BATCH = 200


class FigureInputs:
    """Inputs of the figures: the model, the classifier, the test images and their codes."""

    def __init__(
        self,
        model: DisentanglingVAE,
        classifier: Classifier,
        codes: dict[str, np.ndarray],
        dataset: Dataset,
        params: FiguresConfig,
    ) -> None:
        self.model, self.classifier = model, classifier
        self.name = dataset.name
        self.data = dataset.test
        self.class_names: list[str] = dataset.description["class_names"]
        self.codes = codes
        self.params = params
        self.strokes = dataset.strokes
        self.factors = dict(zip(dataset.factor_names, dataset.factors["test"].T, strict=True))

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Returns test images at positions, float32 (N, C, H, W) in [0, 1]."""
        return to_unit_range(torch.from_numpy(self.data.images[rows])).numpy()

    def code(self, name: str, rows: np.ndarray) -> Tensor:
        """Returns means of the specified or unspecified code at positions, float32 (N, D)."""
        return torch.from_numpy(self.codes[f"{name}_mean"][rows])

    def decode(self, specified: Tensor, unspecified: Tensor) -> np.ndarray:
        """Decodes codes to images, float32 (N, C, H, W) in [0, 1]."""
        return decode_in_batches(self.model.decode, specified, unspecified, BATCH).numpy()

    def decode_all(self, specified: Tensor, unspecified: Tensor) -> np.ndarray:
        """Decodes every identity (I, S) in every style (R, Z), float32 (R, I, C, H, W)."""
        count = len(specified)
        images = self.decode(
            specified.repeat(len(unspecified), 1), unspecified.repeat_interleave(count, dim=0)
        )
        return images.reshape(len(unspecified), count, *images.shape[1:])

    def read(self, images: np.ndarray) -> np.ndarray:
        """Returns the classes that the classifier reads in images, int64 (N,)."""
        with torch.inference_mode():
            parts = torch.from_numpy(images).split(BATCH)
            return torch.cat([self.classifier(part).argmax(dim=1) for part in parts]).numpy()

    def choose(self, purpose: str, count: int) -> np.ndarray:
        """Chooses ``count`` positions of test images at random, the same for equal seeds."""
        rng = numpy_rng(self.params.seed, purpose)
        return rng.choice(len(self.data), size=min(count, len(self.data)), replace=False)

    @cached_property
    def candidates(self) -> np.ndarray:
        """Positions of the images that figures choose from: of each of a few classes the first
        ones that the classifier reads as what they are; the first ones if it reads none so.
        """
        found = []
        for c in sorted(set(spread_classes(np.unique(self.data.labels), 2 * COLUMNS))):
            first = np.flatnonzero(self.data.labels == c)[:CANDIDATES]
            right = first[self.read(self.images(first)) == c]
            found.append(right if len(right) else first)
        return np.concatenate(found)

    @cached_property
    def looks(self) -> np.ndarray:
        """Styles of the candidates as they are seen: each as the decoder renders it in a few
        classes, float32 (N, pixels).
        """
        classes = spread_classes(np.unique(self.data.labels), REFERENCES)
        references = np.array([np.flatnonzero(self.data.labels == c)[0] for c in set(classes)])
        specified = self.code("specified", np.sort(references))
        seen = self.decode_all(specified, self.code("unspecified", self.candidates))
        return seen.reshape(len(seen), -1)

    @cached_property
    def directions(self) -> tuple[np.ndarray, list[str]]:
        """Directions of ``z`` out of those that move an image most, one deviation each, and their
        names.
        """
        specified, z = (self.codes[f"{name}_mean"] for name in ("specified", "unspecified"))
        axes = main_directions(self.model, specified, z, self.params.seed)
        rows = np.sort(self.choose("style-measures", MEASURED))
        found = choose_directions(self.places(z[rows], axes), self.properties(rows), MOVED)
        chosen = np.stack([direction.sign * axes[direction.place] for direction in found])
        return chosen.astype(np.float32), [direction.name for direction in found]

    def places(self, codes: np.ndarray, axes: np.ndarray) -> np.ndarray:
        """Places of unspecified codes (N, Z) along directions (A, Z), in deviations, (N, A)."""
        z = self.codes["unspecified_mean"]
        scale = np.maximum(z.std(axis=0), 1e-9)
        return ((codes - z.mean(axis=0)) / scale) @ (axes / scale).T

    def properties(self, rows: np.ndarray) -> list[Property]:
        """Known properties of the style of test images, each relative to its class's mean."""
        known = [Property(name, values[rows]) for name, values in self.factors.items()]
        if not self.strokes:
            return known
        measures, labels = measure(self.images(rows)), self.data.labels[rows]
        measures -= class_means(measures, labels, len(self.class_names))[labels]
        return [Property(n, v) for n, v in zip(MEASURES, measures.T, strict=True)] + known

    def moved(self, z: Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Moves styles (M, Z) along each direction; returns codes (M, A, T, Z) and positions (T,).

        A position is the place along the direction, wherever a style lay before.
        """
        axes, _ = self.directions
        positions = np.linspace(-REACH, REACH, steps)
        shift = positions[None, None] - self.places(z.numpy(), axes)[:, :, None]
        return z.numpy()[:, None, None] + shift[..., None] * axes[None, :, None], positions


def swap_sources(inputs: FigureInputs) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the images of the swap grid: positions of the identities, and of the styles.

    Both differ in style as much as possible, the identities from the styles too: so a column shows
    whether an identity brings its own shape along. Neither depends on what swaps look like.
    """
    candidates = inputs.candidates
    groups = inputs.data.labels[candidates]
    present = np.unique(groups)
    rows = spread_classes(present, inputs.params.swap_styles)
    columns = sorted(spread_classes(present, max(COLUMNS // len(present), 1) * len(present)))
    if len(present) > COLUMNS:
        columns = spread_classes(present, COLUMNS)
    styles = choose_different(inputs.looks, groups, rows)
    identities = choose_different(inputs.looks, groups, columns, taken=styles.tolist())
    return candidates[identities], candidates[styles]
