"""Time to quality: seconds of training until the model is as good as a released one.

The default run, trained by the stage's own loop. The clock starts with the process, so imports
and set-up count; it is paused while quality is measured by the functions of the stage
``evaluate`` on the 10,000 test images. ``quality.csv`` and ``quality.png`` hold the curve.
"""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import psutil
from matplotlib.figure import Figure

from benchmarks.defaults import configured, make_trainer, run_stage_loop
from benchmarks.measure import LATEST, Result
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.stages.encode import encode_split
from vaegan.data import as_tensor
from vaegan.evaluation.classifier import Classifier, classify, train_classifier
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.metrics import Arrays
from vaegan.evaluation.probes import QUICK, accuracy
from vaegan.evaluation.swaps import cross_class_pairs, decode_in_batches
from vaegan.model.vae import DisentanglingVAE
from vaegan.rng import numpy_rng
from vaegan.training.trainer import Report, Trainer

BEFORE, AFTER = 500, 1000  # steps between measurements, before all is reached and afterwards
# (relation, bound) by metric: the released reimplementation, by Jha et al., of the model of Mathieu
# et al. (2016) with codes of 16 dimensions; its swaps, 0.954, are rounded down.
RELEASED = {
    "specified/probe_accuracy": (">=", 0.985),
    "leakage/sampled": ("<=", 0.668),
    "swap/identity_accuracy": (">=", 0.95),
}


def quality(
    model: DisentanglingVAE, classifier: Classifier, dataset: Dataset, params: EvaluationConfig
) -> dict[str, float]:
    """Computes the metrics in ``RELEASED`` for a model."""
    device = next(model.parameters()).device
    codes: dict[str, Arrays] = {}
    for split, data in dataset.splits.items():
        batches = list(encode_split(model, data, 1000, device))
        codes[split] = {k: np.concatenate([batch[k] for batch in batches]) for k in batches[0]}
    train, test = codes["train"], codes["test"]
    y, y_test = train["labels"], test["labels"]
    linear = QUICK["logistic"](train["specified_mean"], y, dataset.train.class_count, params.seed)
    noise = numpy_rng(params.seed, "quality-noise")
    z, z_test = (
        c["unspecified_mean"]
        + c["unspecified_std"] * noise.standard_normal(c["unspecified_std"].shape, dtype=np.float32)
        for c in (train, test)
    )
    leak = QUICK["perceptron"](z, y, dataset.train.class_count, params.seed)
    pairs = cross_class_pairs(y_test, params.swaps, numpy_rng(params.seed, "swaps"))
    s, style = (
        as_tensor(test[f"{name}_mean"][rows], device)
        for name, rows in zip(("specified", "unspecified"), pairs, strict=True)
    )
    seen = classify(classifier, decode_in_batches(model.decode, s, style)).classes
    return {
        "specified/probe_accuracy": accuracy(linear(test["specified_mean"]), y_test),
        "leakage/sampled": accuracy(leak(z_test), y_test),
        "swap/identity_accuracy": float((seen == y_test[pairs[0]]).mean()),
    }


def reached(metrics: dict[str, float]) -> bool:
    """Returns whether all numbers of the released model are reached."""
    return all(
        metrics[name] >= bound if relation == ">=" else metrics[name] <= bound
        for name, (relation, bound) in RELEASED.items()
    )


class Measured(Trainer):
    """A trainer that measures quality between its reports, on a paused clock."""

    def start(
        self, classifier: Classifier, dataset: Dataset, params: EvaluationConfig, paused: float
    ) -> None:
        """Sets the arguments of :func:`quality` and the seconds that do not count so far."""
        self.arguments, self.rows = (classifier, dataset, params), list[dict[str, float]]()
        self.paused = paused

    def run(self) -> Iterator[Report]:
        """Trains as usual; the stage's checkpoint and sample grid count, measuring does not."""
        for report in super().run():
            yield report
            every = AFTER if any(map(reached, self.rows)) else BEFORE
            if report.step % every == 0:
                self.measure()

    def measure(self) -> None:
        """Appends step, seconds of training so far and metrics to the rows."""
        begun = time.time()
        seconds = begun - psutil.Process().create_time() - self.paused
        self.model.eval()
        metrics = quality(self.model, *self.arguments)
        self.model.train()
        self.rows.append({"step": self.step, "seconds": seconds} | metrics)
        print({name: round(value, 4) for name, value in self.rows[-1].items()}, flush=True)
        self.paused += time.time() - begun


def plot(curve: pd.DataFrame) -> Figure:
    """Plots each metric against seconds, with the released model's number as a line."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = (
        "class read from s (linear) ↑",
        "class read from a sample of z ↓",
        "identity transfer ↑",
    )
    for axes, title, (name, (_, bound)) in zip(panels, titles, RELEASED.items(), strict=True):
        axes.plot(curve["seconds"], curve[name], marker="o", markersize=3, label="this project")
        label = f"Mathieu, reimplemented: {bound}"
        axes.axhline(bound, color="black", linestyle=":", linewidth=1, label=label)
        axes.set(title=title, xlabel="seconds of training", xlim=(0, None))
        axes.legend(frameon=False, fontsize=8)
    return figure


def train_measured(device: str, precision: str = "auto") -> list[dict[str, float]]:
    """Trains the default run; returns step, seconds and metrics of each measurement."""
    params, dataset, where = configured(device)
    begun = time.time()
    classifier = train_classifier(
        dataset.train, params.classifier.steps, params.classifier.seed, where
    )
    paused = time.time() - begun
    trainer = make_trainer(Measured, device, precision=precision)
    trainer.start(classifier, dataset, params.evaluate, paused)
    run_stage_loop(trainer, read_dataset())
    trainer.fit_transport()
    trainer.measure()
    return trainer.rows


def results(rows: list[dict[str, float]], most: float = 180.0) -> list[Result]:
    """Returns the rows: when the released numbers were reached for good, and the total time."""
    failed = [i for i, row in enumerate(rows) if not reached(row)]
    good = rows[failed[-1] + 1 :] if failed else rows
    name = "numbers of Mathieu, reimplemented: all reached and kept to the end (1: yes)"
    found = [Result(name, float(bool(good)), "", (">=", 1.0))]
    if good:
        seconds = good[0]["seconds"]
        found.append(Result("seconds of training until then", seconds, "s", ("<=", most)))
    name = "seconds of the whole default training"
    return [*found, Result(name, rows[-1]["seconds"], "s", ("<=", 600.0))]


def run() -> list[Result]:
    """Trains once, to the end, and writes the curve."""
    rows = train_measured("cpu")
    curve = pd.DataFrame(rows)
    LATEST.mkdir(exist_ok=True)
    curve.round(5).to_csv(LATEST / "quality.csv", index=False)
    plot(curve).savefig(LATEST / "quality.png", dpi=120)
    return results(rows)
