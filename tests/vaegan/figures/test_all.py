"""Properties that all figures share."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from tests.vaegan.figures.examples import (
    confusions,
    curves,
    noise,
    points,
    readings,
    style_parts,
)
from vaegan.figures.curves import adversarial_curves, reconstruction_curves
from vaegan.figures.errors import Confusion, confusion_figure
from vaegan.figures.images import reconstruction_grid, swap_grid
from vaegan.figures.leakage import Reading, leakage_bars
from vaegan.figures.styles import style_variation
from vaegan.figures.tables import Row, metric_table
from vaegan.figures.tsne import embedding_figure


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def swaps(title: str, *names: str, misread: str = "b") -> Figure:
    return swap_grid(
        noise(len(names)), noise(3), noise(3, len(names)), names, {(1, 0): misread}, title
    )


FIGURES: dict[str, Callable[[], Figure]] = {
    "reconstruction_grid": lambda: reconstruction_grid(noise(7), noise(7), 3, "title"),
    "swap_grid": lambda: swaps("title", "a", "b", "c", "d"),
    "style_variation": lambda: style_variation(**style_parts(), title="title"),
    "embedding_figure": lambda: embedding_figure(*points(), ["a", "b", "c"], "title"),
    "confusion_figure": lambda: confusion_figure(confusions(), "title"),
    "leakage_bars": lambda: leakage_bars(readings(), 0.1, 0.35, "title"),
    "metric_table": lambda: metric_table([Row("z", "leakage", "22 %")], "title"),
    "adversarial_curves": lambda: adversarial_curves(curves(), np.full(10, 6), "title"),
    "reconstruction_curves": lambda: reconstruction_curves(curves(), "title"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_equal_input_gives_equal_bytes_under_its_title(name: str) -> None:
    first, second = FIGURES[name](), FIGURES[name]()
    assert first.get_suptitle() == "title"
    assert png(first) == png(second)


NASTY = [r"a$_$b", r"$5..$10", r"\$_\$", "_é$x$"]
NAMED: dict[str, Callable[[str], Figure]] = {
    "title": lambda text: swaps(text, "a", "b", "c", "d"),
    "class of an identity": lambda text: swaps("", text, "b", "c", "d"),
    "class that is read": lambda text: swaps("", "a", "b", "c", "d", misread=text),
    "legend": lambda text: embedding_figure(*points(), [text, "b", "c"], "title"),
    "direction": lambda text: style_variation(**(style_parts() | {"names": [text, "b"]}), title=""),
    "table": lambda text: metric_table([Row("known style", text, "0.5", beside="chance")], ""),
    "reading": lambda text: leakage_bars([Reading(text, 0.5)], 0.1, 0.3, ""),
}


def clusters() -> tuple[np.ndarray, None, np.ndarray]:
    labels = np.arange(40) % 2
    return 100.0 * labels[:, None] + np.random.default_rng(0).normal(size=(40, 2)), None, labels


@pytest.mark.parametrize("text", NASTY)
def test_the_name_on_a_cluster_is_shown_as_it_is_written(text: str) -> None:
    named = embedding_figure(*clusters(), [text, "b"], "title").axes[0].texts
    assert {name.get_text() for name in named} == {text.replace("$", r"\$"), "b"}


def test_both_classes_of_a_confusion_are_shown_as_they_are_written() -> None:
    figure = confusion_figure([Confusion("$a$", "_b", 1, 0.1, noise(1))], "")
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text() == r"\$a\$ read as _b"


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
