"""Images of any format, mode and size become arrays of one shape, or are refused by reason."""

import io
import json
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.ImageOps import exif_transpose

from pipeline.data import conversion as module
from pipeline.data.conversion import Conversion, flatten, is_gray, open_image

ROOT = Path(__file__).parents[3]
GRAY = Conversion((8, 8), "pad", "gray", "black", invert=False)
COLOR = replace(GRAY, channels="color")
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
RGB = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=2)
EXTENSIONS = {
    "PNG": "png",
    "JPEG": "JPG",
    "WEBP": "webp",
    "TIFF": "tif",
    "GIF": "gif",
    "BMP": "bmp",
    "PPM": "pgm",
}


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def converted(image: Image.Image, conversion: Conversion, kind: str = "PNG", **options: object):
    """The array of an image that went through a file."""
    return conversion.convert(open_image(encoded(image, kind, **options)))


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
              for c in (body, data)]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_every_allowed_format_is_told_by_content_not_by_name(tmp_path):
    assert set(EXTENSIONS) == set(module.FORMATS)
    for kind in EXTENSIONS:
        path = tmp_path / f"{kind}.txt"
        path.write_bytes(encoded(Image.fromarray(np.full((8, 8), 200, np.uint8)), kind))
        pixels = GRAY.convert(open_image(path))
        assert (pixels.shape, pixels.dtype) == ((1, 8, 8), np.uint8)
        assert np.abs(pixels.astype(int) - 200).max() <= 2, kind


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_no_part_of_a_file_gives_half_an_image(kind):
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)), kind)
    for length in (0, 1, 10, len(whole) // 4, len(whole) // 2, len(whole) * 3 // 4):
        with pytest.raises(ValueError, match=r"^(is empty|is no image|cannot be decoded: )"):
            open_image(whole[:length])


@pytest.mark.parametrize("content", [b"", b"not an image", b"<svg/>", b"%PDF-1.7", b"BM", b"P5\n"])
def test_what_is_no_image_is_refused_with_the_reason(content):
    with pytest.raises(ValueError, match=r"^(is empty|is no image|cannot be decoded: )"):
        open_image(content)


def test_a_format_that_pillow_knows_but_the_list_does_not_is_refused():
    for kind in ("ICO", "PCX", "TGA", "EPS"):
        content = encoded(Image.fromarray(RGB), kind)
        with pytest.raises(ValueError, match="in none of the formats PNG, JPEG"):
            open_image(content)


def test_a_decompression_bomb_is_refused_by_its_size():
    for width, height in ((20_000, 20_000), (10_000, 9_000), (8193, 8192)):
        with pytest.raises(ValueError, match=r"pixels") as error:
            open_image(png_header(width, height))
        assert "67,108,864" in str(error.value)


def test_a_missing_file_and_a_folder_are_refused_with_the_reason(tmp_path):
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(ValueError, match="^cannot be read: "):
            open_image(path)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_several_frames_are_not_one_picture(kind):
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 128, 255)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="has 3 frames, expected one picture"):
        open_image(content)


def test_a_phones_jpeg_with_previews_is_its_first_picture():
    images = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (200, 0)]
    content = encoded(images[0], "MPO", save_all=True, append_images=images[1:])
    assert (GRAY.convert(open_image(content)) == 200).all()


def test_exif_rotation_is_applied():
    upright = Image.fromarray(RAMP)
    exif = Image.Exif()
    exif[module.ORIENTATION] = 6  # to be shown turned by 90 degrees clockwise
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    assert (converted(turned, GRAY, exif=exif)[0] == RAMP).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_as_pillow_turns_it(orientation):
    exif = Image.Exif()
    exif[module.ORIENTATION] = orientation
    image = open_image(encoded(Image.fromarray(RGB[:5]), exif=exif))
    assert (np.asarray(flatten(image, "black")) == np.asarray(exif_transpose(image))).all()


@pytest.mark.parametrize(
    "exif", [b"garbage", b"II*\0", b"MM\0*\0\0\0\x08\xff", b"II*\0\xff\xff\xff\xff"]
)
def test_damaged_exif_data_counts_as_no_rotation(exif):
    image = open_image(encoded(Image.fromarray(RAMP), exif=exif))
    assert (GRAY.convert(image)[0] == RAMP).all()


