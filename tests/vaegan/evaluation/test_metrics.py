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
    Metric,
    Shown,
    find_metric,
    headlines_first,
)

ROOT = Path(__file__).parents[3]
# Computes by three metrics' values (the verdict and the gates); the parameters' Literal is tested.
READS_VALUES = {"pipeline/stages/evaluate.py", "pipeline/params.py"}


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
        assert "<" not in metric.key or metric.shown == Shown.FILE, metric.key
    assert all(metric.better for metric in CHAMPION_METRICS)
    assert set(OVERVIEW_KEYS) <= {metric.key for metric in HEADLINES}


def test_titles_point_in_the_better_direction():
    assert Metric("a/b", "g", "w", "lower", column="MSE").title == "MSE ↓"
    assert Metric("a/b", "g", "w", "higher", column="SSIM").title == "SSIM ↑"
    assert Metric("a/b", "g", "w", column="KL").title == "KL"


def test_headlines_come_first_in_the_order_of_the_table_and_the_rest_as_it_was():
    metrics = {"z/z": 0.0, "latent/kl": 1.0, "a/a": 2.0, "leakage/mean": 3.0}
    assert list(headlines_first(metrics)) == ["leakage/mean", "latent/kl", "z/z", "a/a"]
    assert headlines_first(metrics) == metrics


def test_readers_take_their_metrics_from_the_table():
    assert list(COLUMNS) == [metric.key for metric in HEADLINES]
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
    assert slant.words_with_oracle({slant.oracle: 0.9642}) == f"{slant.words}; oracle 0.964"
    assert slant.words_with_oracle({}) == slant.words
    # Each oracle that a row names is a metric that is written.
    assert all(find_metric(metric.oracle) for metric in METRICS if metric.oracle)
    assert sum(bool(metric.oracle) for metric in METRICS) == 3
