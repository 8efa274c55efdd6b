"""Sampled styles of image files by a registered version."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.conversion import open_image
from pipeline.tools import own_images, sample


def test_each_row_has_an_image_and_what_it_shows_in_sampled_styles(here, run):
    files = ["colour.png", "flat.webp"]
    done = run(sample.main, *files, "-n", 3, "--seed", 5, "--version", "2", "-o", "out.png")
    assert (done.status, done.errors) == (0, [])
    version = own_images.open_version("2")
    given = np.stack([version.conversion.convert(open_image(name)) for name in files])
    params = {"task": "sample", "count": 3, "seed": 5}
    sampled = version.model.predict(given.astype(np.float32) / 255, params=params)
    pixels = np.asarray(Image.open("out.png")).astype(np.float32)
    for row in range(2):
        for column in range(4):
            image = given[row] if column == 0 else sampled[3 * row + column - 1] * 255
            found = pixels[row * 116 : row * 116 + 112 : 7, column * 88 : column * 88 + 84 : 7]
            np.testing.assert_allclose(found, image.transpose(1, 2, 0), atol=0.51)
    assert np.abs(sampled[0] - sampled[1]).max() > 0.01
    assert done.out.splitlines()[1:] == [f"  {name}" for name in files]


@pytest.mark.parametrize("count", ["0", "101", "-3"])
def test_a_number_of_styles_out_of_range_is_refused(here, run, count, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(sample.main, "gray.png", f"-n={count}")
    assert stopped.value.code == 2
    assert f"got {count}, expected 1 to 100" in capsys.readouterr().err
