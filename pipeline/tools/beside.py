"""Makes a picture of docs/gallery.md: the same swaps by two models, side by side.

``python -m pipeline.tools.beside VERSION --name mathieu`` writes
``docs/figures/beside_mathieu.png``: at the left swaps by the model in the workspace, of the images
of its figure ``swaps.png``; at the right swaps of the same images by a registered version.
"""

import argparse
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pipeline.artifacts.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = Path("docs/figures")
BATCH = 1000  # images that are encoded at once


def leakage_of(tags: dict[str, str]) -> float:
    """Returns the leakage, the first headline metric, that a registered version was given.

    Raises:
        ValueError: it was not evaluated.
    """
    from pipeline.tracking.champion import SCORES_TAG
    from vaegan.evaluation.metrics import HEADLINES

    try:
        return float(json.loads(tags[SCORES_TAG])[HEADLINES[0].key])
    except KeyError as error:
        raise ValueError(f"the version has no {error} yet: it was not evaluated") from None


def plot_both(version: str, name: str) -> list["Figure"]:
    """Plots swaps by the model in the workspace, and by a registered version.

    Args:
        version: Number or alias.
        name: Of the version, in its title.

    Raises:
        ArtifactError: a file in the workspace is missing or damaged.
        ValueError: there is no such version, it takes other images, or it was not evaluated.
    """
    import numpy as np

    from pipeline.artifacts.classifiers import read_classifier
    from pipeline.artifacts.codes import read_codes
    from pipeline.artifacts.dataset import read_dataset
    from pipeline.artifacts.files import read_json
    from pipeline.artifacts.paths import CLASSIFIER, METRICS, MODEL
    from pipeline.params import load_params
    from pipeline.stages.encode import encode_split
    from pipeline.stages.figure_inputs import FigureInputs, swap_sources
    from pipeline.stages.visualize import CPU, plot_swaps_of
    from pipeline.tools.own_images import open_version
    from vaegan.evaluation.metrics import HEADLINES
    from vaegan.model.vae import DisentanglingVAE, weights_digest

    dataset, params = read_dataset(), load_params().visualize
    test = dataset.test
    other = open_version(version)
    theirs = other.model.unwrap_python_model().model
    if theirs.config.image_shape != test.image_shape:
        raise ValueError(
            f"{other.name} takes images of shape {theirs.config.image_shape}, expected "
            f"{test.image_shape} as in the workspace"
        )
    classifier, _ = read_classifier(CLASSIFIER, test.image_shape, test.class_count, CPU)
    batches = list(encode_split(theirs, test, BATCH, CPU))
    encoded = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    ours = DisentanglingVAE.load(MODEL), read_codes("test", weights_digest(MODEL))
    left, right = (
        FigureInputs(model, classifier, codes, dataset, params)
        for model, codes in (ours, (theirs, encoded))
    )
    identities, styles = swap_sources(left)
    measured = float(read_json(METRICS)[HEADLINES[0].key])
    leakages = {"vaegan": measured, name: leakage_of(other.tags)}
    return [
        plot_swaps_of(
            inputs, identities, styles, f"{title}: a probe reads {leakage:.0%} of the classes in z"
        )
        for inputs, (title, leakage) in zip((left, right), leakages.items(), strict=True)
    ]


def join(figures: list["Figure"]) -> Image.Image:
    """Returns figures of one height side by side, as one picture."""
    pictures = []
    for figure in figures:
        content = io.BytesIO()
        figure.savefig(content, format="png")
        pictures.append(Image.open(content).convert("RGB"))
    width, height = sum(each.width for each in pictures), max(each.height for each in pictures)
    joined, left = Image.new("RGB", (width, height), "white"), 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def main(argv: list[str] | None = None) -> int:
    """Writes the picture; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tools.beside",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("version", help="number or alias of a registered version")
    parser.add_argument("--name", required=True, help="of the version, in title and file name")
    parser.add_argument("--folder", type=Path, default=PICTURES, help="of the picture")
    options = parser.parse_args(argv)
    path = options.folder / f"beside_{options.name}.png"
    try:
        picture = join(plot_both(options.version, options.name))
        options.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as part:
            picture.save(part, "PNG", optimize=True)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
