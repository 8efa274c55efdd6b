"""Stage visualize: plots the figures."""

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
from vaegan.figures import images as figures
from vaegan.figures import tables as charts
from vaegan.figures.config import FiguresConfig
from vaegan.figures.tsne import tsne
from vaegan.model.vae import DisentanglingVAE, weights_digest
from vaegan.rng import numpy_rng

if TYPE_CHECKING:  # no stage computes with the code of these
    from pipeline.journal import Journal

# What the table of metrics shows, in words.
HEADLINES = {
    "class in z": {
        "leakage/mean": "strongest probe on means",
        "leakage/mean_bits": "bits on means",
        "leakage/posterior": "strongest probe on mean and log-variance",
        "leakage/sampled": "strongest probe on samples",
        "leakage/unseen": "fitted on codes that the encoder never saw",
        "leakage/chance": "chance: majority class",
    },
    "s": {
        "specified/probe_accuracy": "class, linear probe",
        "specified/retrieval_map": "retrieval, mean average precision",
        "specified/style_r2": "style read from it, largest R\u00b2",
    },
    "swaps": {
        "swap/identity_accuracy": "show the identity asked for",
        "swap/style_source_rate": "show the style source's identity",
        "swap/sampled_identity_accuracy": "identity, sampled style",
        "swap/prior_identity_accuracy": "identity, style from the prior",
        "swap/style_kept_slant": "slant kept (correlation)",
        "swap/style_kept_thickness": "thickness kept",
        "swap/style_kept_width": "width kept",
    },
    "images": {
        "reconstruction/mse": "squared error per pixel",
        "reconstruction/psnr": "PSNR, dB",
        "reconstruction/ssim": "SSIM",
        "distance/frechet_swap_prior": "Fr\u00e9chet distance, judge's features: prior styles",
        "distance/frechet_real": "the same of two halves of real images",
        "diversity/prior": "diversity, prior styles / real",
    },
    "z": {
        "latent/active_units": "active units",
        "latent/kl": "KL, nats",
        "unspecified/style_r2": "style read from it, smallest R\u00b2",
    },
    "classifier": {"classifier/accuracy": "accuracy on real images"},
}
SWEEP_REACH = 3.0  # standard deviations to either side
BORROWED = 8  # styles borrowed from other images, beside the sweeps
GRID_COLUMNS = 8


class Drawing:
    """What the figures draw from: the model, the test images and their codes' means."""

    def __init__(self, model: DisentanglingVAE, dataset: Dataset, params: FiguresConfig) -> None:
        self.model = model
        self.name = dataset.name
        self.data = dataset.test
        self.class_names = dataset.description["class_names"]
        self.codes = read_codes("test", weights_digest(MODEL))
        self.params = params

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Test images at positions, float32 (N, C, H, W) in [0, 1]."""
        return to_unit_range(torch.from_numpy(self.data.images[rows])).numpy()

    def code(self, name: str, rows: np.ndarray) -> Tensor:
        """Means of the specified or the unspecified code at positions, float32 (N, D)."""
        return torch.from_numpy(self.codes[f"{name}_mean"][rows])

    def decode(self, specified: Tensor, unspecified: Tensor) -> np.ndarray:
        """Images drawn from codes, float32 (N, C, H, W) in [0, 1]."""
        with torch.inference_mode():
            return self.model.decode(specified, unspecified).numpy()

    def choose(self, purpose: str, count: int) -> np.ndarray:
        """``count`` positions of test images, at random but the same for the same seed."""
        rng = numpy_rng(self.params.seed, purpose)
        return rng.choice(len(self.data), size=min(count, len(self.data)), replace=False)


def reconstruction_figure(drawing: Drawing) -> Figure:
    """Originals beside reconstructions."""
    rows = drawing.choose("grid", drawing.params.grid_images)
    generated = drawing.decode(drawing.code("specified", rows), drawing.code("unspecified", rows))
    title = f"Test images of {drawing.name} and what their own codes give"
    return figures.reconstruction_grid(drawing.images(rows), generated, GRID_COLUMNS, title)


def style_sources(labels: np.ndarray, count: int) -> np.ndarray:
    """Positions of ``count`` images, one class after the other; none is its class's first.

    So every row of styles comes from another class as long as there are enough, and from
    another image than the one that lends its class's identity.
    """
    rounds = [np.flatnonzero(labels == c)[1:] for c in np.unique(labels)]
    most = max(map(len, rounds))
    in_turn = [places[turn] for turn in range(most) for places in rounds if turn < len(places)]
    return np.array(in_turn[:count], dtype=np.int64)


def swap_figure(drawing: Drawing) -> Figure:
    """Every class's identity in the style of some images."""
    identities = first_per_class(drawing.data.labels)
    styles = style_sources(drawing.data.labels, drawing.params.swap_styles)
    s = drawing.code("specified", identities)
    z = drawing.code("unspecified", styles)
    drawn = drawing.decode(s.repeat(len(z), 1), z.repeat_interleave(len(s), dim=0))
    drawn = drawn.reshape(len(z), len(s), *drawn.shape[1:])
    title = f"Identity by column, style by row ({drawing.name}, test images)"
    return figures.swap_grid(drawing.images(identities), drawing.images(styles), drawn, title)


