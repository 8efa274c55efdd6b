"""Swaps by two models in one picture; the models are tiny, their files are real."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.artifacts.paths import MODEL
from pipeline.data.conversion import Conversion
from pipeline.tools import beside, own_images
from pipeline.tracking.champion import SCORES_TAG
from tests.pipeline.conftest import SHIPPED
from vaegan.figures.canvas import new_figure
from vaegan.model.vae import DisentanglingVAE


def test_the_leakage_is_that_of_the_versions_evaluation():
    scores = {"protocol": "p", "leakage/mean": 0.2113}
    assert beside.leakage_of({SCORES_TAG: json.dumps(scores)}) == 0.2113
    with pytest.raises(ValueError, match="was not evaluated"):
        beside.leakage_of({"dataset": "mnist"})
    with pytest.raises(ValueError, match="leakage/mean"):
        beside.leakage_of({SCORES_TAG: json.dumps({"protocol": "p"})})


def test_figures_are_joined_from_left_to_right_on_white():
    figures = [new_figure(2, height, "") for height in (1, 2)]
    for figure, colour in zip(figures, ("red", "blue"), strict=True):
        figure.set_facecolor(colour)
    joined = np.asarray(beside.join(figures))
    height, width = joined.shape[:2]
    assert joined[1, 1].tolist() == [255, 0, 0]
    assert joined[1, width - 2].tolist() == [0, 0, 255]
    assert joined[height - 2, 1].tolist() == [255, 255, 255]


def registered(monkeypatch, model: DisentanglingVAE) -> None:
    """Stands in for the registry: one version, evaluated."""
    tags = {SCORES_TAG: json.dumps({"leakage/mean": 0.9})}
    loaded = SimpleNamespace(unwrap_python_model=lambda: SimpleNamespace(model=model))
    version = own_images.Version(
        "version 1", tags, loaded, [], Conversion((16, 16), "pad", "gray", "black", False)
    )
    monkeypatch.setattr(own_images, "open_version", lambda reference: version)


def halves(folder) -> list[np.ndarray]:
    """Pixels of the picture's two halves, below the titles."""
    picture = np.asarray(Image.open(folder / "beside_other.png").convert("RGB"))
    middle = picture.shape[1] // 2
    return [half[picture.shape[0] // 5 :] for half in (picture[:, :middle], picture[:, middle:])]


def test_both_models_swap_the_same_images(measured, monkeypatch, tmp_path):
    shutil.copy(SHIPPED, "params.yaml")
    arguments = ["1", "--name", "other", "--folder", str(tmp_path)]
    same = DisentanglingVAE.load(MODEL)
    registered(monkeypatch, same)
    assert beside.main(arguments) == 0
    left, right = halves(tmp_path)
    np.testing.assert_array_equal(left, right)
    torch.nn.init.normal_(same.decoder.trunk[-1].weight)
    assert beside.main(arguments) == 0
    again, other = halves(tmp_path)
    np.testing.assert_array_equal(left, again)
    assert (other != again).any()


def test_a_version_of_other_images_is_refused(
    measured, monkeypatch, tmp_path, capsys, model_config
):
    shutil.copy(SHIPPED, "params.yaml")
    structure = replace(model_config, image_shape=(3, 16, 16))
    registered(monkeypatch, DisentanglingVAE(structure).eval())
    assert beside.main(["1", "--name", "other", "--folder", str(tmp_path / "docs")]) == 1
    said = "version 1 takes images of shape (3, 16, 16), expected (1, 16, 16) as in the workspace"
    assert capsys.readouterr().err == f"error: {said}\n"
    assert not (tmp_path / "docs").exists()
