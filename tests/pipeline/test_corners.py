"""Whatever the schema allows runs to the last stage, or is refused before the first.

Each case sets every parameter to its smallest or its largest sensible value; together the cases
hold nearly all pairs of such values. ``CORNERS=100 pytest tests/pipeline/test_corners.py`` runs as
many cases instead of a few.
"""

import itertools
import json
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.curves import read_curves
from pipeline.artifacts.dataset import Split, write_dataset
from pipeline.artifacts.paths import CODES, METRICS, SWAPS
from pipeline.params import Params, checked, load_params, reader
from pipeline.report import failures
from pipeline.sections import flat
from pipeline.stages import classifier, encode, evaluate, report, train, visualize
from tests.conftest import CLASSES, draw_bars
from vaegan.data import LabelledImages
from vaegan.evaluation import intervals, probes
from vaegan.evaluation import style as style_measures

SHIPPED = Path(__file__).parents[2] / "params.yaml"
CASES = int(os.environ.get("CORNERS", "8"))
HUGE = 10**9
SEED = (0, 2**32 - 1)
DEVICE, THREADS = ("auto", "cpu"), (1, 2)
FRACTION, RATE, WEIGHT = (0.0, 1.0), (1e-9, 0.1), (0.0, 1e6)
# The smallest value, and the largest that is sensible for images as few and small as these.
CORNERS: dict[str, tuple[Any, Any]] = {
    "model.base_channels": (1, 6),
    "model.specified.dim": (1, 40),
    "model.specified.variational": (False, True),
    "model.specified.shared_variance": (False, True),
    "model.unspecified.dim": (1, 40),
    "model.unspecified.variational": (False, True),
    "model.unspecified.shared_variance": (False, True),
    "model.transport.layers": (0, 4),
    "model.transport.hidden": (1, 12),
    "train.seed": SEED,
    "train.steps": (1, 6),
    "train.pairs": (2, 140),  # more than there are images
    "train.adversarial_share": (1e-9, 1.0),
    "train.lr": RATE,
    "train.discriminator_lr": RATE,
    "train.critic_lr": RATE,
    "train.critic_steps": (1, 4),
    "train.supervision": ("labels", "pairs"),
    "train.mismatched": (False, True),
    "train.real_target": (0.5001, 1.0),
    "train.warmup_steps": (0, 1000),
    "train.report_every": (1, 1000),
    "train.device": DEVICE,
    "train.precision": ("float32", "bfloat16"),
    "train.threads": THREADS,
    "train.weights.reconstruction": WEIGHT,
    "train.weights.partner": WEIGHT,
    "train.weights.specified_kl": WEIGHT,
    "train.weights.unspecified_kl": WEIGHT,
    "train.weights.adversarial": WEIGHT,
    "train.weights.adversarial_prior": WEIGHT,
    "train.weights.confusion": WEIGHT,
    "train.weights.style_cycle": WEIGHT,
    "train.weights.cycle": WEIGHT,
    "train.weights.pair_kernel": WEIGHT,
    "train.transport.images": (100, HUGE),
    "train.transport.images_per_class": (2, HUGE),
    "train.transport.steps": (1, 5),
    "train.transport.batch": (2, 2000),
    "train.transport.lr": RATE,
    "train.transport.alignment": WEIGHT,
    "train.transport.changes": (1, 12),
    "train.transport.images_per_change": (2, 200),
    "train.transport.style_changes": ("pictures", "strokes"),
    "train.transport.mirror": (False, True),
    "encode.batch_size": (1, HUGE),
    "encode.device": DEVICE,
    "encode.threads": THREADS,
    "classifier.seed": SEED,
    "classifier.steps": (1, 12),
    "classifier.device": DEVICE,
    "classifier.threads": THREADS,
    "evaluate.seed": SEED,
    "evaluate.split": ("test", "validation"),
    "evaluate.test_images": (100, HUGE),
    "evaluate.probe_images": (100, HUGE),
    "evaluate.swaps": (100, 1000),
    "evaluate.effort": ("full", "quick"),
    "evaluate.degenerate_below": FRACTION,
    "evaluate.gates.transfer": FRACTION,
    "evaluate.gates.specified": FRACTION,
    "evaluate.gates.leakage": FRACTION,
    "evaluate.gates.style": FRACTION,
    "evaluate.champion_by": ("leakage/mean", "reconstruction/mse"),
    "evaluate.device": DEVICE,
    "evaluate.threads": THREADS,
    "visualize.seed": SEED,
    "visualize.grid_images": (1, 400),
    "visualize.swap_styles": (1, 20),
    "visualize.sweep_steps": (2, 41),
    "visualize.tsne_images": (50, 10_000),
    "visualize.tsne_perplexity": (1.001, 500.0),
    "visualize.threads": THREADS,
}
Choice = dict[str, int]


