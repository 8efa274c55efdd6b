import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.store.db import utils
from mlflow.tracking._tracking_service import utils as uris

from pipeline.artifacts.dataset import Split, read_dataset, write_dataset
from pipeline.artifacts.paths import CURVES, METRICS, MODEL, repository
from pipeline.journal import FOLDER, Journal
from pipeline.params import Params, load_params
from pipeline.tracking import follower, store, sync
from pipeline.tracking.model_run import HIDDEN, JOURNAL_TAG
from tests.pipeline.outputs import measured  # noqa: F401 (a fixture)
from vaegan.model.vae import DisentanglingVAE, weights_digest

SHIPPED = Path(__file__).parents[2] / "params.yaml"
GRID = np.zeros((8, 8, 1), np.uint8)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session", autouse=True)
def _migrate_once(tmp_path_factory):
    """MLflow's migrations of a fresh database take seconds: this process copies the first result.

    Processes that tests start migrate as users' do.
    """
    initialize, template = utils._initialize_tables, tmp_path_factory.mktemp("store") / "fresh.db"

    def copy(engine) -> None:
        fresh = template.exists()
        if not fresh:
            initialize(engine)
        connection = engine.raw_connection()
        try:
            with closing(sqlite3.connect(template)) as kept:
                pair = (kept, connection.driver_connection)
                source, target = pair if fresh else reversed(pair)
                source.backup(target)
        finally:
            connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", copy)
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A real browser; tests that need it skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is in PATH")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(autouse=True)
def same_store():
    """Connects MLflow, after a test, to the store it was connected to before.

    MLflow keeps the address in a variable of its module and in the environment.
    """
    connected, address = uris._tracking_uri, os.environ.get("MLFLOW_TRACKING_URI")
    yield
    uris._tracking_uri = connected
    if address is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = address


@pytest.fixture
def workspace(tmp_path, monkeypatch, bars, model_config):
    """A folder with a prepared data set and a model, and a tracking store of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    about = {"name": "bars", "class_names": list("abcd"), "url": "https://example.org/bars"}
    bars_split = Split.from_images(bars)
    write_dataset({"train": bars_split, "test": bars_split}, about)
    torch.manual_seed(0)
    DisentanglingVAE(model_config).eval().save(MODEL, {"params": {"train.lr": 0.1}})
    return tmp_path


@pytest.fixture
def small(workspace) -> Params:
    params = load_params(SHIPPED)
    transport = replace(
        params.train.transport, steps=10, changes=4, images_per_change=8, images_per_class=2
    )
    return replace(
        params,
        model=replace(params.model, base_channels=2),
        train=replace(
            params.train, steps=12, pairs=8, report_every=4, threads=1, transport=transport
        ),
    )


class Told:
    """Journals as stages write them, without the work; each is synced only when told to be."""

    def begin(self, stage: str = "train", key: str | None = "key", **params: object) -> Journal:
        """A journal that has begun, for the model in ``models/`` unless it is a training's."""
        journal = Journal(stage, follower.context(params))
        about = {"tags": {"precision": "float32"}, "note": "about it"}
        if stage != "train":
            about, key = {"model": weights_digest(MODEL)}, None
        journal.begin(read_dataset(), about, key)
        if stage != "train":
            journal.keep_model(MODEL, weights_digest(MODEL))
        return journal

    def finish(self, journal: Journal, **digests: str) -> None:
        """The stage has finished: what lies on disk is what it has made."""
        model = weights_digest(MODEL)
        journal.keep_model(MODEL, model)
        for path in (CURVES, METRICS):
            if path.exists():
                journal.keep_file(path)
        summary = {"model": model, "fitted": {"transport_loss": 1.0}, "step": 10}
        journal.outputs(summary, digests)
        journal.end("FINISHED")

    def train(self, **params: object) -> str:
        """A finished and synced training of the model in ``models/``; the id of its run."""
        journal = self.begin(**({"train.lr": 0.1} | params))
        journal.report(5, {"lr": 0.1, "loss": 2.0}, GRID)
        journal.report(10, {"lr": 0.05, "loss": 1.0}, GRID)
        self.finish(journal, models="digest of models")
        return self.sync(journal)

    def stage(self, stage: str = "encode", **params: object) -> str:
        """A finished and synced later stage; the id of its run."""
        journal = self.begin(stage, **params)
        self.finish(journal, **{stage: "digest"})
        return self.sync(journal)

    def sync(self, journal: Journal) -> str:
        """Syncs a journal; the id of its run."""
        experiment = store.connect()
        sync.sync_journal(journal.folder, experiment)
        query = f"tags.`{HIDDEN}{JOURNAL_TAG}` = '{journal.folder.name}'"
        if journal.stage != "train":
            query = f"tags.`model.sha256` = '{weights_digest(MODEL)}'"
        order = ["attributes.start_time DESC"]
        return MlflowClient().search_runs([experiment], query, 1, 1, order)[0].info.run_id

    def sync_all(self, everything: bool = False) -> int:
        experiment = store.connect()
        root = repository() / FOLDER
        return sync.sync_all(root, experiment, store.store_digest(), everything=everything)


@pytest.fixture
def told(workspace) -> Told:
    return Told()
