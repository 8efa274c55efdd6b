"""Strength and cost of the probes that measure leakage.

Strength: the share of a planted leak that the panel recovers, of what the best possible probe
reads above chance; and how much the headline changes, in standard errors, if the perceptrons are
twice as wide, may train twice as long or are twice as many, and that of all codes instead of half.
Cost: seconds of all probes and controls on codes of 10, 100 and 1,000 classes.
"""

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.defaults import configured
from benchmarks.measure import Result
from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.paths import MODEL
from vaegan.evaluation import controls, probes
from vaegan.evaluation.codes import control_metrics, probe_metrics
from vaegan.evaluation.leakage import leakage
from vaegan.evaluation.metrics import Arrays
from vaegan.model.vae import weights_digest

TRAIN, TEST, CLASSES = 60_000, 10_000, 10
MANY_TESTS = 100_000  # of planted codes, so that the share recovered is not noise
Plant = Callable[..., tuple[np.ndarray, np.ndarray]]
Codes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # with labels: to fit on, to test on
# Words, how the class is planted, its size, whether behind a flow, and the share to recover.
PLANTED: tuple[tuple[str, Plant, float, bool, float], ...] = (
    ("a shift of 0.1", controls.class_in_a_shift, 0.1, False, 0.8),
    ("a correlation of 0.5", controls.class_in_a_product, 0.5, False, 0.7),
    ("a shift of 0.3 behind a flow", controls.class_in_a_shift, 0.3, True, 0.7),
    ("a correlation of 0.9 behind a flow", controls.class_in_a_product, 0.9, True, 0.5),
)
DOUBLED = {"wide": ("WIDTH",), "long": ("ROUNDS", "PATIENCE"), "many": ("NETWORKS",)}
SECONDS = {10: 120.0, 100: 240.0, 1000: 600.0}  # at most, by number of classes


def planted(plant: Plant, size: float, flow: bool, tests: int) -> tuple[Codes, float]:
    """Returns codes with a planted class, and the accuracy of the best possible probe."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=TRAIN + tests)
    codes, log_likelihood = plant(labels, CLASSES, size, rng)
    if flow:
        codes = controls.behind_a_flow(codes, rng)
    best = (log_likelihood[TRAIN:].argmax(axis=1) == labels[TRAIN:]).mean()
    return (codes[:TRAIN], labels[:TRAIN], codes[TRAIN:], labels[TRAIN:]), float(best)


def headline(codes: Codes, **constants: Any) -> float:
    """The accuracy of the panel, with some constants of the probes replaced."""
    with mock.patch.multiple(probes, PANEL=probes.PANEL, **constants):
        return leakage(*codes, CLASSES, 0).accuracy


def strength() -> list[Result]:
    """Shares recovered of planted leaks."""
    results = []
    for words, plant, size, flow, share in PLANTED:
        codes, best = planted(plant, size, flow, MANY_TESTS)
        found = (headline(codes) - 1 / CLASSES) / (best - 1 / CLASSES)
        results.append(Result(f"share recovered of {words}", found, target=(">=", share)))
    return results


def convergence(words: str, codes: Codes) -> list[Result]:
    """Changes of the headline on doubling, in standard errors."""
    found = headline(codes)
    error = np.sqrt(found * (1 - found) / len(codes[3]))
    half = headline((codes[0][::2], codes[1][::2], *codes[2:]))
    changes = {
        f"twice as {word}": headline(codes, **{name: 2 * getattr(probes, name) for name in names})
        - found
        for word, names in DOUBLED.items()
    } | {"all codes instead of half": found - half}
    return [Result(f"{words}: accuracy of the panel", found)] + [
        Result(f"{words}: change in standard errors, {what}", change / error, target=("<=", 1.0))
        for what, change in changes.items()
    ]


def synthetic(class_count: int) -> tuple[Arrays, Arrays]:
    """Codes as ``encode`` writes them: the class in ``s``, and faintly in ``z``."""
    rng = np.random.default_rng(0)
    labels = rng.integers(class_count, size=TRAIN + TEST)
    s, _ = controls.class_in_a_shift(labels, class_count, 8.0, rng)
    z, _ = controls.class_in_a_shift(labels, class_count, 0.3, rng)
    arrays = {
        "specified_mean": s,
        "unspecified_mean": z,
        "unspecified_std": np.full_like(z, 0.3),
        "labels": labels,
    }
    parts = slice(None, TRAIN), slice(TRAIN, None)
    train, test = ({name: array[part] for name, array in arrays.items()} for part in parts)
    return train, test


def cost() -> list[Result]:
    """Seconds of all probes and controls."""
    results = []
    for class_count, most in SECONDS.items():
        train, test = synthetic(class_count)
        begun = time.perf_counter()
        probe_metrics(train, test, class_count, 0, TRAIN)
        control_metrics(train, test, class_count, 0)
        taken = time.perf_counter() - begun
        words = f"probes and controls, {class_count:,} classes"
        results.append(Result(words, taken, "s", target=("<=", most)))
    return results


def run() -> list[Result]:
    """Measures planted leaks, the default's codes and synthetic ones."""
    configured()
    digest = weights_digest(MODEL)
    train, test = (read_codes(split, digest) for split in ("train", "test"))
    ours = tuple(np.array(c[k]) for c in (train, test) for k in ("unspecified_mean", "labels"))
    words, plant, size, flow, _ = PLANTED[-1]  # of which the perceptrons read most
    hidden, _ = planted(plant, size, flow, TEST)
    return (
        strength()
        + convergence(words, hidden)
        + convergence("the default", (ours[0], ours[1], ours[2], ours[3]))
        + cost()
    )
