"""The curves, read back from their axes."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.vaegan.figures.examples import CURVES, curves
from vaegan.figures.curves import adversarial_curves, reconstruction_curves


def legend_names(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text().replace("\n", " ") for text in legend.get_texts()]


def seven_class_curves(table: pd.DataFrame, title: str) -> Figure:
    return adversarial_curves(table, np.full(7, 10), title)


def lines(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {str(x.get_label()).replace("\n", " "): x.get_data() for x in axes.get_lines()}


def assert_lines(axes: Axes, table: pd.DataFrame, names: dict[str, str]) -> None:
    """The axes show these columns over the step and name each one in a legend."""
    plotted = lines(axes)
    for name, column in names.items():
        np.testing.assert_array_equal(plotted[name][0], table["step"])
        np.testing.assert_array_equal(plotted[name][1], table[column])
    assert set(legend_names(axes)) == set(plotted)
    assert set(names) <= set(plotted)


def test_adversarial_curves_show_both_games_and_the_accuracies() -> None:
    table = curves()
    images, latents, accuracy = adversarial_curves(table, np.full(7, 10), "").axes
    undecided = "log 2: undecided"
    assert set(lines(images)) == {
        undecided,
        "discriminator",
        "generator, style of an image",
        "generator, style from the prior",
    }
    names = {
        "discriminator": "discriminator_loss",
        "generator, style of an image": "adversarial_loss",
        "generator, style from the prior": "adversarial_prior_loss",
    }
    assert_lines(images, table, names)
    latent_names = {"critic": "critic_loss", "confusion (encoder)": "confusion_loss"}
    assert_lines(latents, table, latent_names)
    accuracies = {"discriminator": "discriminator_accuracy", "critic": "critic_accuracy"}
    assert_lines(accuracy, table, accuracies)
    assert list(lines(images)[undecided][1]) == [np.log(2)] * 2
    np.testing.assert_allclose(lines(latents)["critic at chance"][1], np.log(7))
    np.testing.assert_allclose(lines(accuracy)["critic at chance"][1], 1 / 7)
    (level,) = (x for x in images.get_lines() if x.get_label() == undecided)
    assert level.get_linestyle() == "--"
    assert "nats" in images.get_ylabel()
    assert "nats" in latents.get_ylabel()
    assert accuracy.get_xlabel() == "step"
    assert accuracy.get_ylabel() == "accuracy"
    low, high = accuracy.get_ylim()
    assert -0.1 < low <= 0
    assert 1 <= high < 1.1


def test_reconstruction_curves_show_errors_above_and_divergences_below() -> None:
    table = curves()
    above, below = reconstruction_curves(table, "").axes
    errors = {
        "from its own codes": "reconstruction_loss",
        "with the partner's specified code": "partner_loss",
    }
    assert_lines(above, table, errors)
    divergences = {"specified": "specified_kl_loss", "unspecified": "unspecified_kl_loss"}
    assert_lines(below, table, divergences)
    assert above.get_yscale() == "log"
    assert below.get_yscale() == "linear"
    assert "squared error" in above.get_ylabel()
    assert "nats" in below.get_ylabel()
    assert below.get_xlabel() == "step"


@pytest.mark.parametrize("plot", [seven_class_curves, reconstruction_curves])
@pytest.mark.parametrize("reports", [1, 40, 1000])
def test_legends_stay_outside_the_data_and_a_single_report_is_visible(
    plot: Callable[[pd.DataFrame, str], Figure], reports: int
) -> None:
    figure = plot(curves(reports), "")
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert not legend.get_window_extent().overlaps(axes.bbox)
        for line in axes.get_lines():
            assert line.get_marker() != "None" or line.get_linestyle() == "--"


def test_curves_without_steps_are_rejected() -> None:
    for plot in (seven_class_curves, reconstruction_curves):
        with pytest.raises(ValueError, match="a column 'step'"):
            plot(curves().drop(columns="step"), "")


@pytest.mark.parametrize("column", CURVES)
def test_a_term_that_is_off_is_left_out_and_the_others_are_plotted(column: str) -> None:
    plotted = set()
    for plot in (seven_class_curves, reconstruction_curves):
        whole, less = plot(curves(), ""), plot(curves().drop(columns=column), "")
        for before, after in zip(whole.axes, less.axes, strict=True):
            plotted |= set(lines(before)) - set(lines(after))
            assert set(lines(after)) <= set(lines(before))
    assert len(plotted) == 1


def test_a_panel_without_active_terms_states_it() -> None:
    table = curves().drop(columns=["critic_loss", "confusion_loss"])
    figure = seven_class_curves(table, "")
    assert "terms are off" in figure.axes[1].get_title(loc="left")
    figure.draw_without_rendering()


def test_curves_without_a_report_are_rejected() -> None:
    for plot in (seven_class_curves, reconstruction_curves):
        with pytest.raises(ValueError, match="0 rows"):
            plot(curves(0), "")


def test_chance_of_the_critic_is_that_of_the_majority_class() -> None:
    _, latents, accuracy = adversarial_curves(curves(), np.array([90, 0, 10]), "").axes
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    np.testing.assert_allclose(lines(latents)["critic at chance"][1], entropy)
    np.testing.assert_allclose(lines(accuracy)["critic at chance"][1], 0.9)


def test_losses_in_nats_have_one_scale_and_all_panels_one_range_of_steps() -> None:
    images, latents, accuracy = adversarial_curves(curves(), np.full(7, 10), "").axes
    assert images.get_ylim() == latents.get_ylim()
    above, below = reconstruction_curves(curves(), "").axes
    assert len({axes.get_xlim() for axes in (images, latents, accuracy, above, below)}) == 1
    assert images.get_xlim()[0] == 0


def test_every_panel_says_what_healthy_looks_like() -> None:
    for plot in (seven_class_curves, reconstruction_curves):
        for axes in plot(curves(), "").axes:
            (text,) = axes.texts
            assert text.get_text().startswith("Healthy: ")
