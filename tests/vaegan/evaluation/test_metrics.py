"""The table of metrics is complete, consistent, and the only list of their keys."""

import ast
import itertools
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from pipeline.tools.compare import COLUMNS
from pipeline.tracking.champion import CHOOSABLE
from vaegan.evaluation.config import EvaluationConfig
from vaegan.evaluation.metrics import (
    CHAMPION_METRICS,
    HEADLINES,
    METRICS,
    OVERVIEW_KEYS,
    SHORT,
    Metric,
    Shown,
    described_keys,
    expected_keys,
    find_metric,
    headlines_first,
    shortened,
)

ROOT = Path(__file__).parents[3]
# Compute by some metrics' values, or plot a choice of them; the parameters' Literal is tested.
READS_VALUES = {
    "pipeline/params.py",
    "pipeline/report/content.py",
    "pipeline/report/tables.py",
    "pipeline/stages/evaluate.py",
    "pipeline/stages/visualize.py",
    "vaegan/figures/leakage.py",
    "vaegan/figures/tables.py",
}


def test_keys_are_unique_and_rows_of_one_group_follow_each_other():
    assert len({metric.key for metric in METRICS}) == len(METRICS)
    groups = [group for group, _ in itertools.groupby(metric.group for metric in METRICS)]
    assert len(set(groups)) == len(groups)


def test_a_key_is_described_by_its_own_row_before_its_family():
    assert find_metric("leakage/mean_bits").words == "bits on means"
    assert find_metric("leakage/mean_trees").key == "leakage/mean_<probe>"
    assert find_metric("interval/swap/identity_accuracy_low").key == "interval/<metric>_low"
    assert find_metric("leakage/means") is None
    assert find_metric("leakage/mean_") is None
    for metric in METRICS:
        assert find_metric(metric.key) == metric


def test_headlines_have_a_column_and_what_chooses_a_champion_a_direction():
    for metric in METRICS:
        assert bool(metric.column) == (metric.shown <= Shown.HEADLINE), metric.key
    assert all(metric.better for metric in CHAMPION_METRICS)
    assert set(OVERVIEW_KEYS) <= {metric.key for metric in HEADLINES}


def test_titles_point_in_the_better_direction():
    assert Metric("a/b", "g", "w", "lower", column="MSE").title() == "MSE ↓"
    assert Metric("a/b", "g", "w", "higher", column="SSIM").title() == "SSIM ↑"
    assert Metric("a/b", "g", "w", column="KL").title() == "KL"


def test_headlines_come_first_in_the_order_of_the_table_and_the_rest_as_it_was():
    metrics = {"z/z": 0.0, "latent/kl": 1.0, "a/a": 2.0, "leakage/mean": 3.0}
    assert list(headlines_first(metrics)) == ["leakage/mean", "latent/kl", "z/z", "a/a"]
    assert headlines_first(metrics) == metrics


def test_readers_take_their_metrics_from_the_table():
    always = set(expected_keys(strokes=True))
    assert list(COLUMNS) == [metric.key for metric in HEADLINES if metric.key in always]
    assert COLUMNS["reconstruction/mse"] == "MSE ↓"
    assert {metric.key: metric.better == "lower" for metric in CHAMPION_METRICS} == CHOOSABLE


def test_champion_by_accepts_exactly_the_metrics_marked_for_it():
    allowed = get_args(get_type_hints(EvaluationConfig)["champion_by"])
    assert allowed == tuple(metric.key for metric in CHAMPION_METRICS)


@pytest.mark.parametrize("folder", ["pipeline", "vaegan"])
def test_no_other_file_lists_keys_of_metrics(folder):
    keys = {metric.key for metric in METRICS}
    for path in (ROOT / folder).rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if name in READS_VALUES or name.startswith("vaegan/evaluation/"):
            continue
        literals = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if type(node) is ast.Constant
        }
        assert {text for text in literals if isinstance(text, str)} & keys == set(), name


def test_a_metric_with_an_oracle_is_shown_beside_its_value():
    slant = next(metric for metric in METRICS if metric.key == "swap/style_kept_slant")
    _, oracle = slant.beside
    assert slant.words_of(slant.key, {oracle: 0.9642}) == f"{slant.words}; oracle 0.964"
    assert slant.words_of(slant.key, {}) == slant.words
    # Each metric that a row names is one that is written.
    assert all(find_metric(metric.beside[1]) for metric in METRICS if metric.beside[1])


FACTORS = {
    f"factor/{name}/{what}": value
    for name, value in (("pose", 0.5), ("a/b", 0.25))
    for what in ("unspecified_accuracy", "specified_accuracy", "swap_accuracy", "chance")
}


def test_a_known_factor_has_rows_that_name_it():
    rows = described_keys(HEADLINES, FACTORS)
    assert [key for key, _ in rows[:2]] == [
        "factor/pose/unspecified_accuracy",
        "factor/a/b/unspecified_accuracy",
    ]
    assert len(rows) == 6
    key, row = rows[0]
    assert row.words_of(key, FACTORS) == "pose read from z; chance 0.500"
    assert row.title(key) == "pose in z ↑"
    assert rows[1][1].words_of(rows[1][0], FACTORS) == "a/b read from z; chance 0.250"
    for factor in FACTORS:
        assert find_metric(factor).group == "known style"
        assert find_metric(f"interval/{factor}_low").key == "interval/<metric>_low"
    assert list(headlines_first({"z/z": 0.0} | FACTORS))[-3:] == [
        "z/z",
        "factor/pose/chance",
        "factor/a/b/chance",
    ]


def test_only_what_applies_to_the_images_is_expected():
    of_strokes, of_pictures = expected_keys(strokes=True), expected_keys(strokes=False)
    without = set(of_strokes) - set(of_pictures)
    assert "swap/style_kept_slant" in without
    assert all("style" in key for key in without)
    assert "swap/style_source_rate" in of_pictures
    assert not any(key.startswith(("factor/", "unseen/")) for key in of_strokes)


def test_the_four_headline_numbers_have_short_names_and_three_digits():
    assert set(SHORT) < set(OVERVIEW_KEYS)
    assert sum(len(name) + 3 for name in SHORT.values()) <= 36  # of a table of 80 columns
    metrics = {"leakage/mean": 0.17716, "reconstruction/mse": 0.014652, "control/label": 1.0}
    assert shortened(metrics) == {"leakage": 0.177, "MSE": 0.0147}
