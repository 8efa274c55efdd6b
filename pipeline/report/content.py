"""Collects what the report says from the files on disk, and fills the page."""

import base64
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.dataset import UNSEEN, Dataset, read_dataset
from pipeline.artifacts.files import ArtifactError, read_json
from pipeline.artifacts.paths import CLASSIFIER, FIGURES, METRICS, MODEL
from pipeline.report import failures
from vaegan.evaluation.classifier import Classifier
from vaegan.evaluation.config import GateConfig
from vaegan.evaluation.metrics import HEADLINES, described_keys, find_metric
from vaegan.evaluation.verdict import GATES
from vaegan.model.vae import WEIGHTS_FILE, DisentanglingVAE, read_description, weights_digest

PAGE = Path(__file__).parent
SHARE = re.compile(r"leakage/(?!.*(_bits|standard_error|selection))|accuracy|_rate$|^control/")
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", None: ""}
VERDICTS = {
    "sound": "The numbers can be read: the probes and the classifier pass their own checks, swaps "
    "show identities, and both codes are used.",
    "degenerate": "A code is ignored or empty, so the model does not do what it is for.",
    "untrusted": "The probes or the classifier fail their own checks, so the numbers mean little.",
}
# Figures of the stage visualize, with what a person should look for.
FIGURE_WORDS = {
    "swaps": "Swaps: each column keeps an identity, each row a style. The class should be that of "
    "the image at the top, the style that of the image at the left.",
    "reconstructions": "Test images and what their own codes give.",
    "style_variation": "One identity, its style moved along each dimension.",
    "tsne": "t-SNE of both codes. The specified code should form islands of one class each; in the "
    "unspecified code the classes should mix.",
    "swap_confusion": "What the classifier reads in swaps, by the class that was asked for.",
    "reconstruction_loss": "Training: reconstruction. It should fall and level off.",
    "adversarial_loss": "Training: the adversaries. Both should stay away from zero.",
}
SHOWN_CLASSES = 100


def build_report(gates: GateConfig) -> str:
    """Returns the report on the model on disk; equal files give equal text.

    Args:
        gates: Bounds that a champion must meet.

    Raises:
        ArtifactError: an output of a stage is missing, damaged or of another model.
    """
    if not (MODEL / WEIGHTS_FILE).is_file():
        raise ArtifactError(f"there is no model in {MODEL}/: dvc repro trains one")
    results, digest = read_json(METRICS), weights_digest(MODEL)
    if results.get("model/digest") != digest:
        raise ArtifactError(f"{METRICS} is of another model than {MODEL}: run the stage evaluate")
    dataset, model = read_dataset(), DisentanglingVAE.load(MODEL)
    names = dataset.description["class_names"]
    split = str(results["split"])
    codes, data = read_codes(split, digest), dataset.splits[split]
    classifier, _ = Classifier.load(CLASSIFIER, "cpu")
    wrong, failed, tried = failures.wrong_swaps(model, classifier, codes, data, names)
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        results=results,
        verdict_words=VERDICTS.get(results["verdict"], ""),
        gates=describe_gates(results, gates),
        headlines=describe_headlines(results),
        probes=describe_probes(results),
        probes_chance=number("leakage/chance", results["leakage/chance"]),
        shape=f"(B, {', '.join(map(str, model.config.image_shape))})",
        controls=describe_controls(results),
        figures=_figures(),
        wrong=_tiles(wrong),
        failed=failed,
        tried=tried,
        worst=_tiles(failures.worst_reconstructions(model, codes, data)),
        card=describe_data(dataset),
        splits=_splits(dataset),
        about=read_description(MODEL)["about"],
        digests=_digests(dataset, results, digest),
    )


def number(key: str, value: float) -> str:
    """A metric as a person reads it: shares in per cent, the rest with three digits."""
    return f"{value:.1%}".replace("%", " %") if SHARE.search(key) else f"{value:.3g}"


def describe_gates(results: dict[str, Any], bounds: GateConfig) -> list[dict[str, str]]:
    """A row for each gate: what it asks for, what was measured, whether it was passed."""
    rows = []
    for name, gate in GATES.items():
        if f"gate/{name}" not in results:
            continue
        key, bound = gate.metrics[0], float(getattr(bounds, gate.bound))
        value = gate.value_of(results)
        rows.append(
            {
                "words": gate.words,
                "asked": f"{'≥' if gate.relation == '>=' else '≤'} {number(key, bound)}",
                "measured": number(key, value) if math.isfinite(value) else "not measured",
                "outcome": str(results[f"gate/{name}"]),
            }
        )
    return rows


