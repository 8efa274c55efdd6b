"""Stage visualize: plots the figures of a model, its metrics and its training."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from pipeline.artifacts.classifiers import read_classifier
from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.curves import read_curves
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.figures import released_values, write_animation, write_figure
from pipeline.artifacts.files import atomic_folder, read_json
from pipeline.artifacts.paths import CLASSIFIER, FIGURES, METRICS, MODEL
from pipeline.artifacts.reports import read_swaps
from pipeline.stages.figure_inputs import COLUMNS, FigureInputs, swap_sources
from vaegan.data import stratified_subset
from vaegan.devices import configure_torch
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.swaps import cross_class_pairs
from vaegan.figures.animation import slider_frames
from vaegan.figures.choice import choose_typical, spread_classes
from vaegan.figures.config import FiguresConfig
from vaegan.figures.curves import adversarial_curves, reconstruction_curves
from vaegan.figures.errors import confusion_figure, worst_confusions
from vaegan.figures.images import reconstruction_grid, swap_grid
from vaegan.figures.leakage import Reading, leakage_bars
from vaegan.figures.styles import style_variation
from vaegan.figures.tables import interval_of, metric_rows, metric_table
from vaegan.figures.tsne import embedding_figure, tsne
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.progress import followed
from vaegan.rng import numpy_rng

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

FRAMES = 11  # positions of the animation, on the way there
ANIMATED = 3  # directions of style in the animation
VARIED = 4  # images whose style is varied
PAIRS = 16  # reconstructions in a row
TRIED = 4 * 10**6  # pixels of swaps, for images of those that are read as another class
TSNE_WEIGHT = 15.0  # of its time, beside that of another figure, for the progress
CPU = torch.device("cpu")


def plot_reconstructions(inputs: FigureInputs) -> Figure:
    """Plots originals above their reconstructions, sorted by class."""
    rows = inputs.choose("grid", inputs.params.grid_images)
    rows = rows[np.argsort(inputs.data.labels[rows], kind="stable")]
    generated = inputs.decode(inputs.code("specified", rows), inputs.code("unspecified", rows))
    title = f"Test images of {inputs.name} and what their own codes give"
    return reconstruction_grid(inputs.images(rows), generated, PAIRS, title)


def plot_swaps(inputs: FigureInputs) -> Figure:
    """Plots classes' identities in the style of some images."""
    title = f"Identity by column, style by row ({inputs.name}, test images)"
    return plot_swaps_of(inputs, *swap_sources(inputs), title)


def plot_swaps_of(
    inputs: FigureInputs, identities: np.ndarray, styles: np.ndarray, title: str
) -> Figure:
    """Plots swaps of given images.

    Args:
        inputs: Of the figures.
        identities: Positions of the test images that give the identities.
        styles: Positions of those that give the styles.
        title: First line of the title.
    """
    s, z = inputs.code("specified", identities), inputs.code("unspecified", styles)
    generated = inputs.decode_all(s, z)
    asked = inputs.data.labels[identities]
    read = inputs.read(generated.reshape(-1, *generated.shape[2:])).reshape(generated.shape[:2])
    misread = {
        (int(row), int(column)): inputs.class_names[read[row, column]]
        for row, column in np.argwhere(read != asked)
    }
    title += f"\nframed: the classifier reads another class, {len(misread)} of {read.size}"
    if (classes := len(np.unique(inputs.data.labels))) > COLUMNS:
        title += f"; {COLUMNS} of {classes} classes"
    names = [inputs.class_names[c] for c in asked]
    sources = inputs.images(identities), inputs.images(styles)
    return swap_grid(*sources, generated, names, misread, title)


def plot_style_variation(inputs: FigureInputs) -> Figure:
    """Plots images of some classes moved along the directions of style that change them most."""
    groups = inputs.data.labels[inputs.candidates]
    order = spread_classes(np.unique(groups), VARIED)
    rows = inputs.candidates[choose_typical(inputs.looks, groups, order)]
    moved, positions = inputs.moved(inputs.code("unspecified", rows), inputs.params.sweep_steps)
    s = inputs.code("specified", rows).repeat_interleave(moved[0, ..., 0].size, dim=0)
    sweeps = inputs.decode(s, torch.from_numpy(moved.reshape(len(s), -1).astype(np.float32)))
    _, names = inputs.directions
    title = f"One style moved at a time, identity held ({inputs.name})\n{len(names)} of the "
    title += "directions that change an image most, in standard deviations over the data"
    shape = (*moved.shape[:3], *sweeps.shape[1:])
    return style_variation(inputs.images(rows), sweeps.reshape(shape), names, positions, title)


def plot_slider(inputs: FigureInputs) -> Iterator[np.ndarray]:
    """Yields the frames of one style moving while classes' identities follow."""
    identities, _ = swap_sources(inputs)
    mean = torch.from_numpy(inputs.codes["unspecified_mean"].mean(axis=0, keepdims=True))
    moved, _ = inputs.moved(mean, FRAMES)
    moved = moved[0, :ANIMATED]
    styles = torch.from_numpy(moved.reshape(-1, moved.shape[-1]).astype(np.float32))
    images = inputs.decode_all(inputs.code("specified", identities), styles)
    _, names = inputs.directions
    return slider_frames(images.reshape(*moved.shape[:2], *images.shape[1:]), names[:ANIMATED])


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


