"""Stage visualize: plots the figures of a model, its metrics and its training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.curves import read_curves
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.figures import write_figure
from pipeline.artifacts.files import atomic_folder, read_json
from pipeline.artifacts.paths import FIGURES, METRICS, MODEL
from pipeline.artifacts.reports import read_swaps
from vaegan.data import first_per_class, stratified_subset, to_unit_range
from vaegan.devices import configure_torch
from vaegan.evaluation.metrics import FIGURE_METRICS, described_keys
from vaegan.figures.canvas import NAMED_CLASSES
from vaegan.figures.config import FiguresConfig
from vaegan.figures.curves import adversarial_curves, reconstruction_curves
from vaegan.figures.images import reconstruction_grid, style_variation, swap_grid
from vaegan.figures.tables import confusion_matrices, metric_table
from vaegan.figures.tsne import embedding_figure, tsne
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

SWEEP_REACH = 3.0  # standard deviations on either side
SWEPT = 32  # dimensions at most: rows of the sweeps
BORROWED = 8  # styles borrowed from other images, beside the sweeps
GRID_COLUMNS = 8


class FigureInputs:
    """Inputs of the figures: the model, the test images and the means of their codes."""

    def __init__(self, model: DisentanglingVAE, dataset: Dataset, params: FiguresConfig) -> None:
        self.model = model
        self.name = dataset.name
        self.data = dataset.test
        self.class_counts = np.bincount(dataset.train.labels)  # of the training
        self.class_names = dataset.description["class_names"]
        self.codes = read_codes("test", weights_digest(MODEL))
        self.params = params

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Returns test images at positions, float32 (N, C, H, W) in [0, 1]."""
        return to_unit_range(torch.from_numpy(self.data.images[rows])).numpy()

    def code(self, name: str, rows: np.ndarray) -> Tensor:
        """Returns means of the specified or unspecified code at positions, float32 (N, D)."""
        return torch.from_numpy(self.codes[f"{name}_mean"][rows])

    def decode(self, specified: Tensor, unspecified: Tensor) -> np.ndarray:
        """Decodes codes to images, float32 (N, C, H, W) in [0, 1]."""
        with torch.inference_mode():
            return self.model.decode(specified, unspecified).numpy()

    def choose(self, purpose: str, count: int) -> np.ndarray:
        """Chooses ``count`` positions of test images at random, the same for equal seeds."""
        rng = numpy_rng(self.params.seed, purpose)
        return rng.choice(len(self.data), size=min(count, len(self.data)), replace=False)


def plot_reconstructions(inputs: FigureInputs) -> Figure:
    """Plots originals beside reconstructions."""
    rows = inputs.choose("grid", inputs.params.grid_images)
    generated = inputs.decode(inputs.code("specified", rows), inputs.code("unspecified", rows))
    title = f"Test images of {inputs.name} and what their own codes give"
    return reconstruction_grid(inputs.images(rows), generated, GRID_COLUMNS, title)