def style_figure(drawing: Drawing) -> Figure:
    """One image's specified code under swept and under borrowed styles."""
    source = drawing.choose("style-source", 1)
    s, z = drawing.code("specified", source), drawing.code("unspecified", source)
    means = drawing.codes["unspecified_mean"]
    positions = np.linspace(-SWEEP_REACH, SWEEP_REACH, drawing.params.sweep_steps)
    values = means.mean(axis=0)[:, None] + means.std(axis=0)[:, None] * positions  # (Z, T)
    dims, steps = values.shape
    swept = z.repeat(dims * steps, 1)
    swept[torch.arange(dims * steps), torch.arange(dims).repeat_interleave(steps)] = (
        torch.from_numpy(values.ravel().astype(np.float32))
    )
    sweeps = drawing.decode(s.expand(len(swept), -1), swept)
    others = drawing.choose("style-borrowed", BORROWED + 1)
    others = others[others != source[0]][:BORROWED]
    borrowed = drawing.decode(s.expand(len(others), -1), drawing.code("unspecified", others))
    label = drawing.class_names[drawing.data.labels[source[0]]]
    return figures.style_variation(
        drawing.images(source)[0],
        sweeps.reshape(dims, steps, *sweeps.shape[1:]),
        positions,
        drawing.images(others),
        borrowed,
        f"Varying style factors with respect to a single image (a {label!r} of {drawing.name})",
    )


def embedding_figure(drawing: Drawing) -> Figure:
    """t-SNE of both codes."""
    params = drawing.params
    labels = drawing.data.labels
    rows = stratified_subset(labels, params.tsne_images, numpy_rng(params.seed, "tsne-images"))
    specified, unspecified = (
        tsne(drawing.code(name, rows).numpy(), params.tsne_perplexity, params.seed, params.threads)
        for name in ("specified", "unspecified")
    )
    title = f"t-SNE of the code means of {len(rows)} test images of {drawing.name}"
    return figures.embedding(specified, unspecified, labels[rows], drawing.class_names, title)


def metrics_figure(metrics: dict[str, Any]) -> Figure:
    """The metrics that matter first, with their intervals."""
    rows = []
    for group, names in HEADLINES.items():
        for name, words in names.items():
            if name in metrics:
                low, high = (metrics.get(f"interval/{name}_{end}") for end in ("low", "high"))
                interval = None if low is None or high is None else (float(low), float(high))
                rows.append((group, words, float(metrics[name]), interval))
    title = f"{metrics['dataset']}, {metrics['split']} images: {metrics['verdict']}"
    return charts.metric_table(rows, title)


def draw_all(drawing: Drawing) -> Iterator[tuple[str, Figure]]:
    """All figures by name."""
    yield "reconstructions", reconstruction_figure(drawing)
    yield "swaps", swap_figure(drawing)
    yield "style_variation", style_figure(drawing)
    yield "tsne", embedding_figure(drawing)
    title = f"What swaps of {drawing.name} show, in %, by where their style came from"
    names = {"mean": "style of an image", "sampled": "sampled style", "prior": "prior"}
    matrices = {names[kind]: matrix for kind, matrix in read_swaps(drawing.class_names).items()}
    yield "swap_confusion", charts.confusion_matrices(matrices, drawing.class_names, title)
    yield "metrics", metrics_figure(read_json(METRICS))
    curves = read_curves()
    yield (
        "adversarial_loss",
        figures.adversarial_curves(curves, drawing.data.class_count, f"Training on {drawing.name}"),
    )
    yield (
        "reconstruction_loss",
        figures.reconstruction_curves(curves, f"Training on {drawing.name}"),
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
    drawing = Drawing(DisentanglingVAE.load(MODEL), dataset, params)
    results, digest = read_json(METRICS), weights_digest(MODEL)
    if results.get("model/digest") != digest:
        raise ValueError(
            f"{METRICS} is of the model {results.get('model/digest')}, expected those of {digest} "
            f"in {MODEL}: run the stage evaluate"
        )
    journal.begin(dataset, {"model": digest})
    names = []
    with atomic_folder(FIGURES) as folder:
        for name, figure in draw_all(drawing):
            write_figure(name, figure, folder)
            names.append(name)
    return {"model": digest, "figures": names}
