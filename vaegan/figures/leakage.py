"""Bar chart of leakage from chance to 100 %, with published values and the gate."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from vaegan.figures.canvas import COLOURS, new_figure, plain
from vaegan.figures.numbers import written

KEY = "leakage/mean"  # whose unit all rows have
HEIGHT, TRACK = 0.42, "#e4e4e4"
GATE = "#D55E00"


@dataclass(frozen=True)
class Reading:
    """How much of the class is read from a code.

    Attributes:
        words: The code.
        value: Accuracy of the strongest probe, in [0, 1].
        interval: Ends of its 95 % interval, or None.
        wanted: Whether the class should be there.
        published: Name of another model, and the same accuracy of it; None if none is known.
    """

    words: str
    value: float
    interval: tuple[float, float] | None = None
    wanted: bool = False
    published: tuple[str, float] | None = None


def leakage_bars(readings: Sequence[Reading], chance: float, gate: float, title: str) -> Figure:
    """Plots how much of the class is read from each code, from chance to 100 %.

    Args:
        readings: One or more, from the top.
        chance: Accuracy of guessing the largest class, in [0, 1).
        gate: Bound on the first reading that is not wanted, in [0, 1].
        title: Title of the figure.

    Raises:
        ValueError: there is no reading, or chance is not in [0, 1).
    """
    if not readings or not 0 <= chance < 1:
        raise ValueError(f"expected readings and chance in [0, 1), got {len(readings)}, {chance}")
    figure = new_figure(9.2, 1.5 + 0.65 * len(readings), title)
    axes = figure.subplots()
    first = True
    for row, reading in enumerate(readings):
        axes.barh(row, 1 - chance, HEIGHT, left=chance, color=TRACK)
        colour = COLOURS[6] if reading.wanted else COLOURS[0]
        axes.barh(row, reading.value - chance, HEIGHT, left=chance, color=colour)
        if reading.interval is not None:
            axes.plot(reading.interval, [row, row], color="black", linewidth=2)
        text, _ = written(KEY, reading.value, reading.interval)
        inside = reading.value > (1 + chance) / 2
        axes.annotate(
            text,
            (reading.value, row),
            (-8 if inside else 8, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            color="white" if inside else "black",
            fontsize=11,
            fontweight="bold",
        )
        if reading.published is not None:
            name, value = reading.published
            below = row + HEIGHT / 2 + 0.14  # where no other number stands
            axes.plot(value, below, "D", color=COLOURS[1], markersize=7)
            label = f"{plain(name)} {written(KEY, value)[0]}"
            axes.annotate(
                label, (value, below), (8, 0), textcoords="offset points", va="center", fontsize=9
            )
        if not reading.wanted and first:
            first = False
            ends = [row - 0.42, row + 0.42]
            axes.plot([gate, gate], ends, color=GATE, linewidth=2)
            axes.annotate(
                f"gate ≤ {written(KEY, gate)[0]}",
                (gate, row - 0.42),
                (3, 0),
                textcoords="offset points",
                color=GATE,
                fontsize=9,
                va="top",
            )
    axes.set_yticks(range(len(readings)), [plain(r.words) for r in readings], fontsize=10)
    axes.set_xticks(
        [chance, 1.0], [f"chance\n{written(KEY, chance)[0]}", "everything\n100 %"], fontsize=10
    )
    axes.set(xlim=(chance, 1.0), ylim=(len(readings) - 0.5, -0.6))
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure
