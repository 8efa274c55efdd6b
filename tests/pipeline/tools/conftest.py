"""Two registered versions, a gray one that knows classes and one in colour, and image files."""

import io
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from pipeline.data.conversion import Conversion
from pipeline.tracking import registry, store
from vaegan.model.config import NO_TRANSPORT, CodeConfig, ModelStructure
from vaegan.model.vae import DisentanglingVAE

SIZE = 16, 12
NAMES = ["é", "a, b", "01"]


def register(folder: Path, channels: int, experiment: str) -> None:
    """Registers a model of random weights, whose normalisation has seen images."""
    torch.manual_seed(channels)
    shape = channels, *SIZE
    codes = CodeConfig(3, True, False), CodeConfig(2, True, False)
    model = DisentanglingVAE(ModelStructure(2, *codes, NO_TRANSPORT, shape, len(NAMES)))
    images = torch.rand(12, *shape) * torch.rand(12, 1, 1, 1)
    with torch.no_grad():
        for _ in range(20):
            model.train().reconstruct(images)
        model.decoder.trunk[-1].weight.mul_(20)  # so that other codes give visibly other images
    model.eval().save(folder)
    gray = channels == 1
    how = Conversion(SIZE, "pad", *(("gray", "black") if gray else ("color", "white")), gray)
    known = registry.Classes(NAMES, images[:3].numpy(), np.arange(3)) if gray else None
    tags = {"dataset": "gray" if gray else "colours"}
    run_id = MlflowClient().create_run(experiment).info.run_id
    registry.register(folder, run_id, tags, images[:1].numpy(), 0, known, how.to_dict())


@pytest.fixture(scope="session")
def _store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        experiment = store.connect()
        register(folder / "1", 1, experiment)
        register(folder / "2", 3, experiment)
    MlflowClient().set_registered_model_alias(registry.NAME, "champion", "1")
    mlflow.set_tracking_uri(before)
    return f"sqlite:///{folder}/mlflow.db"


def photograph(width: int, height: int) -> np.ndarray:
    """Colours that vary over the image, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    channels = 255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.fixture
def here(_store, tmp_path, monkeypatch):
    """The current folder, with image files of many kinds; the store is elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _store)
    mlflow.set_tracking_uri(_store)
    colours = photograph(50, 31)
    deep = (np.arange(31 * 50, dtype=np.uint16) * 42).reshape(31, 50)
    clear = np.dstack([colours, np.tile(np.uint8([0, 255]), (31, 25))])
    for name, pixels in {
        "colour.png": colours,
        "small.JPG": photograph(7, 9),
        "flat.webp": photograph(200, 3),
        "gray.png": colours[..., 0],
        "deep.png": deep,
        "clear.png": clear,
        "exact.png": photograph(SIZE[1], SIZE[0])[..., 0],
    }.items():
        Image.fromarray(pixels).save(name)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs a command; gives its status, what it printed, and its errors, a line each."""

    def call(main, *arguments) -> SimpleNamespace:
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return SimpleNamespace(status=status, out=said.out, errors=said.err.splitlines())

    return call


@pytest.fixture
def truncated(here) -> str:
    """The first half of an image."""
    content = io.BytesIO()
    Image.fromarray(photograph(50, 31)).save(content, "PNG")
    (here / "half.png").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
    return "half.png"