@pytest.mark.parametrize("fault", [SyntaxError("not a TIFF file"), struct.error(), RuntimeError()])
def test_any_exception_of_pillow_is_a_reason(monkeypatch, fault):
    def fail(*_, **__):
        raise fault

    content = encoded(Image.fromarray(RGB))
    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        with pytest.raises(ValueError, match=f"^cannot be decoded: {str(fault) or '.*rror'}$"):
            open_image(content)
    image = open_image(encoded(Image.new("CMYK", (8, 8)), "TIFF"))
    monkeypatch.setattr("PIL.Image.Image.convert", fail)
    with pytest.raises(ValueError, match=f"^cannot be converted: {str(fault) or '.*rror'}$"):
        GRAY.convert(image)


@pytest.mark.parametrize("background", ["black", "white"])
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_becomes_the_background_of_the_result(mode, background, invert):
    conversion = replace(GRAY, background=background, invert=invert)
    alpha = np.zeros((8, 8), np.uint8)
    alpha[2:6, 2:6] = 255
    if mode in ("P", "L"):  # one of the palette's entries, or one grey level, is transparent
        image = Image.fromarray(np.where(alpha > 0, 9, 0).astype(np.uint8))
        if mode == "P":
            image.putpalette([0, 0, 0] * 9 + [9, 9, 9])
        pixels = converted(image, conversion, transparency=0)
    else:
        image = Image.new(mode, (8, 8), (9,) * (len(mode) - 1) + (255,))
        image.putalpha(Image.fromarray(alpha))
        pixels = converted(image, conversion)
    assert (pixels[0][alpha == 0] == {"black": 0, "white": 255}[background]).all()
    assert (pixels[0][alpha > 0] == (246 if invert else 9)).all()


def test_half_transparent_pixels_are_mixed_with_the_background():
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 128))
    assert converted(image, COLOR)[:, 0, 0].tolist() == [100, 0, 0]
    mixed = converted(image, replace(COLOR, background="white"))[:, 0, 0]
    assert mixed.tolist() == [227, 127, 127]


def test_palette_one_bit_and_cmyk_images_are_converted():
    palette = Image.fromarray(np.zeros((8, 8), np.uint8))
    palette.putpalette([10, 200, 30])
    assert converted(palette, COLOR)[:, 3, 3].tolist() == [10, 200, 30]
    bits = Image.fromarray(RAMP > 100)
    assert set(np.unique(converted(bits, GRAY))) == {0, 255}
    cmyk = converted(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), COLOR, "TIFF")
    assert cmyk[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_by_their_full_range(kind):
    levels = np.array([0, 128, 129, 257, 32896, 65406, 65535], np.uint16)
    if kind == "PPM":
        content = b"P5 7 1 65535\n" + levels.astype(">u2").tobytes()
    else:
        content = encoded(Image.fromarray(levels[None]), kind)
    pixels = replace(GRAY, image_size=(1, 7)).convert(open_image(content))
    assert pixels.ravel().tolist() == [0, 0, 1, 1, 128, 254, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_known_range_are_refused(dtype):
    content = encoded(Image.fromarray(RAMP.astype(dtype)), "TIFF")
    with pytest.raises(ValueError, match="whose range is not known"):
        GRAY.convert(open_image(content))


def test_fits_keep_the_whole_image_its_middle_or_its_corners():
    wide = np.zeros((10, 20), np.uint8)
    wide[:, 5:15] = 200
    image = Image.fromarray(wide)
    pad = GRAY.convert(image)[0]
    assert not pad[:2].any()
    assert not pad[6:].any()
    assert pad[4, 4] > 190
    assert pad[4, 0] < 10
    crop = replace(GRAY, fit="crop").convert(image)[0]
    assert (crop[:, 1:-1] > 190).all()
    stretch = replace(GRAY, fit="stretch").convert(image)[0]
    assert (stretch[:, 3:5] > 190).all()
    assert (stretch[:, 0] < 10).all()
    ground = replace(GRAY, background="white", invert=True).convert(image)[0]
    assert (ground[:2] == 255).all()  # the padding is the background of the result
    assert ground[4, 4] < 65


@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (1000, 1), (8, 8), (7, 9)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_any_size_is_converted(size, fit):
    image = Image.new("L", size, 77)
    pixels = replace(COLOR, image_size=(5, 12), fit=fit).convert(image)
    assert pixels.shape == (3, 5, 12)
    assert pixels.max() == 77


def test_an_image_of_the_right_size_and_mode_keeps_every_pixel():
    assert (converted(Image.fromarray(RAMP), GRAY)[0] == RAMP).all()
    assert (converted(Image.fromarray(RGB), COLOR) == RGB.transpose(2, 0, 1)).all()
    assert (converted(Image.fromarray(RAMP), COLOR) == RAMP).all()
    inverted = converted(Image.fromarray(RAMP), replace(GRAY, invert=True))
    assert (inverted[0] == 255 - RAMP).all()


def test_equal_channels_are_no_colour():
    assert is_gray(RAMP)
    assert is_gray(np.stack([RAMP] * 3, axis=2))
    assert not is_gray(RGB)
    for channel in range(3):
        one = np.stack([RAMP] * 3, axis=2)
        one[7, 7, channel] ^= 1
        assert not is_gray(one)


def test_a_conversion_survives_json():
    conversion = replace(COLOR, image_size=(8, 12), invert=True)
    assert Conversion.from_dict(json.loads(json.dumps(conversion.to_dict()))) == conversion


def test_it_imports_nothing_of_ours_so_that_a_served_model_can_carry_it():
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    command = [sys.executable, "-c", code, module.__file__]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT.parent)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"pipeline", "vaegan", "torch", "torchvision", "pydantic", "mlflow"}


