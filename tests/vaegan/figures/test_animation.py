import numpy as np
import pytest

from tests.vaegan.figures.examples import HEIGHT, WIDTH, noise
from vaegan.figures.animation import GAP, HEADER, TILE, slider_frames

SCALE = round(TILE / max(HEIGHT, WIDTH))


def shown(frame: np.ndarray, k: int) -> np.ndarray:
    """Image k of a frame in its own size, (H, W, 3)."""
    top = HEADER + GAP + k // 5 * (HEIGHT * SCALE + GAP)
    left = GAP + k % 5 * (WIDTH * SCALE + GAP)
    part = frame[top : top + HEIGHT * SCALE, left : left + WIDTH * SCALE]
    return part[::SCALE, ::SCALE]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_frame_shows_all_images_at_one_position_and_the_loop_goes_there_and_back(channels):
    sweeps = noise(2, 3, 7, channels=channels)
    frames = list(slider_frames(sweeps, ["slant", "_$x$"]))
    order = [1, 2, 1, 0]  # from the middle to both ends and back
    assert len(frames) == 2 * len(order)
    for f, frame in enumerate(frames):
        direction, position = f // len(order), order[f % len(order)]
        for k in range(7):
            expected = np.rint(sweeps[direction, position, k] * 255).astype(np.uint8)
            expected = np.broadcast_to(expected.transpose(1, 2, 0), (HEIGHT, WIDTH, 3))
            np.testing.assert_array_equal(shown(frame, k), expected)
    again = list(slider_frames(sweeps, ["slant", "_$x$"]))
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))


def test_the_names_differ_above_the_images_and_the_knob_moves():
    sweeps = np.zeros((2, 3, 7, 1, HEIGHT, WIDTH), np.float32)
    frames = list(slider_frames(sweeps, ["slant", "width"]))
    assert not np.array_equal(frames[0][:HEADER], frames[4][:HEADER])
    knobs = [np.flatnonzero(frame[HEADER // 2 - 4, :, 0] == 40).mean() for frame in frames[:4]]
    assert knobs[3] < knobs[0] == knobs[2] < knobs[1]


def test_names_and_directions_have_to_agree():
    with pytest.raises(ValueError, match="sweeps"):
        list(slider_frames(noise(2, 3, 7), ["slant"]))
