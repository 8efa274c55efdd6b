"""Puts a model, its classes, the map and the scripts together as one HTML file."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.artifacts.dataset import Dataset
from pipeline.data.conversion import BOXES
from pipeline.explorer import numbers, program
from pipeline.explorer.atlas import ACROSS, Atlas, draw_atlas
from pipeline.explorer.directions import main_directions
from vaegan.figures.canvas import COLOURS
from vaegan.model.vae import DisentanglingVAE

PAGE = Path(__file__).parent / "page"
SCRIPTS = (
    "arrays.js", "layers.js", "flow.js", "model.js", "picture.js",
    "dom.js", "pad.js", "draw.js", "style.js", "chart.js", "map.js", "start.js",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The model that a page is about.

    Attributes:
        title: Such as "version 3, mnist".
        facts: Words and values, shown at the end of the page.
        dataset: Name of the data set that the model was trained on.
        class_names: K names.
        identities: float32 (K, S), the mean specified code of each class; NaN for an unknown one.
        conversion: How a picture becomes an image of the model.
        kind: "strokes", light on dark, or "pictures".
        percentiles: float32 (101,), of the errors of reconstructed test images; None if the version
            does not know them, so those of the map's images are taken.
    """

    title: str
    facts: dict[str, str]
    dataset: str
    class_names: list[str]
    identities: np.ndarray
    conversion: dict[str, Any]
    kind: str
    percentiles: np.ndarray | None = None


def build_page(model: DisentanglingVAE, subject: Subject, dataset: Dataset | None) -> str:
    """Returns the page; equal arguments give equal text.

    Args:
        model: In eval mode, on the CPU.
        subject: Words and classes of the model.
        dataset: The data set that it was trained on, for the map; without it there is none.

    Raises:
        ValueError: the page cannot run the model, or a weight is not finite.
    """
    atlas = None if dataset is None else draw_atlas(model, dataset)
    identities = _identities(subject, atlas)
    known = np.isfinite(identities).all(axis=1)
    if atlas is not None:
        codes, styles = atlas.specified, atlas.unspecified
    else:  # without classes, too, any code will do for the directions
        codes, styles = identities[known] if known.any() else np.zeros_like(identities[:1]), None
    arrays = program.weights(model) | {
        "page.identities": np.where(known[:, None], identities, 0).astype(np.float32),
        "page.directions": main_directions(model, codes, styles),
    }
    if atlas is not None:
        arrays |= _atlas_arrays(atlas)
    if subject.percentiles is not None:
        arrays["page.errors"] = subject.percentiles
    block, places = numbers.pack(arrays)
    data = {
        "program": program.describe(model),
        "places": places,
        "classes": subject.class_names,
        "known": known.tolist(),
        "conversion": subject.conversion,
        "strokes": subject.kind == "strokes",
        "box": BOXES.get(subject.dataset),
        "colours": COLOURS,
        "map": None if dataset is None or atlas is None else _describe(atlas, dataset),
    }
    scripts = {name: Markup((PAGE / name).read_text()) for name in SCRIPTS}  # noqa: S704 (our own)
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("explorer.html").render(
        subject=subject,
        data=data,
        block=base64.b64encode(block).decode(),
        sheet="" if atlas is None else base64.b64encode(atlas.sheet).decode(),
        style=Markup((PAGE / "explorer.css").read_text()),  # noqa: S704
        scripts=scripts,
        count=0 if atlas is None else len(atlas.labels),
    )


def _identities(subject: Subject, atlas: Atlas | None) -> np.ndarray:
    """The classes' codes; those that the version does not know are means over the map's images."""
    identities = subject.identities.copy()
    for label in np.flatnonzero(~np.isfinite(identities).all(axis=1)):
        if atlas is not None and (members := atlas.labels == label).any():
            identities[label] = atlas.specified[members].mean(axis=0)
    return identities


def _atlas_arrays(atlas: Atlas) -> dict[str, np.ndarray]:
    arrays = {
        "map.specified": atlas.specified,
        "map.unspecified": atlas.unspecified,
        "page.errors": atlas.errors,
    }
    places = {f"map.places.{code}": places for code, places in atlas.places.items()}
    return arrays | {name: array for name, array in places.items() if array is not None}


def _describe(atlas: Atlas, dataset: Dataset) -> dict[str, Any]:
    """Labels and known factors of the map's images, as JSON values."""
    factors = [
        {"name": name, "values": values, "of": atlas.factors[:, column].tolist()}
        for column, (name, values) in enumerate(dataset.factor_names.items())
    ]
    return {"labels": atlas.labels.tolist(), "factors": factors, "across": ACROSS}
