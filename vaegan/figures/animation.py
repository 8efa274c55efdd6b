"""An animation: one style moves, and every identity follows."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaegan.figures.canvas import plain
from vaegan.figures.images import check_images

ACROSS = 5  # images in a row
TILE = 84  # pixels: longer side of an image that is enlarged, about
GAP, GREY = 2, 150  # pixels between images, and their value
HEADER, DPI = 34, 100  # pixels above the images
KNOB = 40  # value of the slider's knob
TRACK = 0.4  # share of the width that the slider takes, at the right


def slider_frames(sweeps: np.ndarray, names: Sequence[str]) -> Iterator[np.ndarray]:
    """Yields the frames of a loop: along each direction in turn, to both ends and back.

    Above the images stand the direction's name and a slider.

    Args:
        sweeps: float32 (A, T, K, C, H, W) in [0, 1]: K images at T >= 2 positions of A directions.
        names: Of the directions, A of them.

    Yields:
        uint8 (height, width, 3).

    Raises:
        ValueError: shape or range is wrong.
    """
    check_images("sweeps", sweeps, (len(names), None, None, None, None, None))
    count = sweeps.shape[1]
    order = [*range(count), *range(count - 2, 0, -1)]
    # From the middle, so that a direction begins and ends at the mean.
    order = order[count // 2 :] + order[: count // 2]
    for name, sweep in zip(names, sweeps, strict=True):
        tables = [_table(images) for images in sweep]
        header = _header(name, tables[0].shape[1])
        for position in order:
            above = _with_knob(header, position / (count - 1))
            yield np.concatenate([above, tables[position]])


def _table(images: np.ndarray) -> np.ndarray:
    """Images (K, C, H, W) as one picture, in rows of five, small ones enlarged."""
    count, _, height, width = images.shape
    scale = max(1, round(TILE / max(height, width)))
    across = min(ACROSS, count)
    tiles = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    step_y, step_x = height * scale + GAP, width * scale + GAP
    size = (-(-count // across) * step_y + GAP, across * step_x + GAP, 3)
    picture = np.full(size, GREY, np.uint8)
    for k, tile in enumerate(tiles):
        top, left = k // across * step_y + GAP, k % across * step_x + GAP
        picture[top : top + height * scale, left : left + width * scale] = tile
    return picture


def _header(name: str, width: int) -> np.ndarray:
    """A strip with a name at the left and the track of a slider at the right."""
    figure = Figure(figsize=(width / DPI, HEADER / DPI), dpi=DPI, facecolor="white")
    figure.text(0.01, 0.5, plain(name), fontsize=11, va="center")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    strip = np.array(canvas.buffer_rgba())[:HEADER, :width, :3]
    strip[HEADER // 2 - 1 : HEADER // 2 + 1, _track(width)] = GREY
    return strip


def _track(width: int) -> slice:
    return slice(round(width * (1 - TRACK)), width - HEADER // 2)


def _with_knob(header: np.ndarray, place: float) -> np.ndarray:
    """The strip with the slider's knob at a place in [0, 1]."""
    strip, track = header.copy(), _track(header.shape[1])
    half = HEADER // 5
    centre = track.start + round(place * (track.stop - track.start))
    strip[HEADER // 2 - half : HEADER // 2 + half, centre - half : centre + half] = KNOB
    return strip
