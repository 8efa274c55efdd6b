"""Rows of the report's tables: metrics, gates, probes and the data set, in words."""

import math
import re
from collections.abc import Mapping
from typing import Any

from pipeline.artifacts.dataset import UNSEEN, Dataset
from vaegan.evaluation.config import GateConfig
from vaegan.evaluation.gates import GATES
from vaegan.evaluation.metrics import HEADLINES, described_keys, find_metric

SHARE = re.compile(r"leakage/(?!.*(_bits|standard_error|selection))|accuracy|_rate$|^control/")
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", None: ""}
SHOWN_CLASSES = 100


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


def describe_headlines(
    results: dict[str, Any], other: Mapping[str, Any] | None = None
) -> list[dict[str, str]]:
    """A row for each headline metric.

    Args:
        results: Of the model.
        other: Of another model, for the column ``other``.

    Returns:
        Group, words, value, 95 % interval, better direction and the other model's value.
    """
    rows = []
    for key, metric in described_keys(HEADLINES, results):
        ends = [results.get(f"interval/{key}_{end}") for end in ("low", "high")]
        beside = (other or {}).get(key)
        rows.append(
            {
                "group": metric.group,
                "words": metric.words_of(key, results),
                "value": number(key, results[key]),
                "interval": " to ".join(number(key, end) for end in ends if end is not None),
                "better": DIRECTIONS[metric.better],
                "other": "" if beside is None else number(key, float(beside)),
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


def describe_group(results: dict[str, Any], group: str) -> list[dict[str, str]]:
    """A row for each metric of a group, such as the probes' controls."""
    rows = []
    for key, value in results.items():
        metric = find_metric(key)
        if metric is not None and metric.group == group:
            words = metric.words_of(key, results)
            rows.append({"words": words, "value": number(key, value)})
    return rows


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


def count_classes(dataset: Dataset) -> dict[str, Any]:
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
