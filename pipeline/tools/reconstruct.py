"""Decode images from their own codes: one picture, each image above its reconstruction."""

import argparse
from pathlib import Path

from pipeline.tools.own_images import PICTURES, add_arguments, attempt, load, write_picture

COLUMNS = 16


def reconstruct(options: argparse.Namespace) -> None:
    """Writes the picture, and prints what it shows and how large the differences are.

    Raises:
        ValueError: a file, the version or the output cannot be used.
    """
    version, images = load(options)
    decoded = version.predict(images, "reconstruct")
    rows = []
    for start in range(0, len(images), COLUMNS):
        rows += [images[start : start + COLUMNS], decoded[start : start + COLUMNS]]
    write_picture(options.output, rows)
    print(f"{options.output}, by {version.name}: each image above its reconstruction;")
    print("from left to right, with the squared error per pixel:")
    errors = ((images - decoded) ** 2).mean(axis=(1, 2, 3))
    for path, error in zip(options.files, errors, strict=True):
        print(f"  {path}  {error:.4f}")


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 1 after a line for each fault."""
    parser = argparse.ArgumentParser(prog="python -m pipeline reconstruct", description=__doc__)
    parser.add_argument("files", metavar="IMAGE", nargs="+", type=Path, help="image files")
    add_arguments(parser, "reconstruct.png", PICTURES)
    return attempt(reconstruct, parser.parse_intermixed_args(argv))
