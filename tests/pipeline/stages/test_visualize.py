"""What the stage hands to the figures, with a decoder whose images spell out their codes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.artifacts.figures import write_animation
from pipeline.params import load_params
from pipeline.stages import visualize
from pipeline.stages.figure_inputs import FigureInputs, swap_sources
from vaegan.data import LabelledImages

SHIPPED = Path(__file__).parents[3] / "params.yaml"
COUNT, DIM, CLASSES = 40, 3, 4


def make_inputs(labels: np.ndarray, class_count: int) -> FigureInputs:
    """Images of one pixel row of specified code above one of unspecified code.

    The classifier reads the class that is nearest to the specified code's first number.
    """
    rng = np.random.default_rng(0)
    count = len(labels)
    specified = rng.uniform(size=(count, DIM)).astype(np.float32)
    specified[:, 0] = labels / class_count
    inputs = FigureInputs.__new__(FigureInputs)
    config = SimpleNamespace(unspecified=SimpleNamespace(dim=DIM))
    inputs.model = SimpleNamespace(
        config=config, decode=lambda s, z: torch.stack([s, z], dim=1)[:, None]
    )
    inputs.classifier = lambda images: (
        -((images[:, 0, 0, :1] - torch.arange(class_count) / class_count).abs())
    )
    inputs.name = "codes"
    pixels = rng.integers(256, size=(count, 1, 2, DIM), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.rint(255 * labels / class_count)
    inputs.data = LabelledImages(pixels, labels, class_count)
    inputs.class_names = [f"c{c}" for c in range(class_count)]
    inputs.codes = {
        "specified_mean": specified,
        "unspecified_mean": rng.uniform(size=(count, DIM)).astype(np.float32),
    }
    inputs.params = load_params(SHIPPED).visualize
    inputs.strokes, inputs.factors = False, {}
    return inputs


@pytest.fixture
def inputs() -> FigureInputs:
    return make_inputs(np.arange(COUNT) % CLASSES, CLASSES)


def handed(monkeypatch, figure: str, plot, inputs: FigureInputs) -> tuple:
    """The arguments with which the library's figure is called."""
    calls: list[tuple] = []
    monkeypatch.setattr(visualize, figure, lambda *arguments: calls.append(arguments))
    plot(inputs)
    return calls[0]


def positions_of(images: np.ndarray, inputs: FigureInputs) -> list[int]:
    """Where in the test set each image comes from."""
    known = inputs.images(np.arange(len(inputs.data)))
    return [int(np.flatnonzero((known == image).all(axis=(1, 2, 3)))[0]) for image in images]


def test_swaps_take_identity_by_column_and_style_by_row(monkeypatch, inputs):
    identities, styles, generated, names, misread, title = handed(
        monkeypatch, "swap_grid", visualize.plot_swaps, inputs
    )
    columns, rows = positions_of(identities, inputs), positions_of(styles, inputs)
    assert inputs.data.labels[columns].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert names == [f"c{c}" for c in inputs.data.labels[columns]]
    assert len(rows) == inputs.params.swap_styles
    assert not set(rows) & set(columns)
    for r, style in enumerate(rows):
        for c, identity in enumerate(columns):
            assert np.array_equal(generated[r, c, 0, 0], inputs.codes["specified_mean"][identity])
            assert np.array_equal(generated[r, c, 0, 1], inputs.codes["unspecified_mean"][style])
    assert misread == {}
    assert title.startswith("Identity by column, style by row (codes, test images)")


def test_exactly_the_cells_that_the_classifier_reads_otherwise_are_framed(monkeypatch, inputs):
    swap, _ = swap_sources(inputs)
    wrong = swap[3]  # of class 1
    inputs.codes["specified_mean"][wrong, 0] = 3 / CLASSES
    *_, misread, title = handed(monkeypatch, "swap_grid", visualize.plot_swaps, inputs)
    assert misread == {(row, 3): "c3" for row in range(inputs.params.swap_styles)}
    assert "10 of 80" in title


@pytest.mark.parametrize(("classes", "columns"), [(2, 10), (3, 9), (10, 10), (1000, 10)], ids=str)
def test_the_swap_grid_has_ten_identities_whatever_the_number_of_classes(classes, columns):
    inputs = make_inputs(np.arange(max(120, 2 * classes)) % classes, classes)
    identities, styles = swap_sources(inputs)
    assert len(identities) == columns
    shown = np.bincount(inputs.data.labels[identities])
    assert len(set(shown[shown > 0])) == 1  # as many of each class
    assert len(styles) == inputs.params.swap_styles
    again = swap_sources(make_inputs(inputs.data.labels, classes))
    assert np.array_equal(identities, again[0])
    assert np.array_equal(styles, again[1])


def test_images_that_the_classifier_misreads_are_no_sources(inputs):
    inputs.data.images[[0, 4, 8], 0, 0, 0] = 255
    assert not set(inputs.candidates) & {0, 4, 8}
    inputs.data.images[:, 0, 0, 0] = 255
    del inputs.candidates
    assert set(inputs.data.labels[inputs.candidates]) == set(range(CLASSES))


def test_each_reconstruction_belongs_to_the_image_above_it(monkeypatch, inputs):
    originals, generated, _, _ = handed(
        monkeypatch, "reconstruction_grid", visualize.plot_reconstructions, inputs
    )
    rows = positions_of(originals, inputs)
    assert np.array_equal(generated[:, 0, 0], inputs.codes["specified_mean"][rows])
    assert np.array_equal(generated[:, 0, 1], inputs.codes["unspecified_mean"][rows])
    assert inputs.data.labels[rows].tolist() == sorted(inputs.data.labels[rows].tolist())


