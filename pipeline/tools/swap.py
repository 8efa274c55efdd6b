"""Exchange identity and style of two images, or give one image the identity of a class.

``swap A.png B.png`` writes one picture of four images, from left to right: A and B as the model
takes them, the identity of A in the style of B, and the identity of B in the style of A.
``swap A.png --identity 7`` writes A, and the class 7 in the style of A; the option may be repeated.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.tools.own_images import PICTURES, add_arguments, attempt, load, write_picture


def swap(options: argparse.Namespace) -> None:
    """Writes the picture, and prints what it shows.

    Raises:
        ValueError: a file, a class, the version or the output cannot be used.
    """
    version, images = load(options)
    files, classes = options.files, options.identity
    if classes:
        if not version.classes:
            raise ValueError(f"{version.name} knows no classes: give a second image instead")
        styles = images.repeat(len(classes), axis=0)
        swapped = version.predict(styles, "swap", identity=classes)
        words = [f"identity of the class {name}, style of {files[0]}" for name in classes]
    else:
        swapped = version.predict(images, "swap", identity_from=[1, 0])[::-1]
        words = [f"identity of {a}, style of {b}" for a, b in (files, files[::-1])]
    write_picture(options.output, [np.concatenate([images, swapped])])
    print(f"{options.output}, by {version.name}, from left to right:")
    print("\n".join(f"  {line}" for line in [*map(str, files), *words]))


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 1 after a line for each fault."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline swap",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", metavar="IMAGE", nargs="+", type=Path, help="two images, or one with --identity"
    )
    parser.add_argument(
        "--identity",
        metavar="NAME",
        action="append",
        help="name of a class, in place of the second image",
    )
    add_arguments(parser, "swap.png", PICTURES)
    options = parser.parse_intermixed_args(argv)
    if len(options.files) != (1 if options.identity else 2):
        parser.error("expected two images, or one image and --identity NAME")
    return attempt(swap, options)
