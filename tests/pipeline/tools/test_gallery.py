"""The gallery lists the pictures that there are; its drawing is the script's."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import mlflow.artifacts
import numpy as np
from PIL import Image

from pipeline.tools import gallery
from pipeline.tracking import registry, store

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
    monkeypatch, tmp_path, capsys
):
    logged = tmp_path / "logged/figures"
    logged.mkdir(parents=True)
    for name in gallery.LOGGED:
        (logged / name).write_text(name)
    run = SimpleNamespace(version=1, run_id="of version 1")

    def download(run_id: str, artifact_path: str, dst_path: str) -> str:
        assert run_id == run.run_id
        found = logged.parent / artifact_path
        if not found.exists():
            raise OSError("no such artifact")
        return str(shutil.copy(found, dst_path))

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    monkeypatch.setattr(store, "connect", lambda: None)
    monkeypatch.setattr(registry, "list_versions", lambda: [run])
    arguments = ["--version", "1", "--name", "sprites", "--folder", str(tmp_path / "docs")]
    assert gallery.main(arguments) == 0
    for name in gallery.LOGGED:
        assert (tmp_path / "docs/figures" / f"sprites_{name}").read_text() == name
    assert "Sprites" in (tmp_path / "docs/gallery.md").read_text()
    assert gallery.main(["--version", "7", *arguments[2:]]) == 1
    assert "error: --version: got 7, expected one of 1" in capsys.readouterr().err
    (logged / gallery.LOGGED[0]).unlink()
    assert gallery.main(arguments) == 1
    assert "has no figure swaps.png" in capsys.readouterr().err
