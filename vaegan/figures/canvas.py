"""The canvas that every figure starts from, and the colours and markers that all of them use."""

from matplotlib.figure import Figure

DPI = 100

# Paul Tol's "muted" qualitative scheme (personal.sron.nl/~pault), and a dark grey for a tenth.
COLOURS = ["#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255"]
COLOURS += ["#88CCEE", "#117733", "#999933", "#AA4499", "#555555"]
MARKERS = "os^DvPX<*>"


def new_figure(width: float, height: float, title: str) -> Figure:
    """Creates an empty figure of a size in inches, with a title above it."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure
