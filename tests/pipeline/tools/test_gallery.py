"""The gallery lists the pictures that there are; its drawing is the script's."""

from pathlib import Path

import mlflow
import numpy as np
from PIL import Image

from pipeline.tools import gallery
from pipeline.tracking import registry

ROOT = Path(__file__).parents[3]


def test_the_committed_gallery_is_that_of_the_committed_pictures():
    assert (ROOT / "docs/gallery.md").read_text() == gallery.page(ROOT / "docs/figures")


def test_a_picture_that_is_not_there_has_no_section_and_sprites_name_their_licence(tmp_path):
    assert gallery.page(tmp_path) == gallery.TITLE
    (tmp_path / "sprites_swaps.png").touch()
    text = gallery.page(tmp_path)
    assert text.count("\n## ") == 1
    assert f"({tmp_path.name}/sprites_swaps.png)" in text
    assert "CC-BY-SA" in text


def test_the_committed_drawing_is_the_scripts_dark_on_light():
    drawn = np.asarray(gallery.draw_digit())
    np.testing.assert_array_equal(np.asarray(Image.open(ROOT / "docs/drawing.png")), drawn)
    assert np.median(drawn) == 255
    assert 0.03 < (drawn == 0).mean() < 0.3


def test_the_figures_of_a_versions_run_are_saved_under_the_name_of_its_data_set(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    try:
        with mlflow.start_run() as run:
            for name in gallery.LOGGED:
                (tmp_path / name).write_text(name)
                mlflow.log_artifact(str(tmp_path / name), "figures")
        client = mlflow.MlflowClient()
        client.create_registered_model(registry.NAME)
        client.create_model_version(registry.NAME, run.info.artifact_uri, run.info.run_id)
        arguments = ["--version", "1", "--name", "sprites", "--folder", str(tmp_path / "docs")]
        assert gallery.main(arguments) == 0
        assert gallery.main(["--version", "7", *arguments[2:]]) == 1
    finally:
        mlflow.set_tracking_uri(before)
    for name in gallery.LOGGED:
        assert (tmp_path / "docs/figures" / f"sprites_{name}").read_text() == name
    assert "Sprites" in (tmp_path / "docs/gallery.md").read_text()
