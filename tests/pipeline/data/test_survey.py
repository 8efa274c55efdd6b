from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from pipeline.data.sources import load_embedded_digits
from pipeline.data.survey import survey
from tests.pipeline.data.folders import picture


def letters(ink: int = 255, ground: int = 0) -> list[Image.Image]:
    images = []
    for letter in "ABCDEFGHIJ":
        image = Image.new("L", (28, 28), ground)
        ImageDraw.Draw(image).text((8, 4), letter, fill=ink, font_size=18)
        images.append(image)
    return images


def crops() -> Iterator[Image.Image]:
    """Parts of photographs."""
    for photograph in load_sample_images().images:
        image = Image.fromarray(photograph)
        for x in range(0, 600, 60):
            yield image.crop((x, 100, x + 60, 160)).resize((32, 32))


@pytest.mark.parametrize(("ink", "ground"), [(255, 0), (0, 255), (230, 20), (20, 235)])
def test_letters_are_strokes_and_their_ground_is_recognised(ink, ground):
    found = survey(letters(ink, ground), as_gray=False)
    assert found.strokes
    assert found.light_ground == (ground > 127)
    assert found.size == (28, 28)


def test_digits_are_strokes_and_photographs_are_not():
    digits = next(load_embedded_digits()["test"].blocks())[:200, 0]
    assert survey(map(Image.fromarray, digits), as_gray=False).strokes
    gray = [image.convert("L") for image in crops()]
    for as_gray in (False, True):
        assert not survey(gray, as_gray).strokes
    assert not survey(crops(), as_gray=False).strokes
    assert not survey(crops(), as_gray=True).strokes


def test_coloured_letters_are_pictures_unless_they_are_to_be_gray():
    coloured = [Image.merge("RGB", [image, image, Image.new("L", image.size)])
                for image in letters()]  # fmt: skip
    assert not survey(coloured, as_gray=False).strokes
    assert survey(coloured, as_gray=True).strokes


def test_black_letters_on_transparent_ground_are_dark_on_light():
    transparent = []
    for image in letters():
        black = Image.new("RGBA", image.size, "black")
        black.putalpha(image)
        transparent.append(black)
    found = survey(transparent, as_gray=False)
    assert (found.strokes, found.light_ground) == (True, True)


def test_a_few_outliers_change_nothing():
    assert survey([*letters(), picture(0, 28)], as_gray=False).strokes
    assert not survey([*letters(), *map(picture, range(10))], as_gray=False).strokes


def test_no_image_and_images_without_a_known_range_decide_nothing():
    unknown = [Image.fromarray(np.zeros((8, 8), np.float32))]
    assert survey([], as_gray=False).size is None
    assert survey(unknown, as_gray=False) == survey([], as_gray=False)
