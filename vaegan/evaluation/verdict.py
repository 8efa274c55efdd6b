"""The verdict on a model, and the gates: what holds of it, each property by its own bound.

``sound`` says that the numbers can be read: the probes and the classifier work, swaps show some
identity, and both codes are used. Whether the codes are disentangled is what the gates say.
"""

import math

from vaegan.evaluation.codes import failed_controls, highest_by_chance
from vaegan.evaluation.config import GateConfig
from vaegan.evaluation.gates import GATES, Gate
from vaegan.evaluation.metrics import Metrics

PASSED, MISSED, NOT_APPLIED = "passed", "missed", "not applied"
SOUND, DEGENERATE, UNTRUSTED = "sound", "degenerate", "untrusted"
SAME_IMAGE = 0.01  # diversity of swaps within a class, relative to real images
NOTHING_KEPT = 0.1  # correlation of style, below which swaps of a failed model keep none


def verdict(metrics: Metrics, degenerate_below: float) -> tuple[str, str]:
    """Decides whether a model is sound, degenerate or untrusted; returns the word and a sentence.

    Untrusted: the probes failed their control experiments, so their leakage means nothing, or the
    classifier recognises too few real images to tell what generated ones show. Degenerate: swaps
    do not show the identity of their specified code, or no more often than by chance, or the
    unspecified code is empty.
    """
    if failed := failed_controls(metrics):
        return UNTRUSTED, f"probes failed on controls: {', '.join(failed)}"
    transfer, source = metrics["swap/identity_accuracy"], metrics["swap/style_source_rate"]
    shown = (
        f"{transfer:.1%} of swapped images show the identity of their specified code, "
        f"{source:.1%} that of their style's source"
    )
    recognised = metrics.get("classifier/accuracy", 1.0)
    if recognised < degenerate_below:
        return UNTRUSTED, (
            f"{shown}, but the classifier recognises {recognised:.1%} of real images only, so what "
            "swaps show is not known. More classifier.steps may be needed"
        )
    finding = _find_degeneration(metrics, degenerate_below)
    return (SOUND, shown) if finding is None else (DEGENERATE, f"{shown}: {finding}")


def _find_degeneration(metrics: Metrics, degenerate_below: float) -> str | None:
    """Names what is ignored or empty, and a remedy; None if nothing is."""
    transfer, source = metrics["swap/identity_accuracy"], metrics["swap/style_source_rate"]
    style_empty = metrics.get("latent/active_units") == 0
    no_unit = "style ignored, the unspecified code has no active unit"
    chance = highest_by_chance(metrics)
    shown_by_chance = transfer <= chance < 1  # of two classes, half of the swaps are
    if transfer >= degenerate_below and not shown_by_chance:
        if not style_empty:
            return None
        return f"{no_unit}. A lower train.weights.unspecified_kl may keep information in it"
    probe = metrics.get("specified/probe_accuracy", 1.0)
    if probe <= chance < 1:
        untold = f"the specified code does not tell the class (linear probe {probe:.1%})"
        # Of pictures no style is measured.
        kept = max((metrics[key] for key in GATES["style"].metrics if key in metrics), default=1.0)
        if style_empty or kept < NOTHING_KEPT:
            empty = (
                "the unspecified code has no active unit"
                if style_empty
                else f"no style is kept (largest correlation {kept:.2f})"
            )
            return (
                f"nothing in the codes, {untold} and {empty}. Training collapsed; a lower "
                "train.lr, or lower KL weights in train.weights, may prevent that"
            )
        return (
            f"identity ignored, {untold}. A lower train.lr or train.weights.specified_kl may keep "
            "it there"
        )
    if style_empty:
        return (
            f"{no_unit}, and most swaps do not show the identity either. A lower train.lr or "
            "train.weights.unspecified_kl may help"
        )
    if source > transfer:
        return (
            "identity ignored, the decoder takes the class from the unspecified code and ignores "
            "the specified one. A higher train.weights.confusion, or more train.critic_steps, "
            "takes the class out of it"
        )
    if metrics.get("diversity/mean", 1.0) < SAME_IMAGE:
        return (
            "both codes ignored, the decoder generates nearly the same image whatever they are. A "
            "lower train.lr, or more train.steps, may be needed"
        )
    share = "no more than by chance" if shown_by_chance else "most show neither"
    return f"{share}. More train.steps may be needed"


def required_bounds(bounds: GateConfig, strokes: bool = True) -> dict[str, tuple[str, float]]:
    """Bounds that a champion must meet, ``(">=" or "<=", bound)`` by metric.

    Args:
        bounds: Of the parameters.
        strokes: Whether the images are strokes, whose style is measured.
    """
    return {
        key: (gate.relation, getattr(bounds, gate.bound))
        for gate in GATES.values()
        if strokes or not gate.strokes_only
        for key in gate.metrics
    }


def gates_passed(metrics: Metrics, word: str, required: dict[str, tuple[str, float]]) -> str:
    """Returns "passed", or the first gate that is not passed, in words.

    Args:
        metrics: By name.
        word: The verdict, which has to be "sound".
        required: ``(">=" or "<=", bound)`` by metric.
    """
    if word != SOUND:
        return f"the verdict is {word}"
    for name, (relation, bound) in required.items():
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            return f"{name} is {value}, expected a number {relation} {bound}"
        if not _meets(value, relation, bound):
            return f"{name} is {value:.4f}, expected {relation} {bound}"
    return PASSED


def gate_statements(
    metrics: Metrics, word: str, bounds: GateConfig, strokes: bool = True
) -> dict[str, str]:
    """States of each gate whether it is passed, missed or not applied, by ``gate/<name>``.

    All are "untrusted" if the verdict is: the metrics mean nothing then.

    Args:
        metrics: By name.
        word: The verdict.
        bounds: Of the parameters.
        strokes: Whether the images are strokes, whose style is measured.
    """
    return {
        f"gate/{name}": word if word == UNTRUSTED else _state(gate, metrics, bounds, strokes)
        for name, gate in GATES.items()
    }


def describe_gates(metrics: Metrics, bounds: GateConfig, strokes: bool = True) -> str:
    """One sentence: each property with its number, its bound, and whether it holds."""
    parts = []
    for gate in GATES.values():
        value, state = gate.value_of(metrics), _state(gate, metrics, bounds, strokes)
        number = f"{value:.3f}" if math.isfinite(value) else "not measured"
        why = f"{number}, expected {gate.relation} {getattr(bounds, gate.bound):g}"
        if state == NOT_APPLIED:
            why = "measured of grey strokes only"
        parts.append(f"{gate.words} {state} ({why})")
    return f"Gates: {', '.join(parts)}"


def _state(gate: Gate, metrics: Metrics, bounds: GateConfig, strokes: bool) -> str:
    if gate.strokes_only and not strokes:
        return NOT_APPLIED
    met = _meets(gate.value_of(metrics), gate.relation, getattr(bounds, gate.bound))
    return PASSED if met else MISSED


def _meets(value: float, relation: str, bound: float) -> bool:
    return value >= bound if relation == ">=" else value <= bound
