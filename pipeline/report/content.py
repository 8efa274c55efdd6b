"""Collects what the report says from the outputs of the stages, and fills the page.

The page is an output that DVC hashes, so it says only what its inputs say. Left out is what changes
while they stay the same: commit, machine and time of the training, and the champion. The page names
the commands that tell these; ``python -m pipeline report -o FILE`` asks the tracking store and
writes a page that has them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

from pipeline.artifacts.classifiers import read_classifier
from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import ArtifactError, read_json
from pipeline.artifacts.paths import CLASSIFIER, FIGURES, METRICS, MODEL
from pipeline.report import failures, pictures, tables
from pipeline.report.pages import fill
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.config import GateConfig
from vaegan.model.vae import WEIGHTS_FILE, DisentanglingVAE, read_description, weights_digest

VERDICTS = {
    "sound": "The numbers can be read: the probes and the classifier pass their own checks, swaps "
    "show identities, and both codes are used.",
    "degenerate": "A code is ignored or empty, so the model does not do what it is for.",
    "untrusted": "The probes or the classifier fail their own checks, so the numbers mean little.",
}
# Figures of the stage visualize in the order of the page, with what a person should look for.
FIGURE_WORDS = {
    "swaps": "Swaps: each column keeps an identity, each row a style. The class should be that of "
    "the image at the top, the style that of the image at the left. Framed cells are read as "
    "another class.",
    "slider": "One style moves, and every identity follows.",
    "style_variation": "Identities held while one style moves at a time, along the directions that "
    "change an image most.",
    "leakage": "How much of the class is read from each code, from chance to everything.",
    "reconstructions": "Test images, each above what its own codes give.",
    "tsne": "t-SNE of both codes. The specified code should form islands of one class each; in the "
    "unspecified code the classes should mix.",
    "swap_confusion": "Swaps that the classifier reads as another class: which, how often, and how "
    "they look.",
    "reconstruction_loss": "Training: reconstruction. It should fall and level off.",
    "adversarial_loss": "Training: the adversaries. Both should stay away from zero.",
}
IN_TABLES = ("metrics",)  # figures of numbers that the page has as text


@dataclass(frozen=True)
class Inputs:
    """Outputs of the stages, all of one model."""

    results: dict[str, Any]
    digest: str
    dataset: Dataset
    model: DisentanglingVAE
    codes: dict[str, np.ndarray]
    classifier: Classifier

    @classmethod
    def read(cls) -> Self:
        """Reads them from disk.

        Raises:
            ArtifactError: an output is missing, damaged or of another model.
        """
        if not (MODEL / WEIGHTS_FILE).is_file():
            raise ArtifactError(f"there is no model in {MODEL}/: dvc repro trains one")
        results, digest = read_json(METRICS), weights_digest(MODEL)
        if results.get("model/digest") != digest:
            raise ArtifactError(f"{METRICS} is of another model than {MODEL}: run dvc repro")
        dataset = read_dataset()
        shape, classes = dataset.train.image_shape, dataset.train.class_count
        return cls(
            results,
            digest,
            dataset,
            DisentanglingVAE.load(MODEL),
            read_codes(str(results["split"]), digest),
            read_classifier(CLASSIFIER, shape, classes, torch.device("cpu"))[0],
        )


@dataclass(frozen=True)
class StoreFacts:
    """Facts of the tracking store, for a page that is no output of a stage.

    Attributes:
        champion: Name of the champion, such as "version 3"; empty if there is none to compare with.
        metrics: The champion's, by key.
        origin: Commit, machine and times of the model's run, by name.
    """

    champion: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


def build_report(inputs: Inputs, gates: GateConfig, store: StoreFacts | None = None) -> str:
    """Returns the page; equal arguments give equal text.

    Args:
        inputs: Outputs of the stages.
        gates: Bounds that a champion must meet.
        store: Facts of the tracking store; None for the page that is a stage's output.
    """
    results, dataset = inputs.results, inputs.dataset
    data = dataset.splits[str(results["split"])]
    wrong, failed, tried = failures.wrong_swaps(
        inputs.model, inputs.classifier, inputs.codes, data, dataset.description["class_names"]
    )
    worst = failures.worst_reconstructions(inputs.model, inputs.codes, data)
    return fill(
        "report.html",
        results=results,
        verdict_words=VERDICTS.get(results["verdict"], ""),
        outcome=summarize_gates(results),
        left_out=[part for part in results["left_out"].split("; ") if part != "nothing"],
        gates=tables.describe_gates(results, gates),
        store=store,
        headlines=tables.describe_headlines(results, store.metrics if store else None),
        probes=tables.describe_probes(results),
        probes_chance=tables.number("leakage/chance", results["leakage/chance"]),
        shape=f"(B, {', '.join(map(str, inputs.model.config.image_shape))})",
        controls=tables.describe_group(results, "controls"),
        factors=tables.describe_group(results, "known style"),
        figures=_figures(),
        wrong=_tiles(wrong),
        failed=failed,
        tried=tried,
        worst=_tiles(worst),
        card=tables.describe_data(dataset),
        notes=dataset.description.get("notes", []),
        splits=tables.count_classes(dataset),
        about=read_description(MODEL)["about"],
        digests=_digests(inputs),
    )


def summarize_gates(results: dict[str, Any]) -> str:
    """How many gates were passed, in words."""
    states = Counter(str(v) for key, v in results.items() if key.startswith("gate/"))
    applied = sum(states.values()) - states["not applied"]
    if missed := applied - states["passed"]:
        return f"{missed} of {applied} gates not passed"
    return "all gates passed" if applied else "gates not applied"


def _digests(inputs: Inputs) -> dict[str, str]:
    arrays = inputs.dataset.description["splits"]["train"]["arrays"]
    return {
        "the weights": inputs.digest,
        "the training images": arrays["images"]["sha256"],
        "the classifier": str(inputs.results.get("classifier/digest")),
        "the protocol of the evaluation": str(inputs.results.get("protocol")),
    }


def _figures() -> list[dict[str, str]]:
    """The figures that are on disk, as data addresses, each with its words."""
    known = {name: place for place, name in enumerate(FIGURE_WORDS)}
    paths = sorted(
        (
            path
            for path in FIGURES.glob("*")
            if path.suffix in pictures.KINDS and path.stem not in IN_TABLES
        ),
        key=lambda path: (known.get(path.stem, len(known)), path.name),
    )
    return [
        {"words": FIGURE_WORDS.get(path.stem, path.stem.replace("_", " ")), "source": source}
        for path, source in zip(paths, pictures.addresses(paths), strict=True)
    ]


def _tiles(found: list[failures.Failure]) -> list[dict[str, str]]:
    """Each failure as one picture: its images side by side."""
    return [{"words": f.words, "source": pictures.side_by_side(f.images)} for f in found]