def test_every_parameter_has_corners_and_the_smallest_is_the_schemas():
    params = load_params(SHIPPED)
    assert list(CORNERS) == [key for key in flat(params) if not key.startswith("prepare.")]
    schema = reader().json_schema()

    def walk(definition: dict, prefix: str) -> None:
        for name, field in definition["properties"].items():
            if "$ref" in field:
                walk(schema["$defs"][field["$ref"].rpartition("/")[2]], f"{prefix}{name}.")
            elif "minimum" in field and f"{prefix}{name}" in CORNERS:
                assert CORNERS[f"{prefix}{name}"][0] == field["minimum"], f"{prefix}{name}"

    walk(schema, "")


def mended(choice: Choice) -> Choice:
    """Chooses other corners where the parameters would be refused together."""
    choice = dict(choice)
    if choice["train.supervision"]:
        choice["train.weights.confusion"] = 0
    own_variance = not choice["model.unspecified.shared_variance"]
    if choice["model.unspecified.variational"] and own_variance:
        choice["model.transport.layers"] = 0
    if not any(choice[key] for key in CORNERS if key.startswith("train.weights.")):
        choice["train.weights.partner"] = 1
    return choice


def pairs_of(choice: Choice) -> set[tuple]:
    return set(itertools.combinations(choice.items(), 2))


def choose_cases(count: int) -> list[Choice]:
    """Each case is, of some random ones, that with the most pairs that no other case has."""
    rng = random.Random(0)  # noqa: S311 (no secret)
    cases, covered = [], set[tuple]()
    for _ in range(count):
        random_ones = [mended({key: rng.randrange(2) for key in CORNERS}) for _ in range(40)]
        cases.append(max(random_ones, key=lambda choice: len(pairs_of(choice) - covered)))
        covered |= pairs_of(cases[-1])
    return cases


def params_of(choice: Choice) -> Params:
    """Parameters at these corners, checked as those of a file are."""
    content = asdict(load_params(SHIPPED))
    content["prepare"] |= {"dataset": "digits", "validation_size": 100}
    for key, which in choice.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = CORNERS[key][which]
    return checked(content, Path("params.yaml"))


def test_the_cases_hold_nearly_all_pairs_of_corners():
    cases = choose_cases(CASES)
    covered = set.union(*map(pairs_of, cases))
    assert len(covered) > 0.95 * 4 * len(CORNERS) * (len(CORNERS) - 1) / 2
    for case in cases:
        params_of(case)  # none is refused


class Unheard:
    """A journal that keeps nothing."""

    def begin(self, *_: Any) -> None: ...
    def report(self, *_: Any) -> None: ...
    def resumed(self, *_: Any) -> None: ...


def prepare(kind: str) -> None:
    """Writes data of few images: two classes, or five of which one is rare and one never occurs."""
    splits, names = {}, list("ab" if kind == "two classes" else "abcde")
    for seed, (split, count) in enumerate({"train": 130, "validation": 100, "test": 110}.items()):
        bars, _ = draw_bars(4 * count, seed)
        classes = 2 if kind == "two classes" else CLASSES
        rows = np.flatnonzero(bars.labels < classes)
        if kind != "two classes":  # one image of the last class to train on, none to test on
            last = np.flatnonzero(bars.labels == CLASSES - 1)
            rows = np.setdiff1d(rows, last if split == "test" else last[1:])
        rows = rows[:count]
        data = LabelledImages(bars.images[rows], bars.labels[rows], len(names))
        splits[split] = Split.from_images(data)
    write_dataset(splits, {"name": "bars", "class_names": names, "url": "https://example.org"})


