"""What the stage hands to the figures, with a decoder whose images spell out their codes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.params import load_params
from pipeline.stages import visualize
from pipeline.stages.visualize import FigureInputs, style_sources
from vaegan.data import LabelledImages

SHIPPED = Path(__file__).parents[3] / "params.yaml"
COUNT, DIM, CLASSES = 40, 3, 4


@pytest.fixture
def inputs() -> FigureInputs:
    """Images of one pixel row of specified code above one of unspecified code."""
    rng = np.random.default_rng(0)
    inputs = FigureInputs.__new__(FigureInputs)
    inputs.model = SimpleNamespace(decode=lambda s, z: torch.stack([s, z], dim=1)[:, None])
    inputs.name = "codes"
    inputs.data = LabelledImages(
        rng.integers(256, size=(COUNT, 1, 2, DIM), dtype=np.uint8),
        np.arange(COUNT) % CLASSES,
        CLASSES,
    )
    inputs.class_names = list("abcd")
    inputs.codes = {
        name: rng.uniform(size=(COUNT, DIM)).astype(np.float32)
        for name in ("specified_mean", "unspecified_mean")
    }
    inputs.params = load_params(SHIPPED).visualize
    return inputs


def handed(monkeypatch, figure: str, plot, inputs: FigureInputs) -> tuple:
    """The arguments with which the library's figure is called."""
    calls: list[tuple] = []
    monkeypatch.setattr(visualize, figure, lambda *arguments: calls.append(arguments))
    plot(inputs)
    return calls[0]


def positions_of(images: np.ndarray, inputs: FigureInputs) -> list[int]:
    """Where in the test set each image comes from."""
    known = inputs.images(np.arange(COUNT))
    return [int(np.flatnonzero((known == image).all(axis=(1, 2, 3)))[0]) for image in images]


def test_swaps_take_identity_by_column_and_style_by_row(monkeypatch, inputs):
    identities, styles, generated, title = handed(
        monkeypatch, "swap_grid", visualize.plot_swaps, inputs
    )
    columns, rows = positions_of(identities, inputs), positions_of(styles, inputs)
    assert inputs.data.labels[columns].tolist() == [0, 1, 2, 3]
    assert len(rows) == inputs.params.swap_styles
    for r, style in enumerate(rows):
        for c, identity in enumerate(columns):
            assert np.array_equal(generated[r, c, 0, 0], inputs.codes["specified_mean"][identity])
            assert np.array_equal(generated[r, c, 0, 1], inputs.codes["unspecified_mean"][style])
    assert "codes" in title


def test_each_reconstruction_belongs_to_the_image_beside_it(monkeypatch, inputs):
    originals, generated, _, _ = handed(
        monkeypatch, "reconstruction_grid", visualize.plot_reconstructions, inputs
    )
    rows = positions_of(originals, inputs)
    assert np.array_equal(generated[:, 0, 0], inputs.codes["specified_mean"][rows])
    assert np.array_equal(generated[:, 0, 1], inputs.codes["unspecified_mean"][rows])


def test_a_sweep_moves_one_dimension_over_the_datas_range_and_holds_the_rest(monkeypatch, inputs):
    source, sweeps, positions, others, borrowed, _ = handed(
        monkeypatch, "style_variation", visualize.plot_style_variation, inputs
    )
    (place,) = positions_of(source[None], inputs)
    z = inputs.codes["unspecified_mean"]
    assert (positions[0], positions[-1]) == (-3.0, 3.0)
    assert sweeps.shape[:2] == (DIM, len(positions))
    for d in range(DIM):
        for t, position in enumerate(positions):
            expected = z[place].copy()
            expected[d] = z[:, d].mean() + position * z[:, d].std()
            np.testing.assert_allclose(sweeps[d, t, 0, 1], expected, rtol=1e-5, atol=1e-6)
    specified = inputs.codes["specified_mean"][place]
    assert (sweeps[:, :, 0, 0] == specified).all()
    assert (borrowed[:, 0, 0] == specified).all()
    assert np.array_equal(borrowed[:, 0, 1], z[positions_of(others, inputs)])
    assert place not in positions_of(others, inputs)


def test_the_figure_of_metrics_has_rows_in_table_order_with_intervals(monkeypatch):
    rows: list[tuple] = []
    monkeypatch.setattr(visualize, "metric_table", lambda given, title: rows.extend(given))
    metrics = {"latent/kl": 13.0, "leakage/mean": 0.2, "control/label": 1.0}
    metrics |= {"interval/leakage/mean_low": 0.1, "interval/leakage/mean_high": 0.3}
    words = {"dataset": "bars", "split": "test", "verdict": "sound"}
    visualize.plot_metrics(metrics | words)
    assert rows == [
        ("class in z", "strongest probe on means", 0.2, (0.1, 0.3)),
        ("rate of z", "KL, nats", 13.0, None),
    ]


def test_the_title_of_the_table_says_what_the_verdict_does_not(monkeypatch):
    titles: list[str] = []
    monkeypatch.setattr(visualize, "metric_table", lambda rows, title: titles.append(title))
    words = {"dataset": "bars", "split": "test", "verdict": "sound", "leakage/mean": 0.9}
    words |= {"gate/identity": "missed", "gate/leakage": "missed", "gate/style": "passed"}
    visualize.plot_metrics(words)
    assert titles == [
        "bars, test images: sound\ngates missed: identity, leakage\ngates passed: style"
    ]


def test_styles_are_those_of_identities_only_if_there_are_no_others():
    assert style_sources(np.array([0, 1, 1, 0, 1]), 8).tolist() == [3, 2, 4]
    assert style_sources(np.array([2, 0, 5]), 2).tolist() == [1, 0]


def test_only_so_many_dimensions_are_swept_as_a_figure_holds(monkeypatch, inputs):
    inputs.codes["unspecified_mean"] = np.random.default_rng(0).uniform(size=(COUNT, 40))
    inputs.codes["unspecified_mean"] = inputs.codes["unspecified_mean"].astype(np.float32)
    inputs.model = SimpleNamespace(decode=lambda s, z: z[:, None, None])
    _, sweeps, *_, title = handed(
        monkeypatch, "style_variation", visualize.plot_style_variation, inputs
    )
    assert sweeps.shape[0] == 32
    assert title.endswith("The first 32 of 40 dimensions")


def test_only_so_many_classes_are_swapped_as_a_figure_holds(monkeypatch, inputs):
    inputs.data = LabelledImages(inputs.data.images, np.arange(COUNT, dtype=np.int64), COUNT)
    identities, styles, generated, title = handed(
        monkeypatch, "swap_grid", visualize.plot_swaps, inputs
    )
    assert positions_of(identities, inputs) == list(range(20))
    assert generated.shape[:2] == (len(styles), 20)
    assert title.endswith("The first 20 of 40 classes")


def test_known_factors_are_rows_of_the_figure_of_metrics(monkeypatch):
    rows: list[tuple] = []
    monkeypatch.setattr(visualize, "metric_table", lambda given, title: rows.extend(given))
    metrics = {f"factor/pose/{what}": 0.5 for what in ("unspecified_accuracy", "chance")}
    words = {"dataset": "bars", "split": "test", "verdict": "sound"}
    visualize.plot_metrics(metrics | words)
    assert rows == [("known style", "pose read from z; chance 0.500", 0.5, None)]
