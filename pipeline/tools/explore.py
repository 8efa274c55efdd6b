"""Writes the explorer of a registered version: one HTML file that runs the model in a browser.

``python -m pipeline explore 3 -o explorer.html`` takes a version's number, ``python -m pipeline
explore champion`` an alias. The file needs no network and no server. Its map shows test images, so
it is there only if ``data/prepared`` holds the data set that the version was trained on.
"""

import argparse
import json
import os
import sys
import webbrowser
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.artifacts.dataset import Dataset, as_they_are, read_dataset
from pipeline.artifacts.files import ArtifactError, atomic_file
from pipeline.explorer.page import Subject, build_page
from pipeline.tracking import champion, registry, served_model
from pipeline.tracking.registry import DATASET_TAG, DIGEST_TAG, NAME
from pipeline.tracking.store import connect, one_line
from vaegan.devices import configure_torch
from vaegan.model.config import ModelStructure
from vaegan.model.vae import CONFIG_FILE, DisentanglingVAE, read_description

DATA_TAG = "data.sha256"  # of a version: the training images
CONVERSION = "conversion.json"  # in a version's files
SHOWN_DIGITS = 12  # of a digest
STROKES = ("mnist", "kmnist", "digits")  # named sets of light strokes, known without their images


def explore(reference: str | None, path: Path) -> list[str]:
    """Writes the explorer of a version.

    Args:
        reference: Number or alias of a version; None takes the champion of the prepared data set
            or, if there is none, the version that was trained last.
        path: The file that is written.

    Returns:
        What a person should know: another version than the champion, no map.

    Raises:
        ValueError: there is no such version, its files are damaged, or the page cannot run it.
    """
    connect()
    notes = []
    if reference is None:
        name, known = _prepared_name(), _aliases()
        reference = champion.alias(name)
        if reference not in known:
            reference = registry.ALIAS
            if known:
                wanted = f"champion of {name}"
                notes.append(f"there is no {wanted}: this is the version that was trained last")
    version = find_version(reference)
    folder = Path(download_artifacts(f"models:/{NAME}/{version.version}"))
    described = sorted(folder.rglob(CONFIG_FILE))
    if not described:
        raise ValueError(
            f"version {version.version} has lost its files: python -m pipeline track restores them"
        )
    model_folder = described[0].parent
    model = DisentanglingVAE.load(model_folder)
    dataset, obstacle = find_dataset(version)
    page = build_page(
        model, _subject(version, folder, model_folder, model.config, dataset), dataset
    )
    with atomic_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return notes + ([f"the page has no map: {obstacle}"] if obstacle else [])


def _prepared_name() -> str:
    """Name of the prepared data set, and that of the main one where none is prepared."""
    try:
        return read_dataset().name
    except ArtifactError:
        return champion.MAIN_DATASET


def _aliases() -> set[str]:
    return {alias for version in registry.list_versions() for alias in version.aliases}


def find_version(reference: str) -> ModelVersion:
    """Finds a version by number or alias.

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    client = MlflowClient()
    try:
        if reference.isdecimal():
            return client.get_model_version(NAME, reference)
        return client.get_model_version_by_alias(NAME, reference)
    except MlflowException as error:
        if error.error_code not in champion.NO_VERSION:
            raise
        versions = registry.list_versions()
        if not versions:
            known = "there is no version yet: dvc repro makes one"
        else:
            aliases = sorted({alias for version in versions for alias in version.aliases})
            numbers = ", ".join(str(version.version) for version in versions[:20])
            known = (
                f"expected a version, {numbers}, or an alias, {', '.join(aliases) or 'none yet'}"
            )
        raise ValueError(f"VERSION: got {reference}; {known}") from error


def find_dataset(version: ModelVersion) -> tuple[Dataset | None, str | None]:
    """The prepared data set, if the version was trained on it; else None, and the reason."""
    try:
        dataset = read_dataset()
    except ArtifactError as error:
        return None, str(error)
    found = dataset.description["splits"]["train"]["arrays"]["images"]["sha256"]
    expected = version.tags.get(DATA_TAG)
    if found != expected:
        wanted = version.tags.get(DATASET_TAG, "unknown images")
        reason = (
            f"data/prepared holds {dataset.name} ({found[:SHOWN_DIGITS]}), the version was trained "
            f"on {wanted} ({str(expected)[:SHOWN_DIGITS]})"
        )
        return None, reason
    return dataset, None


def _subject(
    version: ModelVersion,
    folder: Path,
    model_folder: Path,
    structure: ModelStructure,
    dataset: Dataset | None,
) -> Subject:
    """Words, classes and conversion of a version."""
    about = read_description(model_folder)["about"]
    name = str(about.get("dataset", version.tags.get(DATASET_TAG, "unknown images")))
    identities = sorted(folder.rglob(f"{served_model.IDENTITIES}.safetensors"))
    if identities:
        names, codes = served_model.read_identities(identities[0])
        known = codes.numpy()
    else:
        names = about.get("class_names", [str(c) for c in range(structure.class_count)])
        known = np.full((len(names), structure.specified.dim), np.nan, np.float32)
    facts = {
        "data set": name,
        "training images": f"{about['training_images']:,}" if "training_images" in about else "?",
        "classes": f"{len(names):,}",
        "images": " × ".join(map(str, structure.image_shape[1:]))
        + (" grey" if structure.image_shape[0] == 1 else " colour"),
        "SHA-256 of the weights": version.tags.get(DIGEST_TAG, "?"),
        "decision": version.tags.get(champion.REASON_TAG, "not evaluated yet"),
    }
    if dataset is not None:
        facts |= {"source": dataset.description.get("source", "?")}
        facts |= {"licence": dataset.description.get("licence", "?")}
    kept = sorted(folder.rglob(CONVERSION))
    if kept:
        conversion = json.loads(kept[0].read_text())
    else:
        conversion = dataset.conversion if dataset else as_they_are(structure.image_shape)
    recorded = sorted(folder.rglob(f"{served_model.ERRORS}.json"))
    return Subject(
        title=f"vaegan version {version.version}, {name}",
        facts=facts,
        dataset=name,
        class_names=names,
        identities=known,
        conversion=conversion,
        kind=dataset.kind if dataset else ("strokes" if name in STROKES else "pictures"),
        percentiles=served_model.read_percentiles(recorded[0]).astype(np.float32)
        if recorded
        else None,
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline explore", description=__doc__)
    parser.add_argument(
        "version", nargs="?", help="number or alias; default: the champion, else the latest"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("explorer.html"), metavar="FILE")
    parser.add_argument(
        "--open", action="store_true", help="open it in the browser, if started from a terminal"
    )
    options = parser.parse_args(argv)
    configure_torch(1)
    try:
        with one_line():
            notes = explore(options.version, options.output)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    size = options.output.stat().st_size / 2**20
    print(f"{options.output.resolve()} ({size:.1f} MiB)")
    if options.open and sys.stdout.isatty() and "CI" not in os.environ:
        webbrowser.open(options.output.resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
