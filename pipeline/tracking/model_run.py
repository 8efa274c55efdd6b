"""The run of a trained model, filled from journals.

There is one run per trained model. A training finds its run by the name of its journal; every later
stage finds the run by the SHA-256 of the model's weights. A store that holds no such run gets one
that says so.

A run's tag ``mlflow.vaegan.synced.STAGE`` is the cursor: the name of the journal of that stage that
was sent last, and the number of its events that the store has. MLflow's page hides tags that begin
with ``mlflow.``. Runs of before have such tags without this prefix; they are found and continued.
"""

import getpass
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from mlflow import MlflowClient, entities
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import (
    DatasetInput,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from PIL import Image

from pipeline import journal
from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import ArtifactError, read_array, read_json, sha256, tree_digest
from pipeline.artifacts.paths import CURVES, FIGURES, METRICS, MODEL, PREPARED
from pipeline.data.conversion import BOXES
from pipeline.journal import (
    CLASS_IMAGES,
    CLASS_LABELS,
    EXAMPLES,
    FILES,
    MODELS,
    Event,
    is_gone,
    journals,
    last_begin,
    read_events,
)
from pipeline.tracking import champion, charts, record, registry, summary
from pipeline.tracking.provenance import params_digest
from pipeline.tracking.record import OUTPUT_PREFIX
from vaegan.data import stratified_subset, to_unit_range
from vaegan.model.vae import read_description, weights_digest
from vaegan.rng import numpy_rng

MODEL_TAG = registry.DIGEST_TAG
KEY, FAILURE_TAG = "training.key", "failure"
PATCH_FOLDER = "origin"
HIDDEN = "mlflow.vaegan."  # begins tags that the sync alone reads
JOURNAL_TAG, RESULTS_TAG, CURSOR = "journal", "results.sha256", "synced."
EXPERIMENT_TAG, ALSO_TAG = "dvc.exp", "dvc.exp.also"
WORDS = (
    "dataset",
    *champion.WORDS,
    "protocol",
    "effort",
)  # of the results, that a person filters by
PATCH = f"{PATCH_FOLDER}/{journal.PATCH}"
SAME_TREE = ("git.commit", "patch.sha256")
FIRST_STAGE = "train"
TEST_IMAGES, TEST_BYTES = 2000, 8_000_000  # whose errors a version records, at most
RESTORED = (
    "This store holds no run in which this model was trained: it came from DVC's cache or from "
    "another store. Its loss curves are in reports/curves.csv."
)
Say = Callable[[str], None]


class ModelRun:
    """One journal on its way into its run."""

    def __init__(self, folder: Path, events: list[Event], experiment: str, say: Say) -> None:
        self.folder, self.events, self.experiment, self.say = folder, events, experiment, say
        self.begin = events[0]
        self.stage = self.begin["stage"]
        self.cursor_tag = f"{HIDDEN}{CURSOR}{self.stage}"
        self.client = MlflowClient()

    def send(self, go_on: Callable[[], bool]) -> bool:
        """Sends what the run lacks; returns whether it lacked something."""
        run = self._run()
        if run is None:
            return False
        self.run_id = run.info.run_id
        cursors = _cursors(run)
        name, _, count = cursors.get(self.stage, "").partition(" ")
        if name > self.folder.name:  # a later journal of this stage has been sent already
            return False
        done = int(count) if name == self.folder.name else 0
        due = self.events[done:]
        doubt = True  # whether an interrupted sync may have sent a part of the next event
        for event in due:
            if event["event"] == "report":
                if not go_on():
                    break
                self._send_report(event, doubt)
            else:
                send = {"begin": self._send_begin, "outputs": self._send_outputs}
                send.get(event["event"], lambda _: None)(event)
            doubt = False
            done += 1
            self._set_tags({self.cursor_tag: f"{self.folder.name} {done}"})
        newest = all(value.partition(" ")[0] <= self.folder.name for value in cursors.values())
        return (newest and self._set_status()) or bool(due)

    def restore_files(self) -> int:
        """Logs again what the run had of this journal and has lost; returns how many files."""
        run = self._find()
        if run is None or run.info.lifecycle_stage == LifecycleStage.DELETED:
            return 0
        if registry.is_out_of_reach(run.info.artifact_uri):
            return 0
        self.run_id = run.info.run_id
        lost: list[tuple[str, Path]] = []
        images = 0
        for event in self.events:
            if event["event"] == "begin" and event["patch"] and self.stage == FIRST_STAGE:
                lost.append((PATCH, self.folder / event["patch"]))
            elif event["event"] == "report" and "image" in event:
                if (self.folder / event["image"]).is_file() and not self._has_image(event["step"]):
                    self._send_image(event)
                    images += 1
            elif event["event"] == "outputs":
                for name in event["files"]:
                    folder = _artifact_folder(Path(name))
                    target = f"{folder}/{Path(name).name}" if folder else Path(name).name
                    lost.append((target, self.folder / FILES / name))
        images += self._record(run).restore(self._facts_of_training())
        held = {
            file.path
            for folder in {Path(target).parent.as_posix() for target, _ in lost}
            for file in self.client.list_artifacts(self.run_id, None if folder == "." else folder)
        }
        again = {target: path for target, path in lost if target not in held and path.is_file()}
        for target, path in again.items():
            folder = Path(target).parent.as_posix()
            self.client.log_artifact(self.run_id, str(path), None if folder == "." else folder)
        if self.stage != FIRST_STAGE and registry.weights_on_disk(MODEL) == self._model():
            self._register(self._model())  # deleted by hand, yet it is the model at work
        return images + len(again)

    def _run(self) -> Run | None:
        """The run of the journal, made if the store has none; None if it was deleted."""
        with FileLock(self.folder.parent / ".runs.lock"):
            run = self._find()
            if run is None:
                training = {f"{HIDDEN}{JOURNAL_TAG}": self.folder.name}
                first = self.stage == FIRST_STAGE
                return self._create(training if first else {summary.NOTE: RESTORED})
            if run.info.lifecycle_stage == LifecycleStage.DELETED:
                self.say(f"run {run.info.run_id} was deleted: {self.folder} is left alone")
                return None
            return run

    def _find(self) -> Run | None:
        """The run of the journal, perhaps a deleted one; None if the store has none."""
        if self.stage != FIRST_STAGE:
            return self._newest(MODEL_TAG, self._model(), ViewType.ACTIVE_ONLY)
        name, tags = self.folder.name, (f"{HIDDEN}{JOURNAL_TAG}", JOURNAL_TAG)
        return next((run for tag in tags if (run := self._newest(tag, name, ViewType.ALL))), None)

    def _newest(self, tag: str, value: str, view: int) -> Run | None:
        order, query = ["attributes.start_time DESC"], f"tags.`{tag}` = '{value}'"
        found = self.client.search_runs([self.experiment], query, view, 1, order)
        return found[0] if found else None

    def _model(self) -> str:
        """Digest of the model that a later stage works with."""
        return self.begin["about"]["model"]

    def _create(self, tags: dict[str, str]) -> Run:
        """A run for the model of this journal, with everything that is known from the beginning."""
        begin = self.begin
        facts, params = self._origin()
        tags |= record.filters(facts) | {
            "mlflow.source.name": f"python -m pipeline {self.stage}",
            "mlflow.source.type": "LOCAL",
            "mlflow.user": getpass.getuser(),
        }
        name = begin["tags"].get(EXPERIMENT_TAG, self.folder.name)
        run = self.client.create_run(self.experiment, begin["time"], tags, run_name=name)
        self._log_params({"dataset": begin["dataset"]["name"]} | params, run)
        return run

    def _origin(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Facts about the origin of the journal's model, and the parameters it was trained with."""
        begin, dataset = self.begin, self.begin["dataset"]
        if self.stage == FIRST_STAGE:
            params, known = begin["params"], {JOURNAL_TAG: self.folder.name, KEY: begin["key"]}
        else:
            copy = model_copy(self.folder.parent, self._model())
            params = {} if copy is None else read_description(copy)["about"].get("params", {})
            known = {MODEL_TAG: self._model()} | _digests_on_disk(self._model())
        facts = {
            "dataset": dataset["name"],
            "data.sha256": dataset["arrays"]["images"]["sha256"],
            "params.sha256": params_digest(params),
        }
        return facts | known | begin["tags"] | begin["about"].get("tags", {}), params

    def _facts_of_training(self) -> dict[str, str]:
        """All facts that this journal has of a training; {} if it is another stage's."""
        if self.stage != FIRST_STAGE:
            return {}
        facts, _ = self._origin()
        for event in self.events:
            if event["event"] == "begin":
                facts |= event["tags"] | event["about"]["tags"]
            elif event["event"] == "outputs":
                facts |= _facts_of_outputs(event)
        return facts

    def _record(self, run: Run) -> record.Record:
        return record.Record(run, self.folder.parent / ".records.lock")

    def _send_begin(self, event: Event) -> None:
        run = self.client.get_run(self.run_id)
        if not (run.inputs and run.inputs.dataset_inputs):
            self._log_dataset(event["dataset"])
        name = event["tags"].get(EXPERIMENT_TAG)
        facts, _ = self._origin()
        if self.stage == FIRST_STAGE:
            if event["patch"]:
                patch = str(self.folder / event["patch"])
                self.client.log_artifact(self.run_id, patch, PATCH_FOLDER)
            about = event["about"]
            facts |= event["tags"] | about["tags"]
            self._record(run).add(facts)
            # The name also if the experiment resumes what another one has begun.
            tags = record.filters(facts) | ({"mlflow.runName": name} if name else {})
            self._set_tags(tags | {summary.NOTE: about["note"]})
            # If a sync was stopped after it made the run.
            self._log_params({"dataset": event["dataset"]["name"]} | event["params"], run)
            return
        self._record(run).add(facts, begin=True)
        self._set_tags(_also(name, run.data.tags))
        self._register(event["about"]["model"])
        registry.tag_version_of(event["about"]["model"], event["version_tags"])

    def _send_report(self, event: Event, doubt: bool) -> None:
        """Metrics last, so a run that has them has the sample images, too."""
        step, metrics = event["step"], charts.logged(event["metrics"])
        if doubt and metrics and last_step(self.run_id, next(iter(metrics))) >= step:
            return
        if "image" in event and not (doubt and self._has_image(step)):
            self._send_image(event)
        points = [Metric(name, value, event["time"], step) for name, value in metrics.items()]
        if points:
            self.client.log_batch(self.run_id, metrics=points)

    def _send_image(self, event: Event) -> None:
        with Image.open(self.folder / event["image"]) as image:
            self.client.log_image(self.run_id, image, key=charts.SAMPLES, step=event["step"])

    def _has_image(self, step: int) -> bool:
        """Whether the run has the sample images of a step; MLflow writes their preview last."""
        logged = [file.path for file in self.client.list_artifacts(self.run_id, "images")]
        return any(f"samples+step+{step}+" in path and path.endswith(".webp") for path in logged)

    def _send_outputs(self, event: Event) -> None:
        """Results, figures and digests; the model's digest last: a run that has it is whole."""
        run = self.client.get_run(self.run_id)
        done, kept = event["summary"], self.folder / FILES
        for name in event["files"]:
            path = str(kept / name)
            self.client.log_artifact(self.run_id, path, _artifact_folder(Path(name)))
        model = done["model"]
        facts = _facts_of_outputs(event)
        if self.stage == FIRST_STAGE:
            self._record(run).add(facts)
            self._set_tags({summary.NOTE: summary.with_fit(run, done["fitted"])})
            self._register(model, facts, done["step"])
            if (version := registry.version_of(model)) is not None:
                registry.make_candidate(version)
        elif self._is_of_another_tree(run, model):
            # A version's digests are what running its commit has to give again.
            self.say(
                "note: the tree is not the one that this model was trained from, so its version "
                f"does not record {', '.join(event['digests'])}"
            )
        else:
            self._record(run).add(facts)
            registry.tag_version_of(model, facts)
        if self.stage != FIRST_STAGE:  # not earlier: numbers stand beside what they came from
            self._log_stage_params(self.begin["params"])
        if (kept / METRICS).is_file():
            self._send_results(run, model, event)
        self._set_tags({MODEL_TAG: model})

    def _is_of_another_tree(self, run: Run, model: str) -> bool:
        """Whether this stage ran from another commit, or other changes, than the training."""
        version = registry.version_of(model)
        known = self._record(run).read() if version is None else version.tags
        return any(known.get(name) != self.begin["tags"].get(name) for name in SAME_TREE)

    def _send_results(self, run: Run, model: str, event: Event) -> None:
        """Headlines as metrics, the verdict in words; then the model is considered as champion."""
        path = self.folder / FILES / METRICS
        digest, results = sha256(path), read_json(path)
        if _hidden(run, RESULTS_TAG) == digest:
            # Evaluated again with the same results: the alias may have been deleted since.
            if self.stage == "evaluate" and champion.champion_of(results["dataset"]) is None:
                self.say(champion.consider(model, results) or "")
            return
        self._log_metrics(charts.headlines(results), event["time"], 0)
        self.say(champion.consider(model, results) or "")
        words = {name: results[name] for name in WORDS if name in results}
        reason = event["summary"].get("verdict_reason", "")
        note = {summary.NOTE: summary.with_results(run, results, reason)}
        self._set_tags(words | note | {f"{HIDDEN}{RESULTS_TAG}": digest})

    def _register(self, model: str, digests: dict[str, str] | None = None, step: int = 0) -> None:
        """Registers the model if no version has its weights."""
        root = self.folder.parent
        with FileLock(root / ".versions.lock"):
            if registry.version_of(model) is not None:
                return
            copy = model_copy(root, model)
            if copy is None:
                self.say(f"model {model[:16]}... is not registered: no copy in {root / MODELS}")
                return
            run = self.client.get_run(self.run_id)
            tags = self._record(run).read() | (digests or {})
            tags.pop(JOURNAL_TAG, None)
            version = registry.register(
                copy,
                self.run_id,
                tags,
                read_examples(self.folder),
                step,
                read_classes(self.folder),
                read_conversion(self.folder),
                read_test_images(self.folder),
            )
        if self.stage != FIRST_STAGE:
            self.say(f"no version had the weights of this model: it is version {version.version}")
        for folder in reversed(journals(root) if _hidden(run, RESULTS_TAG) else []):
            kept = folder / FILES / METRICS
            if kept.is_file() and read_json(kept).get("model/digest") == model:
                self.say(champion.consider(model, read_json(kept)) or "")
                break

    def _set_status(self) -> bool:
        """Brings the run's status up to that of the journal; returns whether it changed."""
        last, begin = self.events[-1], last_begin(self.events)
        run = self.client.get_run(self.run_id)
        if last["event"] == "end":
            status, reason = last["status"], last["reason"]
        elif is_gone(begin["process"]):
            pid = begin["process"]["pid"]
            status = "KILLED"
            reason = f"process {pid} ended without a word: killed, or the machine stopped"
        else:
            status, reason = "RUNNING", None
        known = run.data.tags.get(FAILURE_TAG)
        ended = run.info.end_time if status == "RUNNING" else last["time"]
        if (run.info.status, run.info.end_time, known) == (status, ended, reason):
            return False
        if reason is not None:
            self._set_tags({FAILURE_TAG: reason})
        elif known is not None:
            self.client.delete_tag(self.run_id, FAILURE_TAG)
        if status == "RUNNING":
            self.client.update_run(self.run_id, status)
        else:
            self.client.set_terminated(self.run_id, status, ended)
        return True

    def _log_params(self, params: dict[str, Any], run: Run) -> None:
        lacking = {k: v for k, v in params.items() if k not in run.data.params}
        entries = [Param(key, str(value)) for key, value in lacking.items()]
        for start in range(0, len(entries), 100):  # MLflow takes no more at once
            self.client.log_batch(run.info.run_id, params=entries[start : start + 100])

    def _log_stage_params(self, params: dict[str, Any]) -> None:
        """A parameter's first value is the run's; a tag ``now.KEY`` holds one that differs."""
        run = self.client.get_run(self.run_id)
        self._log_params(params, run)
        for key, value in params.items():
            logged, tag = run.data.params.get(key, str(value)), f"now.{key}"
            if logged != str(value):
                self._set_tags({tag: str(value)})
            elif tag in run.data.tags:
                self.client.delete_tag(self.run_id, tag)

    def _log_metrics(self, numbers: dict[str, float], timestamp: int, step: int) -> None:
        """Numbers that the run has of the same moment already are not logged again."""
        names = list(numbers)
        if names:
            history = self.client.get_metric_history(self.run_id, names[-1])
            if any((point.step, point.timestamp) == (step, timestamp) for point in history):
                return
        points = [Metric(name, float(numbers[name]), timestamp, step) for name in names]
        for start in range(0, len(points), 1000):
            self.client.log_batch(self.run_id, metrics=points[start : start + 1000])

    def _log_dataset(self, described: dict[str, Any]) -> None:
        """MLflow's own digest reads the first few images only: this one is of all bytes."""
        images, labels = (
            np.broadcast_to(np.zeros((), entry["dtype"]), entry["shape"])
            for entry in (described["arrays"]["images"], described["arrays"]["labels"])
        )
        with warnings.catch_warnings():  # two of its classes take a path, and both are the same
            warnings.filterwarnings("ignore", "The specified dataset source", UserWarning)
            dataset = from_numpy(
                images,
                targets=labels,
                source=described["url"],
                name=described["name"],
                digest=described["arrays"]["images"]["sha256"][:16],
            )
        context = InputTag("mlflow.data.context", "training")
        entry = DatasetInput(entities.Dataset(**dataset.to_dict()), [context])
        self.client.log_inputs(self.run_id, datasets=[entry])

    def _set_tags(self, tags: dict[str, str]) -> None:
        if tags:
            entries = [RunTag(name, value) for name, value in tags.items()]
            self.client.log_batch(self.run_id, tags=entries)


def model_copy(root: Path, model: str) -> Path | None:
    """A folder that holds a model whole: among the journals' models, else ``models/``.

    Args:
        root: Folder of the journals.
        model: Digest of its weights.
    """
    for folder in (root / MODELS / model, MODEL):
        try:
            if registry.weights_on_disk(folder) == model and read_description(folder):
                return folder
        except (OSError, ValueError):
            continue
    return None


def read_examples(folder: Path) -> np.ndarray:
    """The example images of a journal, float32 (n, C, H, W) in [0, 1]."""
    return to_unit_range(torch.from_numpy(np.array(read_array(folder / EXAMPLES)))).numpy()


def read_classes(folder: Path) -> registry.Classes | None:
    """The images of each class in a journal; None in one that was written without them."""
    try:
        images = torch.from_numpy(np.array(read_array(folder / CLASS_IMAGES)))
        labels = np.array(read_array(folder / CLASS_LABELS))
        names = read_events(folder)[0]["dataset"]["class_names"]
    except (ArtifactError, KeyError):
        return None
    return registry.Classes(names, to_unit_range(images).numpy(), labels)


def read_conversion(folder: Path) -> dict[str, Any] | None:
    """How images become those of a journal's data set; None if it does not say."""
    about = read_events(folder)[0]["dataset"]
    conversion, box = about.get("conversion"), BOXES.get(about["name"])
    return conversion if conversion is None or box is None else conversion | {"box": box}


def read_test_images(folder: Path) -> np.ndarray | None:
    """Test images of a journal's data set, uint8 (n, C, H, W); None if another one is prepared."""
    try:
        dataset = read_dataset()
        trained = read_events(folder)[0]["dataset"]["arrays"]["images"]["sha256"]
        prepared = dataset.description["splits"]["train"]["arrays"]["images"]["sha256"]
    except (ArtifactError, KeyError):
        return None
    if prepared != trained:
        return None
    fit = min(TEST_IMAGES, max(1, TEST_BYTES // dataset.test.images[0].nbytes))
    rows = stratified_subset(dataset.test.labels, fit, numpy_rng(0, "compared-images"))
    return dataset.test.images[rows]


def tells_of(folder: Path, model: str) -> bool:
    """Whether a journal is one of a model."""
    parts = (event.get(part, {}) for event in read_events(folder) for part in ("about", "summary"))
    return any(part.get("model") == model for part in parts)


def _facts_of_outputs(event: Event) -> dict[str, str]:
    """Digests of a stage's outputs, and of the model they belong to."""
    outputs = {f"{OUTPUT_PREFIX}{path}": digest for path, digest in event["digests"].items()}
    return outputs | {MODEL_TAG: event["summary"]["model"]}


def _cursors(run: Run) -> dict[str, str]:
    """The cursor of each stage, by its name; those with the newer kind of tag count."""
    tags = run.data.tags
    return {
        tag.removeprefix(prefix): value
        for prefix in (CURSOR, f"{HIDDEN}{CURSOR}")
        for tag, value in tags.items()
        if tag.startswith(prefix)
    }


def _hidden(run: Run, name: str) -> str | None:
    """A tag that the sync alone reads, of today's runs or of older ones."""
    return run.data.tags.get(f"{HIDDEN}{name}", run.data.tags.get(name))


def _digests_on_disk(model: str) -> dict[str, str]:
    """Tags with the digests of a model's data set, weights and curves, if they are on disk."""
    if not MODEL.is_dir() or weights_digest(MODEL) != model:
        return {}
    paths = [path for path in (PREPARED, MODEL, CURVES) if path.exists()]
    return {f"{OUTPUT_PREFIX}{path}": tree_digest(path) for path in paths}


def _also(name: str | None, tags: dict[str, str]) -> dict[str, str]:
    """A tag with the experiments that gave the same model, beside the one that trained it."""
    also = [other for other in tags.get(ALSO_TAG, "").split(", ") if other]
    if not name or name == tags.get(EXPERIMENT_TAG) or name in also:
        return {}
    return {ALSO_TAG: ", ".join([*also, name])}


def last_step(run_id: str, metric: str) -> int:
    """The last step for which a run has a metric; 0 if it has none."""
    history = MlflowClient().get_metric_history(run_id, metric)
    return max((point.step for point in history), default=0)


def _artifact_folder(path: Path) -> str | None:
    """The folder of a run's artifacts in which an output is logged."""
    if path == CURVES:
        return "curves"
    return FIGURES.name if path.parent == FIGURES else None