def describe_headlines(results: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each headline metric: group, words, value, 95 % interval, better direction."""
    rows = []
    for key, metric in described_keys(HEADLINES, results):
        ends = [results.get(f"interval/{key}_{end}") for end in ("low", "high")]
        interval = " to ".join(number(key, end) for end in ends if end is not None)
        rows.append(
            {
                "group": metric.group,
                "words": metric.words_of(key, results),
                "value": number(key, results[key]),
                "interval": interval,
                "better": DIRECTIONS[metric.better],
            }
        )
    return rows


def describe_probes(results: dict[str, Any]) -> list[dict[str, Any]]:
    """A bar for each probe of the class in ``z``, from chance to 100 %, the strongest first."""
    chance = float(results["leakage/chance"])
    found = {
        key.removeprefix("leakage/mean_"): float(value)
        for key, value in results.items()
        if (metric := find_metric(key)) and metric.key == "leakage/mean_<probe>"
    }
    return [
        {
            "name": name.replace("_", " "),
            "value": number("leakage/mean", value),
            "share": round(100 * max(0.0, value - chance) / max(1e-9, 1 - chance), 1),
        }
        for name, value in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]


def describe_controls(results: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each control experiment of the probes, with what is expected of it."""
    return [
        {"words": metric.words, "value": number(key, value)}
        for key, value in results.items()
        if (metric := find_metric(key)) is not None and metric.group == "controls"
    ]


def describe_data(dataset: Dataset) -> dict[str, str]:
    """Facts about the data set: what ``dataset.json`` says in a word or a number."""
    shape = dataset.train.image_shape
    colour = "grey" if shape[0] == 1 else "colour"
    known = {
        name.replace("_", " "): str(value)
        for name, value in dataset.description.items()
        if isinstance(value, str | int) and value != ""
    }
    factors = {f"factor {name}": ", ".join(v) for name, v in dataset.factor_names.items()}
    card = known | {"images": f"{shape[1]} × {shape[2]}, {colour}"} | factors
    if names := dataset.unseen_classes:
        card["classes held out of the training"] = (
            f"{len(names)}, of {len(dataset.splits[UNSEEN])} images: "
            + ", ".join(names[:SHOWN_CLASSES])
            + (", ..." if len(names) > SHOWN_CLASSES else "")
        )
    return card


def _splits(dataset: Dataset) -> dict[str, Any]:
    """Images of each class in each split, for the first classes; none of unseen classes."""
    described = {n: split for n, split in dataset.description["splits"].items() if n != UNSEEN}
    names = dataset.description["class_names"]
    rows = [
        [name, *(described[split]["class_counts"][c] for split in described)]
        for c, name in enumerate(names[:SHOWN_CLASSES])
    ]
    total = ["all", *(described[split]["images"] for split in described)]
    left_out = len(names) - len(rows)
    return {"names": list(described), "rows": [*rows, total], "left_out": left_out}


def _digests(dataset: Dataset, results: dict[str, Any], model: str) -> dict[str, str]:
    arrays = dataset.description["splits"]["train"]["arrays"]
    return {
        "the weights": model,
        "the training images": arrays["images"]["sha256"],
        "the classifier": str(results.get("classifier/digest")),
        "how it was measured": str(results.get("protocol")),
    }


def _figures() -> list[dict[str, str]]:
    """The figures that are on disk, as data addresses, each with its words."""
    found = []
    for name, words in FIGURE_WORDS.items():
        path = FIGURES / f"{name}.png"
        if path.is_file():
            found.append({"name": name, "words": words, "source": _address(path.read_bytes())})
    return found


def _tiles(found: list[failures.Failure]) -> list[dict[str, str]]:
    """Each failure as one picture: its images side by side."""
    return [{"words": f.words, "source": _address(_side_by_side(f.images))} for f in found]


def _side_by_side(images: list[np.ndarray]) -> bytes:
    pixels = (np.concatenate(images, axis=2) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _address(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
