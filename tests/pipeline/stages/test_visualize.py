"""What the stage hands to the figures, with a decoder whose images spell out their codes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.params import load_params
from pipeline.stages import visualize
from pipeline.stages.visualize import Drawing
from vaegan.data import LabelledImages

SHIPPED = Path(__file__).parents[3] / "params.yaml"
COUNT, DIM, CLASSES = 40, 3, 4


@pytest.fixture
def drawing() -> Drawing:
    """Images of one pixel row of specified code above one of unspecified code."""
    rng = np.random.default_rng(0)
    drawing = Drawing.__new__(Drawing)
    drawing.model = SimpleNamespace(decode=lambda s, z: torch.stack([s, z], dim=1)[:, None])
    drawing.name = "codes"
    drawing.data = LabelledImages(
        rng.integers(256, size=(COUNT, 1, 2, DIM), dtype=np.uint8),
        np.arange(COUNT) % CLASSES,
        CLASSES,
    )
    drawing.class_names = list("abcd")
    drawing.codes = {
        name: rng.uniform(size=(COUNT, DIM)).astype(np.float32)
        for name in ("specified_mean", "unspecified_mean")
    }
    drawing.params = load_params(SHIPPED).visualize
    return drawing


def handed(monkeypatch, figure: str, draw, drawing: Drawing) -> tuple:
    """The arguments with which the library's figure is called."""
    seen: list[tuple] = []
    monkeypatch.setattr(visualize.figures, figure, lambda *arguments: seen.append(arguments))
    draw(drawing)
    return seen[0]


def positions_of(images: np.ndarray, drawing: Drawing) -> list[int]:
    """Where in the test set each image comes from."""
    known = drawing.images(np.arange(COUNT))
    return [int(np.flatnonzero((known == image).all(axis=(1, 2, 3)))[0]) for image in images]


def test_swaps_take_identity_by_column_and_style_by_row(monkeypatch, drawing):
    identities, styles, drawn, title = handed(
        monkeypatch, "swap_grid", visualize.swap_figure, drawing
    )
    columns, rows = positions_of(identities, drawing), positions_of(styles, drawing)
    assert drawing.data.labels[columns].tolist() == [0, 1, 2, 3]
    assert len(rows) == drawing.params.swap_styles
    for r, style in enumerate(rows):
        for c, identity in enumerate(columns):
            assert np.array_equal(drawn[r, c, 0, 0], drawing.codes["specified_mean"][identity])
            assert np.array_equal(drawn[r, c, 0, 1], drawing.codes["unspecified_mean"][style])
    assert "codes" in title


def test_reconstructions_are_of_the_images_beside_them(monkeypatch, drawing):
    originals, generated, _, _ = handed(
        monkeypatch, "reconstruction_grid", visualize.reconstruction_figure, drawing
    )
    rows = positions_of(originals, drawing)
    assert np.array_equal(generated[:, 0, 0], drawing.codes["specified_mean"][rows])
    assert np.array_equal(generated[:, 0, 1], drawing.codes["unspecified_mean"][rows])


def test_a_sweep_moves_one_dimension_over_the_datas_range_and_holds_the_rest(monkeypatch, drawing):
    source, sweeps, positions, others, borrowed, _ = handed(
        monkeypatch, "style_variation", visualize.style_figure, drawing
    )
    (place,) = positions_of(source[None], drawing)
    z = drawing.codes["unspecified_mean"]
    assert (positions[0], positions[-1]) == (-3.0, 3.0)
    assert sweeps.shape[:2] == (DIM, len(positions))
    for d in range(DIM):
        for t, position in enumerate(positions):
            expected = z[place].copy()
            expected[d] = z[:, d].mean() + position * z[:, d].std()
            np.testing.assert_allclose(sweeps[d, t, 0, 1], expected, rtol=1e-5, atol=1e-6)
    specified = drawing.codes["specified_mean"][place]
    assert (sweeps[:, :, 0, 0] == specified).all()
    assert (borrowed[:, 0, 0] == specified).all()
    assert np.array_equal(borrowed[:, 0, 1], z[positions_of(others, drawing)])
    assert place not in positions_of(others, drawing)
