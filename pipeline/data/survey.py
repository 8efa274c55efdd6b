"""Decides from a sample of the images whether they are strokes, and whether dark on light."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.data.conversion import flatten, is_gray

SAMPLE = 256  # images, spread evenly over all
ENOUGH = 128  # pixels of the shorter side that are looked at
FAR = 160  # gray levels of 255 between the ground and what is clearly drawn on it
NEAR = 32  # levels from the ground that are still ground
SHARE = 1 / 3  # of the pixels that are not ground, that are far from it
MOST = 0.8  # of the images, for which that has to hold


@dataclass(frozen=True)
class Survey:
    """Facts about a sample.

    Attributes:
        size: (height, width) of the first image; None if none could be read.
        strokes: Whether the images are strokes on an even ground: gray, and in four fifths of
            them at least a third of the pixels that differ from the ground differ clearly. That
            holds for MNIST, digits, notMNIST and Chars74K, and neither for Fashion-MNIST nor for
            sprites and photographs made gray.
        light_ground: Whether the ground of most images is light.
    """

    size: tuple[int, int] | None
    strokes: bool
    light_ground: bool


def survey(images: Iterable[Image.Image], as_gray: bool) -> Survey:
    """Looks at images; stops at the first one with colour, unless it is to be made gray."""
    size, measured = None, []
    for image in images:
        # What is drawn on transparent ground shows on one of both: black strokes on white.
        shades = ("black", "white") if image.has_transparency_data else ("black",)
        try:
            flats = [flatten(image, shade) for shade in shades]
        except ValueError:
            continue  # the first pass names it
        size = size or (flats[0].height, flats[0].width)
        if not as_gray and not all(is_gray(np.asarray(flat)) for flat in flats):
            return Survey(size, strokes=False, light_ground=False)
        step = max(1, min(flats[0].size) // ENOUGH)
        pixels = [np.asarray(flat.convert("L"))[::step, ::step].astype(int) for flat in flats]
        measured.append(_measure(max(pixels, key=np.std)))
    grounds, shares = np.array(measured).reshape(-1, 2).T
    strokes = len(shares) > 0 and np.quantile(shares, 1 - MOST) >= SHARE
    return Survey(size, bool(strokes), bool(np.mean(grounds >= 128) > 0.5) if size else False)


def _measure(pixels: np.ndarray) -> tuple[float, float]:
    """The ground's level, the median of the border, and the share far from it of what differs."""
    border = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    ground = float(np.median(np.concatenate(border)))
    distance = np.abs(pixels - ground)
    return ground, float((distance >= FAR).sum() / max(1, (distance > NEAR).sum()))
