"""Generate the identity of images in styles sampled from the prior.

One picture with a row for each image: the image, then what it shows in N styles.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.tools.own_images import PICTURES, add_arguments, attempt, load, write_picture

MOST_STYLES = 100


def sample(options: argparse.Namespace) -> None:
    """Writes the picture, and prints what it shows.

    Raises:
        ValueError: a file, the version or the output cannot be used.
    """
    version, images = load(options)
    # Repeated here, and not by the parameter count, which versions registered earlier lack.
    repeated = images.repeat(options.count, axis=0)
    sampled = version.predict(repeated, "sample", seed=options.seed)
    styles = sampled.reshape(len(images), options.count, *sampled.shape[1:])
    write_picture(options.output, np.concatenate([images[:, None], styles], axis=1))
    print(
        f"{options.output}, by {version.name}: to the right of each image, what it shows in "
        f"{options.count} sampled styles (seed {options.seed}); from top to bottom:"
    )
    print("\n".join(f"  {path}" for path in options.files))


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 1 after a line for each fault."""
    parser = argparse.ArgumentParser(prog="python -m pipeline sample", description=__doc__)
    parser.add_argument("files", metavar="IMAGE", nargs="+", type=Path, help="image files")
    parser.add_argument("-n", "--count", metavar="N", type=int, default=8, help="styles; default 8")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of the styles; default 0")
    add_arguments(parser, "sample.png", PICTURES)
    options = parser.parse_intermixed_args(argv)
    if not 1 <= options.count <= MOST_STYLES:
        parser.error(f"argument -n/--count: got {options.count}, expected 1 to {MOST_STYLES}")
    return attempt(sample, options)
