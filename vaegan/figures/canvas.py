"""The canvas that every figure starts from, and the colours and markers that all of them use."""

from collections.abc import Sequence

from matplotlib.figure import Figure

DPI = 100
NAMED_CLASSES = 20  # classes that a figure names, or shows images of, at most
LONGEST_NAME = 16  # characters of a class's name

# Paul Tol's "muted" qualitative scheme (personal.sron.nl/~pault), and a dark grey for a tenth.
COLOURS = ["#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255"]
COLOURS += ["#88CCEE", "#117733", "#999933", "#AA4499", "#555555"]
MARKERS = "os^DvPX<*>"
MISREAD = "#D55E00"  # Okabe and Ito's vermilion (jfly.uni-koeln.de/color), on grey and black


def new_figure(width: float, height: float, title: str, dpi: int = DPI) -> Figure:
    """Creates an empty figure of a size in inches, with a title above it."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    figure.suptitle(plain(title), fontsize=12)
    return figure


def plain(text: str) -> str:
    """A user's text for matplotlib, which would set what stands between dollars as mathematics."""
    return text.replace("$", r"\$")


def shorten(name: str) -> str:
    """A name, shortened in the middle if it is long."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME // 2]}…{name[1 - LONGEST_NAME // 2 :]}"


def class_labels(class_names: Sequence[str]) -> list[str]:
    """Names of classes for matplotlib, long ones shortened."""
    return [plain(shorten(name)) for name in class_names]
