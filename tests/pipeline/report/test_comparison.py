"""The page that compares runs, as text and in a browser."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.report import comparison
from pipeline.report.comparison import Compared, build_comparison
from tests.pipeline.browser import Visit

TITLES = {"leakage/mean": "leakage ↓", "reconstruction/mse": "MSE ↓"}
DEFAULT = {"train.lr": 0.002, "train.seed": 0, "model.specified.dim": 16}
STEPS = np.arange(10, 110, 10)


def compared(name: str, leakage: float, **changed: object) -> Compared:
    curves = pd.DataFrame({"step": STEPS, "partner_loss": 100 / STEPS + leakage, "lr": 0.1})
    values = {
        "seeds": 2,
        "cells": {"leakage/mean": (leakage, 0.0123), "reconstruction/mse": (0.015, None)},
        "curves": (curves, curves + 1),
    }
    return Compared(name, **values | changed)


@pytest.fixture
def rows(tmp_path) -> list[Compared]:
    grid = tmp_path / "grid.png"
    Image.new("RGB", (400, 300)).save(grid)
    return [
        compared("default", 0.2, marks=("champion",), grid=grid),
        compared("<script>boom()</script>", 0.1, changes={"train.lr": "<b>"}, grid=grid),
        compared("none", 0.15, cells={}, curves=()),
    ]


def test_the_page_says_what_was_measured_what_differs_and_what_is_missing(rows):
    text = build_comparison(rows, TITLES, DEFAULT, ["other, seed 1: <FAILED>"], ["a note"])
    assert text == build_comparison(rows, TITLES, DEFAULT, ["other, seed 1: <FAILED>"], ["a note"])
    assert "20.0 ± 1.2 %" in text
    assert ">0.015<" in text
    assert "&lt;FAILED&gt;" in text
    assert "boom()</script>" not in text
    assert text.count("<script>") == 1
    assert 'class="number changed">&lt;b&gt;' in text
    assert "model.specified.dim" not in text
    assert text.count("<svg") == 1
    assert text.count('class="curve ') == 4
    assert text.count("<img") == 2


def test_without_artifacts_the_page_says_so():
    text = build_comparison([compared("default", 0.2, curves=())], TITLES, DEFAULT)
    assert "No parameter differs" in text
    assert "None of these runs has curves" in text
    assert "None of these runs has a figure of swaps" in text


def test_what_is_left_out_of_a_page_on_many_runs_is_said(rows, monkeypatch):
    monkeypatch.setattr(comparison, "ROWS", 12)
    many = [compared(f"run {i}", 0.1, grid=rows[0].grid) for i in range(15)]
    text = build_comparison(many, TITLES, DEFAULT)
    assert "3 more rows are not shown" in text
    assert "first 7 rows" in text
    assert text.count('class="curve ') == 7 * 2
    assert text.count("<img") == 8


@pytest.fixture
def address(rows, tmp_path) -> str:
    path = tmp_path / "comparison.html"
    path.write_text(build_comparison(rows, TITLES, DEFAULT), encoding="utf-8")
    return path.as_uri()


def names(page) -> list[str]:
    return [
        text.split(" (")[0] for text in page.locator("#table tbody td.name").all_text_contents()
    ]


def test_headings_sort_by_mouse_and_keyboard_with_empty_cells_last(browser, address):
    with Visit(browser, address) as visit:
        page, script = visit.page, "<script>boom()</script>"
        assert names(page) == ["default", script, "none"]
        page.get_by_role("button", name="leakage").click()
        assert names(page) == [script, "default", "none"]
        assert page.locator("th[aria-sort=ascending]").text_content().startswith("leakage")
        page.keyboard.press("Enter")
        assert names(page) == ["default", script, "none"]
        page.keyboard.press("Shift+Tab")  # to the heading before it
        page.keyboard.press("Space")
        assert page.locator("th[aria-sort]").count() == 1
        assert visit.complaints == []
        assert visit.fetched == [address]


def test_it_fits_any_window_and_is_a_plain_table_without_scripts(browser, address):
    for width, scheme in ((390, "dark"), (1440, "light")):
        with Visit(browser, address, width, color_scheme=scheme) as visit:
            assert visit.page.evaluate("document.documentElement.scrollWidth") == width
            assert visit.complaints == []
    with Visit(browser, address, java_script_enabled=False) as visit:
        assert visit.page.locator("#table tbody tr").count() == 3
        assert visit.page.locator("th button").count() == 0


def test_only_its_own_script_runs(browser, address, tmp_path):
    text = build_comparison([compared("default", 0.2)], TITLES, DEFAULT)
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("<main>", "<main><script>document.title = 'taken'</script>"))
    with Visit(browser, broken.as_uri()) as visit:
        assert "taken" not in visit.page.title()
        assert visit.page.get_by_role("button").count() == 4
    assert not re.search(r"https?://", text)
