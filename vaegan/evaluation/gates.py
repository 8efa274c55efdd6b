"""GATES: the properties that a champion must have, each measured by metrics with a bound."""

import math
from dataclasses import dataclass

from vaegan.evaluation.metrics import Metrics


@dataclass(frozen=True)
class Gate:
    """A property that a champion must have.

    Attributes:
        words: The property.
        relation: How its metrics must compare with the bound, ">=" or "<=".
        bound: Name of the bound in ``evaluate.gates``.
        metrics: Keys of the metrics that it is measured by; all must meet the bound.
        strokes_only: Whether it is applied to models of strokes only.
    """

    words: str
    relation: str
    bound: str
    metrics: tuple[str, ...]
    strokes_only: bool = False

    def value_of(self, metrics: Metrics) -> float:
        """The metric that is nearest to missing the bound; NaN if one is not measured."""
        values = [metrics.get(key, math.nan) for key in self.metrics]
        if not all(math.isfinite(value) for value in values):
            return math.nan
        return min(values) if self.relation == ">=" else max(values)


# By the name under which results state them: "gate/identity" is "passed" or "missed".
GATES = {
    "identity": Gate("identity shown", ">=", "transfer", ("swap/identity_accuracy",)),
    "specified": Gate("class in s", ">=", "specified", ("specified/probe_accuracy",)),
    "leakage": Gate("class gone from z", "<=", "leakage", ("leakage/excess",)),
    "style": Gate(
        "style kept", ">=", "style",
        ("swap/style_kept_slant", "swap/style_kept_thickness", "swap/style_kept_width"),
        strokes_only=True,
    ),
}  # fmt: skip
