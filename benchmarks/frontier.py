"""The trade-off between leakage of the class into z, style kept and reconstruction.

``python -m benchmarks.frontier`` trains the default under several weights of the divergence and
fits the class transport to each model under several alignment weights: the two weights that trade
leakage for something else. Everything is measured on 5,000 held-out training images; test images
are not used. Three quarters of an hour on two cores; on an H100, if ``train.device`` finds one,
three minutes with ``--jobs 3``, which trains that many models at a time. Writes ``frontier.csv``
and ``frontier.png`` to ``benchmarks/latest``.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.defaults import configured
from benchmarks.measure import LATEST
from pipeline.params import load_params
from pipeline.stages.encode import encode_split
from pipeline.stages.prepare import VALIDATION
from vaegan.data import LabelledImages, stratified_subset
from vaegan.evaluation.classifier import Classifier, train_classifier
from vaegan.evaluation.description import Instruments
from vaegan.evaluation.images import image_metrics
from vaegan.evaluation.leakage import leakage
from vaegan.evaluation.probes import PANEL
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng
from vaegan.training.trainer import Trainer

HELD_OUT = 5000
DIVERGENCES = (0.7, 1.0, 1.4)  # of train.weights.unspecified_kl
ALIGNMENTS = (0.0, 0.25, 1.0, 4.0)  # of train.transport.alignment
# The panel's strongest probe on these codes, after a fast one of another kind.
PROBES = {name: PANEL[name] for name in ("quadratic", "perceptron")}
STYLES = ("slant", "thickness", "width")


def held_out(data: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """Splits training images into those kept and those that ``validation_size`` would hold out."""
    rows = stratified_subset(data.labels, HELD_OUT, numpy_rng(*VALIDATION))
    chosen = np.zeros(len(data), bool)
    chosen[rows] = True
    kept, out = (
        LabelledImages(np.array(data.images[mask]), data.labels[mask], data.class_count)
        for mask in (~chosen, chosen)
    )
    return kept, out


def encoded(model: DisentanglingVAE, data: LabelledImages) -> dict[str, np.ndarray]:
    """Returns the codes of images, by name, as the stage ``encode`` writes them."""
    batches = list(encode_split(model, data, 1000, next(model.parameters()).device))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def measured(
    model: DisentanglingVAE, classifier: Classifier, train: LabelledImages, out: LabelledImages
) -> dict[str, float]:
    """Computes leakage from means, swap identity, style kept, and reconstruction error."""
    codes, codes_out = encoded(model, train), encoded(model, out)
    z, z_out = codes["unspecified_mean"], codes_out["unspecified_mean"]
    read = leakage(z, codes["labels"], z_out, codes_out["labels"], train.class_count, 0, PROBES)
    with torch.inference_mode():
        instruments = Instruments(classifier, strokes=True, factors={})
        metrics, _, _ = image_metrics(model, instruments, out.images, codes_out, 10_000, 0, {})
    return {
        "leakage/mean": read.accuracy,
        **{f"swap/style_kept_{style}": metrics[f"swap/style_kept_{style}"] for style in STYLES},
        **{name: metrics[name] for name in ("swap/identity_accuracy", "reconstruction/mse")},
    }


def points(divergence: float) -> list[dict[str, float]]:
    """Returns a row per alignment weight, for one weight of the divergence."""
    params, dataset, device = configured(load_params().train.device)
    config = params.train
    train, out = held_out(dataset.train)
    classifier = train_classifier(train, steps=1500, seed=0, device=device)
    weights = replace(config.weights, unspecified_kl=divergence)
    trainer = Trainer(params.model, replace(config, weights=weights), train)
    for _ in trainer.run():
        pass
    fit, rows = config.transport, []
    for alignment in ALIGNMENTS:
        trainer.config = replace(config, transport=replace(fit, alignment=alignment))
        trainer.fit_transport()
        found = measured(trainer.model.eval(), classifier, train, out)
        rows.append({"unspecified_kl": divergence, "alignment": alignment} | found)
        print({name: round(value, 4) for name, value in rows[-1].items()}, flush=True)
    return rows


def all_points(jobs: int) -> Iterator[list[dict[str, float]]]:
    """Yields the rows of each divergence weight, each trained in its own process."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        yield from pool.map(points, DIVERGENCES)


def plot(curve: pd.DataFrame) -> Figure:
    """Plots leakage against its costs: a line per divergence weight, a point per alignment."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, 4)
    kept = {f"swap/style_kept_{style}": f"{style} kept (correlation)" for style in STYLES}
    titles = kept | {"reconstruction/mse": "squared error per pixel"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for divergence, line in curve.groupby("unspecified_kl"):
            label = f"unspecified_kl {divergence:g}"
            axes.plot(line["leakage/mean"], line[name], marker="o", markersize=4, label=label)
            for row in line.to_dict("records"):
                place = row["leakage/mean"], row[name]
                axes.annotate(f"{row['alignment']:g}", place, (3, 3), textcoords="offset points",
                              fontsize=7)  # fmt: skip
        axes.set(title=title, xlabel="class read from means of z")
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False, fontsize=8, title="points: alignment", title_fontsize=8)
    return figure


def main() -> None:
    """Writes the points as they are measured, and the figure at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="models trained at a time")
    LATEST.mkdir(exist_ok=True)
    rows: list[dict[str, float]] = []
    for found in all_points(parser.parse_args().jobs):
        rows += found
        pd.DataFrame(rows).round(5).to_csv(LATEST / "frontier.csv", index=False)
    plot(pd.DataFrame(rows)).savefig(LATEST / "frontier.png", dpi=120)


if __name__ == "__main__":
    main()