def plot_confusions(inputs: FigureInputs) -> Figure:
    """Plots which classes are confused in swaps, with images of it."""
    matrices = read_swaps(inputs.class_names)
    labels = inputs.data.labels
    count = TRIED // inputs.data.images[0].size
    pairs = cross_class_pairs(labels, count, numpy_rng(inputs.params.seed, "confusions"))
    images = inputs.decode(inputs.code("specified", pairs[0]), inputs.code("unspecified", pairs[1]))
    found = worst_confusions(
        matrices["mean"], inputs.class_names, images, labels[pairs[0]], inputs.read(images)
    )
    words = {
        "mean": "style of an image",
        "sampled": "sampled style",
        "prior": "style from the prior",
    }
    rates = [
        f"{words[kind]} {100 * (1 - np.trace(matrix) / max(1, matrix.sum())):.1f} %"
        for kind, matrix in matrices.items()
    ]
    title = f"Swaps of {inputs.name} that the classifier reads as another class\n{', '.join(rates)}"
    return confusion_figure(found, title)


def plot_metrics(metrics: dict[str, Any], labels: np.ndarray) -> Figure:
    """Tabulates the metrics that are shown in the figure; ``labels`` of the measured images."""
    title = f"{metrics['dataset']}, {metrics['split']} images: {metrics['verdict']}"
    title += ", by a quick evaluation" if "effort" in metrics else ""
    gates = {
        key.removeprefix("gate/"): said for key, said in metrics.items() if key.startswith("gate/")
    }
    for said in dict.fromkeys(gates.values()):
        title += f"\ngates {said}: {', '.join(name for name in gates if gates[name] == said)}"
    return metric_table(metric_rows(metrics, labels), title)


LEAKAGE = {
    "specified/probe_accuracy": "from s, where it should be",
    "leakage/mean": "from the means of z",
    "leakage/posterior": "from mean and variance of z",
    "leakage/sampled": "from a sample of z",
    "leakage/unseen": "from z of unseen images",
}


def plot_leakage(metrics: dict[str, Any], gate: float) -> Figure:
    """Plots how much of the class is read from each code; for MNIST beside a released model.

    Args:
        metrics: Results.
        gate: Bound on the leakage, as a share of what chance leaves.
    """
    released = released_values() if metrics["dataset"] == "mnist" else {}
    readings = []
    for key, words in LEAKAGE.items():
        if key in metrics:
            interval = interval_of(key, metrics)
            wanted = not key.startswith("leakage")
            published = None if wanted else released.get(key)
            readings.append(Reading(words, float(metrics[key]), interval, wanted, published))
    title = f"How much of the class is read from each code ({metrics['dataset']})"
    chance = float(metrics["leakage/chance"])
    return leakage_bars(readings, chance, chance + gate * (1 - chance), title)


def list_plots(
    inputs: FigureInputs, gate: float, dataset: Dataset
) -> dict[str, Callable[[], Figure]]:
    """All figures by name, each as a function that plots it."""
    metrics = read_json(METRICS)
    curves, title = read_curves(), f"Training on {inputs.name}"
    measured = dataset.splits[metrics["split"]].labels
    counts = np.bincount(dataset.train.labels)
    return {
        "reconstructions": lambda: plot_reconstructions(inputs),
        "swaps": lambda: plot_swaps(inputs),
        "style_variation": lambda: plot_style_variation(inputs),
        "tsne": lambda: plot_embedding(inputs),
        "swap_confusion": lambda: plot_confusions(inputs),
        "leakage": lambda: plot_leakage(metrics, gate),
        "metrics": lambda: plot_metrics(metrics, measured),
        "adversarial_loss": lambda: adversarial_curves(curves, counts, title),
        "reconstruction_loss": lambda: reconstruction_curves(curves, title),
    }


def run(bounds: EvaluationConfig, params: FiguresConfig, journal: "Journal") -> dict[str, Any]:
    """Writes ``reports/figures/``.

    Args:
        bounds: Section ``evaluate``, of which the gate on leakage is shown.
        params: Section ``visualize``.
        journal: Of the stage.

    Returns:
        SHA-256 of the model's weights (``model``) and the names of the files (``figures``).

    Raises:
        ArtifactError: an input is missing or damaged, or the codes belong to another model.
        ValueError: the metrics belong to another model.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    model, digest = DisentanglingVAE.load(MODEL), weights_digest(MODEL)
    codes, results = read_codes("test", digest), read_json(METRICS)
    if results.get("model/digest") != digest:
        raise ValueError(
            f"{METRICS} is of the model {results.get('model/digest')}, expected those of {digest} "
            f"in {MODEL}: run the stage evaluate"
        )
    test = dataset.test
    classifier, _ = read_classifier(CLASSIFIER, test.image_shape, test.class_count, CPU)
    inputs = FigureInputs(model, classifier, codes, dataset, params)
    journal.begin(dataset, {"model": digest})
    paths = []
    with atomic_folder(FIGURES) as folder:
        plots = list_plots(inputs, bounds.gates.leakage, dataset)
        weights = [TSNE_WEIGHT if name == "tsne" else 1.0 for name in plots]
        for name, plot in followed(plots.items(), "plotting", len(plots), weights):
            paths.append(write_figure(name, plot(), folder))
        paths.append(write_animation("slider", plot_slider(inputs), folder))
    return {"model": digest, "figures": [path.name for path in paths]}