def test_a_style_is_moved_along_one_direction_to_the_same_places_and_the_rest_is_held(
    monkeypatch, inputs
):
    sources, sweeps, names, positions, _ = handed(
        monkeypatch, "style_variation", visualize.plot_style_variation, inputs
    )
    places = positions_of(sources, inputs)
    assert sorted(inputs.data.labels[places].tolist()) == [0, 1, 2, 3]
    assert sweeps.shape[:3] == (4, DIM, inputs.params.sweep_steps)
    axes, found = inputs.directions
    assert names == found
    for m, place in enumerate(places):
        assert (sweeps[m, :, :, 0, 0] == inputs.codes["specified_mean"][place]).all()
        before = inputs.places(inputs.codes["unspecified_mean"][[place]], axes)[0]
        for a in range(DIM):
            after = inputs.places(sweeps[m, a, :, 0, 1], axes)
            np.testing.assert_allclose(after[:, a], positions, atol=1e-4)
            others = np.arange(DIM) != a
            np.testing.assert_allclose(after[:, others] - before[others], 0, atol=1e-4)


def test_directions_are_named_by_known_factors(inputs):
    axes, _ = inputs.directions
    along = inputs.places(inputs.codes["unspecified_mean"], axes)[:, 1]
    inputs.factors = {"pose": (along > np.median(along)).astype(np.int64)}
    del inputs.directions
    assert inputs.directions[1] == ["pose", "direction 1", "direction 3"]


def test_in_the_animation_all_identities_have_one_style_at_a_time(monkeypatch, inputs):
    sweeps, names = handed(monkeypatch, "slider_frames", visualize.plot_slider, inputs)
    identities, _ = swap_sources(inputs)
    assert sweeps.shape[:3] == (DIM, visualize.FRAMES, len(identities))
    assert len(names) == DIM
    assert (sweeps[..., 0, 1, :] == sweeps[:, :, :1, 0, 1]).all()
    specified = inputs.codes["specified_mean"][identities]
    assert (sweeps[..., 0, 0, :] == specified).all()


def test_a_large_animation_loses_frames_and_keeps_its_length(monkeypatch, tmp_path):
    from PIL import Image

    frames = np.random.default_rng(0).integers(256, size=(8, 40, 40, 3), dtype=np.uint8)

    def written(largest: int) -> tuple[bytes, int, int]:
        monkeypatch.setattr("pipeline.artifacts.figures.LARGEST", largest)
        path = write_animation("x", frames, tmp_path)
        with Image.open(path) as picture:
            return path.read_bytes(), picture.n_frames, picture.info["duration"]

    whole, count, duration = written(10**6)
    assert count == 8
    assert written(10**6)[0] == whole
    smaller, fewer, longer = written(len(whole) // 2 + 100)
    assert len(smaller) <= len(whole) // 2 + 100
    assert fewer * longer == count * duration
    assert fewer < count


def test_the_images_of_confusions_are_swaps_that_are_read_so(monkeypatch, inputs):
    matrix = np.eye(CLASSES, dtype=int) * 9
    matrix[1, 3] = 4
    monkeypatch.setattr(visualize, "read_swaps", lambda names: {"mean": matrix, "prior": matrix})
    monkeypatch.setattr(visualize, "TRIED", 600)
    inputs.codes["specified_mean"][inputs.data.labels == 1, 0] = 3 / CLASSES
    found, title = handed(monkeypatch, "confusion_figure", visualize.plot_confusions, inputs)
    assert [(c.asked, c.read, c.count) for c in found] == [("c1", "c3", 4)]
    assert len(found[0].images) > 0
    assert set(inputs.read(found[0].images)) == {3}
    assert title.endswith("style of an image 10.0 %, style from the prior 10.0 %")


METRICS = {"dataset": "bars", "split": "test", "verdict": "sound", "leakage/mean": 0.9}
METRICS |= {"leakage/chance": 0.25, "specified/probe_accuracy": 0.99}


def test_the_title_of_the_table_says_what_the_verdict_does_not(monkeypatch):
    titles: list[str] = []
    monkeypatch.setattr(visualize, "metric_table", lambda rows, title: titles.append(title))
    gates = {"gate/identity": "missed", "gate/leakage": "missed", "gate/style": "passed"}
    visualize.plot_metrics(METRICS | gates, np.arange(4))
    assert titles == [
        "bars, test images: sound\ngates missed: identity, leakage\ngates passed: style"
    ]


def test_published_values_stand_beside_mnists_leakage_only(monkeypatch):
    monkeypatch.chdir(SHIPPED.parent)
    for dataset, published in (("mnist", ("Cycle-VAE", 0.636)), ("bars", None)):
        readings, chance, gate, _ = handed(
            monkeypatch,
            "leakage_bars",
            lambda given: visualize.plot_leakage(given, 0.35),
            METRICS | {"dataset": dataset},
        )
        assert (chance, gate) == (0.25, pytest.approx(0.25 + 0.35 * 0.75))
        assert [(r.words, r.value, r.wanted, r.published) for r in readings] == [
            ("from s, where it should be", 0.99, True, None),
            ("from the means of z", 0.9, False, published),
        ]
