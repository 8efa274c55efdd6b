"""Reconstructions of image files by a registered version."""

import numpy as np
from PIL import Image

from pipeline.data.conversion import open_image
from pipeline.tools import own_images, reconstruct


def test_each_image_stands_above_its_reconstruction_with_its_error(here, run):
    files = ["gray.png", "exact.png"] * 9  # in two blocks of rows
    done = run(reconstruct.main, *files, "--version", "1")
    assert (done.status, done.errors) == (0, [])
    version = own_images.open_version("1")
    given = np.stack([version.conversion.convert(open_image(name)) for name in files])
    decoded = version.model.predict(given.astype(np.float32) / 255)
    pixels = np.asarray(Image.open("reconstruct.png")).astype(np.float32)
    assert pixels.shape == (4 * (16 * 7 + 4) - 4, 16 * (12 * 7 + 4) - 4)
    for number in (0, 1, 15, 16, 17):
        block, column = divmod(number, 16)
        for row, image in enumerate((given[number, 0], decoded[number, 0] * 255)):
            top, left = (2 * block + row) * 116, column * 88
            found = pixels[top : top + 112 : 7, left : left + 84 : 7]
            np.testing.assert_allclose(found, image, atol=0.51)
    errors = ((given / 255 - decoded) ** 2).mean(axis=(1, 2, 3))
    lines = [f"  {name}  {error:.4f}" for name, error in zip(files, errors, strict=True)]
    assert done.out.splitlines()[2:] == lines