FRAMED = Conversion((28, 28), "pad", "gray", "black", False, box=20)


def drawing(ground: int, ink: int, mode: str = "L") -> Image.Image:
    """A large, thin 7 in the upper left corner."""
    image = Image.new(mode, (300, 400), (ground,) * len(Image.new(mode, (1, 1)).getbands()))
    colour = (ink,) * 3 + (255,) if mode == "RGBA" else ink
    ImageDraw.Draw(image).line([(30, 40), (130, 40), (80, 240)], fill=colour, width=16)
    return image


@pytest.mark.parametrize("ground", [255, 230])
def test_a_drawing_on_paper_is_framed_as_mnist_was_made(ground):
    """Light on black, its longer side 20 pixels, its centre of mass in the middle."""
    image = FRAMED.convert(drawing(ground, 10)).astype(float)[0]
    assert image.shape == (28, 28)
    assert image.max() == pytest.approx(255, abs=1)
    assert image[0].max() == 0
    rows, columns = (np.flatnonzero((image > 100).any(axis=axis)) for axis in (1, 0))
    assert 19 <= rows[-1] - rows[0] + 1 <= 20
    y, x = np.mgrid[:28, :28] + 0.5
    assert abs((y * image).sum() / image.sum() - 14) <= 0.5
    assert abs((x * image).sum() / image.sum() - 14) <= 0.5
    assert columns[-1] - columns[0] < rows[-1] - rows[0]  # a 7 is higher than wide


def test_light_ink_and_transparent_paper_give_the_same_image():
    expected = FRAMED.convert(drawing(255, 0))
    np.testing.assert_array_equal(FRAMED.convert(drawing(0, 255)), expected)
    np.testing.assert_array_equal(FRAMED.convert(drawing(0, 0, "RGBA")), expected)


def test_an_image_of_the_final_size_is_not_framed_but_light_on_dark():
    image = np.zeros((28, 28), np.uint8)
    image[2:6, 3:20] = 200
    for given in (image, 255 - image):
        np.testing.assert_array_equal(FRAMED.convert(Image.fromarray(given))[0], image)
    assert not FRAMED.convert(Image.new("L", (90, 50), 255)).any()  # empty paper


def test_a_conversion_without_a_frame_is_stored_as_before():
    values = replace(FRAMED, box=None).to_dict()
    assert "box" not in values
    assert Conversion.from_dict(values) == replace(FRAMED, box=None)
    assert Conversion.from_dict(FRAMED.to_dict()) == FRAMED


def test_exif_at_the_end_of_a_file_that_is_not_loaded_yet_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(np.zeros((4, 9), np.uint8)).save(content, "PNG", exif=exif)
    assert flatten(Image.open(content), "black").size == (4, 9)
