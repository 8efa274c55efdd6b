"""Properties that all figures share."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from tests.vaegan.figures.examples import curves, noise, points, style_parts
from vaegan.figures.curves import adversarial_curves, reconstruction_curves
from vaegan.figures.images import reconstruction_grid, style_variation, swap_grid
from vaegan.figures.tables import confusion_matrices, metric_table
from vaegan.figures.tsne import embedding_figure


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


FIGURES: dict[str, Callable[[], Figure]] = {
    "reconstruction_grid": lambda: reconstruction_grid(noise(7), noise(7), 3, "title"),
    "swap_grid": lambda: swap_grid(noise(4), noise(3), noise(3, 4), "title"),
    "style_variation": lambda: style_variation(**style_parts(), title="title"),
    "embedding_figure": lambda: embedding_figure(*points(), ["a", "b", "c"], "title"),
    "adversarial_curves": lambda: adversarial_curves(curves(), np.full(10, 6), "title"),
    "reconstruction_curves": lambda: reconstruction_curves(curves(), "title"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_equal_input_gives_equal_bytes_under_its_title(name: str) -> None:
    first, second = FIGURES[name](), FIGURES[name]()
    assert first.get_suptitle() == "title"
    assert png(first) == png(second)


NASTY = [r"a$_$b", r"$5 ... $10", r"\$_\$"]
NAMED: dict[str, Callable[[str], Figure]] = {
    "title": lambda text: swap_grid(noise(4), noise(3), noise(3, 4), text),
    "legend": lambda text: embedding_figure(*points(), [text, "b", "c"], "title"),
    "matrix": lambda text: confusion_matrices({"prior": np.eye(2, dtype=int)}, [text, "b"], ""),
    "table": lambda text: metric_table([("known style", text, 0.5, None)], "title"),
}


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("place", NAMED)
def test_a_users_text_is_shown_as_it_is_written(monkeypatch, place: str, text: str) -> None:
    drawn = []  # texts, each with whether it is set as mathematics
    monkeypatch.setattr(
        RendererAgg,
        "draw_text",
        lambda self, gc, x, y, s, *_, ismath, **__: drawn.append((s, ismath)),
    )
    png(NAMED[place](text))
    assert (text, False) in drawn


@pytest.mark.parametrize("name", FIGURES)
def test_figure_fits_a_page_and_its_text_is_legible_inside_it(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    assert 600 <= width <= 1000
    for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")):
        if text.get_text() and text.get_visible():
            assert text.get_fontsize() >= 9
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