def style_sources(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns positions of ``count`` images, one class after the other, never the first of a class.

    So the rows of the swap grid take their styles from different classes as long as there are
    enough, and never from an image whose identity is in a column, unless there is no other.
    """
    rounds = [np.flatnonzero(labels == c)[1:] for c in np.unique(labels)]
    most = max(map(len, rounds))
    in_turn = [places[turn] for turn in range(most) for places in rounds if turn < len(places)]
    return np.array(in_turn[:count] or first_per_class(labels)[:count], dtype=np.int64)


def plot_swaps(inputs: FigureInputs) -> Figure:
    """Plots every class's identity in the style of some images."""
    identities = first_per_class(inputs.data.labels)
    classes = len(identities)
    identities = identities[:NAMED_CLASSES]
    styles = style_sources(inputs.data.labels, inputs.params.swap_styles)
    s = inputs.code("specified", identities)
    z = inputs.code("unspecified", styles)
    generated = inputs.decode(s.repeat(len(z), 1), z.repeat_interleave(len(s), dim=0))
    generated = generated.reshape(len(z), len(s), *generated.shape[1:])
    title = f"Identity by column, style by row ({inputs.name}, test images)"
    if classes > len(identities):
        title += f"\nThe first {len(identities)} of {classes} classes"
    return swap_grid(inputs.images(identities), inputs.images(styles), generated, title)


def plot_style_variation(inputs: FigureInputs) -> Figure:
    """Plots one image's specified code with swept and with borrowed styles.

    At most 32 dimensions are swept, the first ones: a figure has to end somewhere.
    """
    source = inputs.choose("style-source", 1)
    s, z = inputs.code("specified", source), inputs.code("unspecified", source)
    means = inputs.codes["unspecified_mean"]
    positions = np.linspace(-SWEEP_REACH, SWEEP_REACH, inputs.params.sweep_steps)
    values = means.mean(axis=0)[:, None] + means.std(axis=0)[:, None] * positions  # (Z, T)
    values = values[:SWEPT]
    dims, steps = values.shape
    swept = z.repeat(dims * steps, 1)
    swept[torch.arange(dims * steps), torch.arange(dims).repeat_interleave(steps)] = (
        torch.from_numpy(values.ravel().astype(np.float32))
    )
    sweeps = inputs.decode(s.expand(len(swept), -1), swept)
    others = inputs.choose("style-borrowed", BORROWED + 1)
    others = others[others != source[0]][:BORROWED]
    borrowed = inputs.decode(s.expand(len(others), -1), inputs.code("unspecified", others))
    label = inputs.class_names[inputs.data.labels[source[0]]]
    title = f"Varying style factors with respect to a single image (a {label!r} of {inputs.name})"
    if means.shape[1] > dims:
        title += f"\nThe first {dims} of {means.shape[1]} dimensions"
    return style_variation(
        inputs.images(source)[0],
        sweeps.reshape(dims, steps, *sweeps.shape[1:]),
        positions,
        inputs.images(others),
        borrowed,
        title,
    )


def plot_embedding(inputs: FigureInputs) -> Figure:
    """Plots the t-SNE of both codes."""
    params = inputs.params
    labels = inputs.data.labels
    rows = stratified_subset(labels, params.tsne_images, numpy_rng(params.seed, "tsne-images"))
    specified, unspecified = (
        tsne(inputs.code(name, rows).numpy(), params.tsne_perplexity, params.seed, params.threads)
        for name in ("specified", "unspecified")
    )
    title = f"t-SNE of the code means of {len(rows)} test images of {inputs.name}"
    return embedding_figure(specified, unspecified, labels[rows], inputs.class_names, title)


def plot_metrics(metrics: dict[str, Any]) -> Figure:
    """Tabulates the metrics that are shown in the figure, with their intervals."""
    rows = []
    for key, metric in described_keys(FIGURE_METRICS, metrics):
        low, high = (metrics.get(f"interval/{key}_{end}") for end in ("low", "high"))
        interval = None if low is None or high is None else (float(low), float(high))
        words = metric.words_of(key, metrics)
        rows.append((metric.group, words, float(metrics[key]), interval))
    title = f"{metrics['dataset']}, {metrics['split']} images: {metrics['verdict']}"
    title += ", by a quick evaluation" if "effort" in metrics else ""
    gates = {
        key.removeprefix("gate/"): said for key, said in metrics.items() if key.startswith("gate/")
    }
    for said in dict.fromkeys(gates.values()):
        title += f"\ngates {said}: {', '.join(name for name in gates if gates[name] == said)}"
    return metric_table(rows, title)


def plot_all(inputs: FigureInputs) -> Iterator[tuple[str, Figure]]:
    """Plots all figures; yields each with its name."""
    yield "reconstructions", plot_reconstructions(inputs)
    yield "swaps", plot_swaps(inputs)
    yield "style_variation", plot_style_variation(inputs)
    yield "tsne", plot_embedding(inputs)
    title = f"Predicted classes of swaps of {inputs.name}, in %, by the source of their style"
    names = {"mean": "style of an image", "sampled": "sampled style", "prior": "prior"}
    matrices = {names[kind]: matrix for kind, matrix in read_swaps(inputs.class_names).items()}
    yield "swap_confusion", confusion_matrices(matrices, inputs.class_names, title)
    yield "metrics", plot_metrics(read_json(METRICS))
    curves = read_curves()
    yield (
        "adversarial_loss",
        adversarial_curves(curves, inputs.class_counts, f"Training on {inputs.name}"),
    )
    yield (
        "reconstruction_loss",
        reconstruction_curves(curves, f"Training on {inputs.name}"),
    )


def run(params: FiguresConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``reports/figures/``.

    Returns:
        SHA-256 of the model's weights (``model``) and the names of the figures (``figures``).

    Raises:
        ArtifactError: an input is missing or damaged, or the codes belong to another model.
        ValueError: the metrics belong to another model.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    inputs = FigureInputs(DisentanglingVAE.load(MODEL), dataset, params)
    results, digest = read_json(METRICS), weights_digest(MODEL)
    if results.get("model/digest") != digest:
        raise ValueError(
            f"{METRICS} is of the model {results.get('model/digest')}, expected those of {digest} "
            f"in {MODEL}: run the stage evaluate"
        )
    journal.begin(dataset, {"model": digest})
    names = []
    with atomic_folder(FIGURES) as folder:
        for name, figure in plot_all(inputs):
            write_figure(name, figure, folder)
            names.append(name)
    return {"model": digest, "figures": names}
