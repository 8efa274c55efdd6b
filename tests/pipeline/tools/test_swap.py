"""Swaps of image files by a registered version."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.conversion import open_image
from pipeline.tools import own_images, swap


def tiles(path, count):
    """Pixels in [0, 1] of the images of a picture with one row, (count, H, W, ...)."""
    pixels = np.asarray(Image.open(path)).astype(np.float32) / 255
    width = (pixels.shape[1] + 4) // count
    return np.stack([pixels[3::7, x * width + 3 : (x + 1) * width - 4 : 7] for x in range(count)])


def expected(reference, files, **params):
    """Images as the version takes them, and its swaps, in the order of the picture."""
    version = own_images.open_version(reference)
    images = [version.conversion.convert(open_image(name)) for name in files]
    given = np.stack(images).astype(np.float32) / 255
    return given, version.model.predict(given, params={"task": "swap"} | params)


@pytest.mark.parametrize("reference", ["1", "2"])
@pytest.mark.parametrize(
    "files", [("colour.png", "deep.png"), ("small.JPG", "clear.png"), ("flat.webp", "gray.png")]
)
def test_two_images_are_swapped_both_ways_and_the_output_says_which_is_which(
    here, run, reference, files
):
    done = run(swap.main, *files, "-o", "out.png", "--version", reference)
    assert (done.status, done.errors) == (0, [])
    (a, b), swapped = expected(reference, files, identity_from=[1, 0])
    shown = tiles("out.png", 4)
    order = [a, b, swapped[1], swapped[0]]  # image i of the answer has the style of image i
    for tile, image in zip(shown, order, strict=True):
        pixels = image.transpose(1, 2, 0).squeeze()
        np.testing.assert_allclose(tile, pixels, atol=0.5 / 255 + 1e-4)
    assert np.abs(shown[2] - shown[3]).max() > 1.5 / 255  # so the order is seen
    first, *lines = done.out.splitlines()
    assert first.startswith("out.png, by version ")
    assert [line.strip() for line in lines] == [
        *files,
        f"identity of {files[0]}, style of {files[1]}",
        f"identity of {files[1]}, style of {files[0]}",
    ]


def test_a_class_stands_for_the_second_image_and_may_be_repeated(here, run):
    names = ["é", "a, b", "01"]
    options = [part for name in names for part in ("--identity", name)]
    done = run(swap.main, "colour.png", *options, "--version", "champion")
    assert (done.status, done.errors) == (0, [])
    shown = tiles("swap.png", 4)
    for tile, name in zip(shown[1:], names, strict=True):
        _, swapped = expected("1", ["colour.png"], identity=name)
        np.testing.assert_allclose(tile, swapped[0, 0], atol=0.5 / 255 + 1e-4)
        assert f"  identity of the class {name}, style of colour.png" in done.out.splitlines()
    assert len({tile.tobytes() for tile in shown}) == 4


def test_an_unknown_class_is_refused_with_near_names(here, run):
    done = run(swap.main, "colour.png", "--identity", "a,b", "--version", "1")
    assert done.status == 1
    assert done.errors == [
        "error: version 1 (gray): unknown class 'a,b' (near it: 'a, b'), "
        "expected one of é, 'a, b', 01 or a number from 0"
    ]


def test_a_version_without_classes_asks_for_an_image(here, run):
    done = run(swap.main, "colour.png", "--identity", "é", "--version", "2")
    assert done.errors == [
        "error: version 2 (colours) knows no classes: give a second image instead"
    ]


@pytest.mark.parametrize("files", [["a.png"], ["a.png"] * 3, ["a.png", "b.png", "--identity", "x"]])
def test_other_numbers_of_images_are_a_fault_of_the_command_line(here, run, files, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(swap.main, *files)
    assert stopped.value.code == 2
    assert "expected two images, or one image and --identity NAME" in capsys.readouterr().err


def test_options_may_stand_between_the_images(here, run):
    assert run(swap.main, "gray.png", "--version", "1", "deep.png").status == 0