def run_all(params: Params) -> dict[str, Any]:
    """Runs all stages after prepare; returns the summary of evaluate."""
    train.run(params.model, params.train, Unheard())
    encode.run(params.encode, Unheard())
    classifier.run(params.classifier)
    summary = evaluate.run(params.evaluate, Unheard())
    visualize.run(params.evaluate, params.visualize, Unheard())
    assert report.run(params.evaluate, Unheard())["bytes"] > 10_000
    return summary


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in strict JSON")


def check_outputs(params: Params, summary: dict[str, Any]) -> None:
    """No file holds a number that is none, and the results say what is missing."""
    results = json.loads(METRICS.read_text(), parse_constant=refuse)
    numbers = {key: value for key, value in results.items() if not isinstance(value, str)}
    assert all(np.isfinite(value) for value in numbers.values())
    assert results["verdict"] in ("sound", "degenerate", "untrusted")
    for probe in probes.PANEL:
        left_out = f"{probe} (" in results["left_out"].partition("leakage/mean without")[2]
        left_out |= params.evaluate.quick and probe not in probes.PLAIN
        assert (f"leakage/mean_{probe}" in numbers) != left_out
    assert np.isfinite(read_curves().to_numpy()).all()
    counts = [line.rsplit(",", 1)[1] for line in SWAPS.read_text().splitlines()[1:]]
    assert sum(map(int, counts)) == 3 * params.evaluate.limited().swaps
    for path in CODES.rglob("*.npy"):
        assert np.isfinite(np.load(path)).all()
    assert summary["verdict_reason"]


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A folder to run in; probes, intervals and figures that take less time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for module, name, value in (
        (probes, "ROUND_STEPS", 5),
        (probes, "ROUNDS", 2),
        (probes, "WIDTH", 8),
        (probes, "NETWORKS", 1),
        (probes, "TREES", 2),
        (style_measures, "FEATURES", 20),
        (intervals, "RESAMPLES", 20),
        (failures, "TRIED", 20),
    ):
        monkeypatch.setattr(module, name, value)

    def sized(name, figure, folder) -> Path:
        """Stands in for the writer, which takes a second for each figure."""
        assert (figure.get_size_inches() * figure.dpi < 2**16).all(), name  # as matplotlib demands
        for axes in figure.axes:
            assert axes.has_data() or axes.texts or axes.tables or "off" in axes.get_title(), name
        return folder / name

    monkeypatch.setattr(visualize, "write_figure", sized)


@pytest.mark.parametrize("number", range(CASES))
def test_a_corner_runs_to_the_last_stage(quick, number):
    params = params_of(choose_cases(CASES)[number])
    prepare("two classes" if number % 2 else "rare and absent classes")
    check_outputs(params, run_all(params))


def test_a_training_that_collapses_is_told_as_a_collapse(quick):
    """At a learning rate of 1 nothing is left in the codes; more steps would not help."""
    content = asdict(load_params(SHIPPED))
    content["prepare"]["dataset"] = "digits"
    content["model"]["base_channels"] = 4
    content["train"] |= {"lr": 1.0, "steps": 60, "pairs": 16, "warmup_steps": 5, "threads": 1}
    content["train"]["transport"] |= {"steps": 2, "batch": 64, "changes": 2}
    content["classifier"] |= {"steps": 60, "threads": 1}
    content["evaluate"] |= {"swaps": 200, "threads": 1}
    content["visualize"] |= {"tsne_images": 50, "threads": 1}
    params = checked(content, Path("params.yaml"))
    prepare("two classes")
    summary = run_all(params)
    check_outputs(params, summary)
    assert summary["verdict"] == "degenerate"
    assert "nothing in the codes" in summary["verdict_reason"]
    assert "train.steps" not in summary["verdict_reason"]
