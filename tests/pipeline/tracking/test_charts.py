"""Curves come first on MLflow's page of metrics."""

from pipeline.tracking import charts
from vaegan.evaluation.metrics import HEADLINES
from vaegan.training.objective import TERMS

OF_PLAYERS = {
    "generator_loss", "discriminator_loss", "discriminator_accuracy", "critic_loss",
    "critic_accuracy", "lr", "images_per_second",
}  # fmt: skip


def test_every_curve_has_a_group_and_the_groups_precede_those_of_results():
    assert set(charts.NAMES) == {f"{name}_loss" for name in TERMS} | OF_PLAYERS
    first_result = min(metric.key for metric in HEADLINES)
    assert all(name < first_result for name in charts.NAMES.values())
    assert first_result > charts.SAMPLES
    groups = [name.partition("/")[0] for name in charts.NAMES.values()]
    assert groups == sorted(groups)
    assert charts.NAMES["partner_loss"].startswith(groups[0])


def test_an_unknown_curve_keeps_its_name():
    given = {"lr": 0.1, "of_tomorrow": 1.0}
    assert charts.logged(given) == {"curves 5 training/lr": 0.1, "of_tomorrow": 1.0}


def test_headlines_are_the_numbers_that_the_comparison_shows_with_those_of_known_factors():
    results = {"leakage/mean": 0.2, "control/label": 1.0, "factor/pose/swap_accuracy": 0.9}
    results |= {"interval/leakage/mean_low": 0.1, "verdict": "sound", "latent/active_units": 16}
    assert charts.headlines(results) == {
        "leakage/mean": 0.2, "factor/pose/swap_accuracy": 0.9, "latent/active_units": 16.0,
    }  # fmt: skip
