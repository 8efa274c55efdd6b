from pathlib import Path

import mlflow
import pytest
import torch

from pipeline.artifacts.dataset import Split, write_dataset
from pipeline.artifacts.paths import MODEL
from pipeline.params import Params, load_params
from vaegan.model.vae import DisentanglingVAE

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def workspace(tmp_path, monkeypatch, bars, model_config):
    """A folder with a prepared data set and a model, and a tracking store of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    about = {"name": "bars", "class_names": list("abcd"), "url": "https://example.org/bars"}
    bars_split = Split.from_images(bars)
    write_dataset({"train": bars_split, "test": bars_split}, about)
    torch.manual_seed(0)
    DisentanglingVAE(model_config).eval().save(MODEL, {"params": {"train.lr": 0.1}})
    before = mlflow.get_tracking_uri()
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def small(workspace) -> Params:
    params = load_params(SHIPPED)
    return params.model_copy(
        update={
            "model": params.model.model_copy(update={"base_channels": 2}),
            "train": params.train.model_copy(
                update={
                    "steps": 12,
                    "pairs": 8,
                    "report_every": 4,
                    "threads": 1,
                    "transport": params.train.transport.model_copy(
                        update={"steps": 10, "changes": 4, "images_per_change": 8}
                    ),
                }
            ),
        }
    )
