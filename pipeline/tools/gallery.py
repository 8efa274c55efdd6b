"""Makes pictures of docs/gallery.md, and the page itself.

``python -m pipeline.tools.gallery`` draws a digit, lets a registered version show it in all
identities, and lists the pictures in ``docs/figures``. ``python -m pipeline.tools.gallery --version
3 --name sprites`` takes the figures that the run of version 3 logged instead, and saves them as
``sprites_swaps.png`` and so on.
"""

import argparse
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from pipeline.artifacts.files import atomic_file
from pipeline.tools import own_images, swap

DOCS = Path("docs")
PAGE, DRAWING, DRAWN = "gallery.md", "drawing.png", "drawn_digit.png"
LOGGED = ("swaps.png", "slider.gif", "style_variation.png")  # by the run of a version
IDENTITIES = 10  # in which the drawing is shown, at most
WIDTH = 118  # characters of a line of the page
SIDE, INK = 160, 13  # pixels of the drawing, and of its strokes
FOUR = (((92, 22), (38, 96), (124, 96)), ((98, 58), (88, 140)))  # corners of its strokes

TITLE = """# Gallery

Pictures of trained models. `make docs` makes those of MNIST, and this page, which
`python -m pipeline.tools.gallery` writes: it lists the pictures that are in `docs/figures`.
"""
SPRITES = (
    "Characters of the Liberated Pixel Cup, by its artists, under the licence CC-BY-SA 3.0 "
    "(https://creativecommons.org/licenses/by-sa/3.0/), and so is this picture."
)
# Title and words of each picture that may be in docs/figures.
PICTURES = {
    "swaps.png": (
        "MNIST: every identity in every style",
        "Each column keeps the identity of the image at its top, each row the style of the image "
        "at its left. The sources are chosen by a rule that does not look at swaps: as different "
        "in style as possible. Cells that an independent classifier reads as another class are "
        "framed.",
    ),
    "slider.gif": (
        "MNIST: one style moves, ten digits follow",
        "All ten digits have one and the same style code. It moves along one direction at a time.",
    ),
    "style_variation.png": (
        "MNIST: the directions of style",
        "Four digits, moved along the directions that change an image most. A direction is named "
        "by the property that changes along it in real images.",
    ),
    "beside_mathieu.png": (
        "MNIST: with the class in the style, and without",
        "The same images under two models. At the left this project's default. At the right the "
        "preset `mathieu`, the objective of Mathieu et al. on the same networks: its style code "
        "still holds the class, so many images show the class of their style source instead of "
        "the requested one (framed). Made by `python -m pipeline.tools.beside`.",
    ),
    DRAWN: (
        "A drawn digit in all identities",
        "At the left a drawing, `docs/drawing.png`, as the model takes it; then every identity "
        "in the style of the drawing. `python -m pipeline swap` does the same with your own.",
    ),
    "sprites_swaps.png": ("Sprites: every character in every pose", SPRITES),
    "sprites_slider.gif": ("Sprites: one style moves, ten characters follow", SPRITES),
    "sprites_style_variation.png": ("Sprites: the directions of style", SPRITES),
}


def draw_digit() -> Image.Image:
    """Draws a 4 as a person would who has not read how MNIST was made: dark on light paper."""
    drawing = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(drawing)
    for stroke in FOUR:
        pen.line(stroke, fill=0, width=INK, joint="curve")
        for x, y in stroke:
            pen.ellipse((x - INK // 2, y - INK // 2, x + INK // 2, y + INK // 2), fill=0)
    return drawing


def page(pictures: Path) -> str:
    """The text of the gallery: a section for each known picture in a folder.

    Args:
        pictures: The folder, beside the page.
    """
    sections = [
        f"\n## {title}\n\n{textwrap.fill(words, WIDTH)}\n\n![{title}]({pictures.name}/{name})\n"
        for name, (title, words) in PICTURES.items()
        if (pictures / name).is_file()
    ]
    return TITLE + "".join(sections)


def save_logged(version: str, name: str, pictures: Path) -> None:
    """Saves the figures that the run of a registered version logged.

    Raises:
        ValueError: there is no such version, or its run has no such figure.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from pipeline.tracking import registry
    from pipeline.tracking.store import connect, one_line

    connect()
    with one_line():
        versions = {str(found.version): found for found in registry.list_versions()}
    if version not in versions:
        raise ValueError(f"--version: got {version}, expected one of {', '.join(versions)}")
    with tempfile.TemporaryDirectory() as folder:
        for logged in LOGGED:
            try:
                path = download_artifacts(
                    run_id=versions[version].run_id,
                    artifact_path=f"figures/{logged}",
                    dst_path=folder,
                )
            except (MlflowException, OSError) as error:
                raise ValueError(
                    f"the run of version {version} has no figure {logged}: run the stage visualize"
                ) from error
            with atomic_file(pictures / f"{name}_{logged}") as part:
                shutil.copyfile(path, part)


def show_drawing(version: str, docs: Path) -> None:
    """Writes the drawing, and a picture of it in the identities of a registered version.

    Raises:
        ValueError: the version cannot be used; why has been printed.
    """
    with atomic_file(docs / DRAWING) as part:
        draw_digit().save(part, "PNG")
    classes = own_images.open_version(version).classes[:IDENTITIES]
    arguments = [str(docs / DRAWING), "-o", str(docs / "figures" / DRAWN), "--force"]
    arguments += ["--version", version]
    for name in classes:
        arguments += ["--identity", name]
    if swap.main(arguments):
        raise ValueError(f"{DRAWN} was not made")


def main(argv: list[str] | None = None) -> int:
    """Makes the pictures; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tools.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", default=own_images.LATEST, help="a registered version")
    parser.add_argument("--name", help="of the data set: takes what the version's run logged")
    parser.add_argument("--folder", type=Path, default=DOCS, help="of the documents")
    options = parser.parse_args(argv)
    pictures = options.folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    try:
        if options.name:
            save_logged(options.version, options.name, pictures)
        else:
            show_drawing(options.version, options.folder)
        with atomic_file(options.folder / PAGE) as part:
            part.write_text(page(pictures), encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.folder / PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
