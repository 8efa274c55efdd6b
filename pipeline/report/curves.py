"""Curves over each other as SVG that is part of a page: labelled at their ends, light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import escape

# Colours that colour-blind readers can tell apart (Okabe and Ito), by CSS class; with them dashes.
COLOURS = ("", "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 4")
WIDTH, HEIGHT = 540, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 168, 12, 40
POINTS = 200  # of a line at most
LABEL = 19  # characters of a label
LINE_HEIGHT = 17
RATIO = 30.0  # of the largest to the smallest value, from which the axis is logarithmic


@dataclass(frozen=True)
class Line:
    """A curve: its label, the place of its colour, and its points."""

    label: str
    place: int
    x: np.ndarray
    y: np.ndarray


def plot(title: str, lines: Sequence[Line]) -> str:
    """Returns SVG of curves over a common axis; labels are escaped."""
    finite = [np.isfinite(line.x) & np.isfinite(line.y) for line in lines]
    kept = [
        Line(line.label, line.place, *_thinned(line.x[ok], line.y[ok]))
        for line, ok in zip(lines, finite, strict=True)
        if ok.any()
    ]
    if not kept:
        return "<p>No numbers.</p>"
    values = np.concatenate([line.y for line in kept])
    log = bool(values.min() > 0 and values.max() > RATIO * values.min())
    across = _Axis(np.concatenate([line.x for line in kept]), LEFT, WIDTH - RIGHT, False)
    up = _Axis(values, HEIGHT - BOTTOM, TOP, log)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="curves" '
        f'aria-label="{escape(title)}: {escape(_spoken(kept))}">'
    ]
    for value in up.ticks():
        y = up.place(value)
        parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in across.ticks():
        x = across.place(value)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 20}" text-anchor="middle">{value:,.0f}</text>'
        )
    parts.append(
        f'<text x="{LEFT}" y="{HEIGHT - 3}">step{", on a logarithmic axis of values" * log}</text>'
    )
    for line in kept:
        path = "L".join(
            f"{across.place(x):.1f} {up.place(y):.1f}" for x, y in zip(line.x, line.y, strict=True)
        )
        dashes = f' stroke-dasharray="{COLOURS[line.place]}"' if COLOURS[line.place] else ""
        parts.append(f'<path class="curve c{line.place}" d="M{path}"{dashes}/>')
    for line, y in _labels(kept, up):
        text = line.label if len(line.label) <= LABEL else line.label[: LABEL - 1] + "…"
        parts.append(
            f'<text class="t{line.place}" x="{WIDTH - RIGHT + 6}" y="{y:.1f}">{escape(text)}</text>'
        )
    return "".join(parts) + "</svg>"


class _Axis:
    """Places numbers between two ends, in pixels."""

    def __init__(self, values: np.ndarray, first: float, last: float, log: bool) -> None:
        self.log, self.first, self.last = log, first, last
        self.low, self.high = self._scaled(values.min()), self._scaled(values.max())
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def place(self, value: float) -> float:
        share = (self._scaled(value) - self.low) / (self.high - self.low)
        return float(self.first + share * (self.last - self.first))

    def ticks(self) -> list[float]:
        """About four round numbers."""
        if self.log:
            powers = np.arange(np.floor(self.low), np.ceil(self.high) + 1)
            ticks = [10.0**power * step for power in powers for step in (1, 3)]
            return [tick for tick in ticks if self.low <= self._scaled(tick) <= self.high]
        rough = (self.high - self.low) / 4
        power = 10.0 ** np.floor(np.log10(rough))
        step = min((power * m for m in (1, 2, 5, 10)), key=lambda size: abs(size - rough))
        return [float(t) for t in np.arange(np.ceil(self.low / step) * step, self.high, step)]

    def _scaled(self, value: float) -> float:
        return float(np.log10(value)) if self.log else float(value)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 200 of the points, the first and the last among them."""
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int))
    return x[rows], y[rows]


def _labels(lines: Sequence[Line], up: _Axis) -> list[tuple[Line, float]]:
    """One label per colour at the end of its line, moved so that none covers another."""
    ends = {line.place: (line, up.place(float(line.y[-1]))) for line in reversed(lines)}
    placed: list[tuple[Line, float]] = []
    lowest = -np.inf
    for line, y in sorted(ends.values(), key=lambda end: end[1]):
        lowest = max(y + 4, lowest + LINE_HEIGHT)
        placed.append((line, lowest))
    over = max(0.0, lowest - (HEIGHT - 4)) if placed else 0.0
    return [(line, y - over) for line, y in placed]


def _spoken(lines: Sequence[Line]) -> str:
    """The last values in words, for whoever does not see the picture."""
    ends = {line.place: f"{line.label} ends at {line.y[-1]:.3g}" for line in reversed(lines)}
    return "; ".join(ends[place] for place in sorted(ends))
