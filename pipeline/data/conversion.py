"""Reads image files, and converts images of any mode and size to arrays of one shape.

Imports only the standard library, numpy and Pillow, so that a served model can carry a copy.
"""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

# Pillow's names of the formats that are read, told by content. MPO, a phone's JPEG, is among JPEG.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
MOST_PIXELS = 1 << 26  # of one image: above, a small file that fills the memory
OPPOSITE = {"black": "white", "white": "black"}
ORIENTATION = 0x0112  # EXIF's tag
METADATA = frozenset(("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"))
TURNS = {  # what makes an image of that orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PICKED = Image.Resampling.BICUBIC  # antialiased where it makes smaller
# By data set: pixels of the longer side of a digit's bounding box (LeCun et al., 1998).
BOXES = {"mnist": 20}
INK = 64  # level above which a pixel belongs to a drawing, for its bounding box


@dataclass(frozen=True)
class Conversion:
    """How any image becomes an array of one shape.

    Attributes:
        image_size: (height, width) of the result.
        fit: If the aspect differs: "pad" keeps the whole image and adds background, "crop" keeps
            the middle, "stretch" changes the aspect.
        channels: "gray" (C = 1) or "color" (C = 3).
        background: "black" or "white", as the result shows it, under transparency and in padding.
        invert: Whether dark and light are exchanged. The background is not: black strokes on
            transparent ground become white ones on a black background.
        box: Pixels in which a drawing is framed, see :func:`frame`; None: it is not.
    """

    image_size: tuple[int, int]
    fit: Literal["pad", "crop", "stretch"]
    channels: Literal["gray", "color"]
    background: Literal["black", "white"]
    invert: bool
    box: int | None = None

    @property
    def shade(self) -> str:
        """The colour under transparency and in padding before ``invert`` is applied."""
        return OPPOSITE[self.background] if self.invert else self.background

    def convert(self, image: Image.Image) -> np.ndarray:
        """Converts an image to uint8 (C, H, W).

        Raises:
            ValueError: its values have no known range, or Pillow cannot convert it.
        """
        if self.box is not None:
            return frame(image, self.image_size, self.box)
        return np.ascontiguousarray(self.convert_flat(flatten(image, self.shade)))

    def convert_flat(self, flat: Image.Image, pixels: np.ndarray | None = None) -> np.ndarray:
        """Converts an image from :func:`flatten` to uint8 (C, H, W), perhaps a view of its pixels.

        Args:
            flat: The image.
            pixels: Its pixels, uint8 (H, W) or (H, W, 3), if the caller has them already.
        """
        mode = "L" if self.channels == "gray" else "RGB"
        if pixels is None or flat.mode != mode or pixels.shape[:2] != self.image_size:
            fitted = self._fitted(flat if flat.mode == mode else flat.convert(mode))
            pixels = np.asarray(fitted)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return 255 - pixels if self.invert else pixels

    def _fitted(self, image: Image.Image) -> Image.Image:
        """An image of ``image_size``; one that has the size already is not resampled."""
        height, width = self.image_size
        if image.size == (width, height):
            return image
        if self.fit == "stretch":
            return image.resize((width, height), PICKED)
        if self.fit == "crop":
            return ImageOps.fit(image, (width, height), PICKED)
        scale = min(width / image.width, height / image.height)
        inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        ground = Image.new(image.mode, (width, height), self.shade)
        ground.paste(
            image.resize(inner, PICKED), ((width - inner[0]) // 2, (height - inner[1]) // 2)
        )
        return ground

    def to_dict(self) -> dict[str, Any]:
        """The values as JSON has them; without ``box`` where it is None, as in older files."""
        values = asdict(self) | {"image_size": list(self.image_size)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Conversion":
        """Reads what :meth:`to_dict` gave."""
        return cls(**values | {"image_size": tuple(values["image_size"])})


def frame(image: Image.Image, image_size: tuple[int, int], box: int) -> np.ndarray:
    """Prepares a drawing as MNIST's digits were: light strokes on black, uint8 (1, H, W).

    Dark ink on light paper is inverted and the level of the paper removed. The bounding box of the
    strokes is scaled until its longer side has ``box`` pixels, and their centre of mass is moved to
    the middle. An image that has the final size already is inverted at most. The explorer's
    ``picture.js`` does the same.

    Raises:
        ValueError: as :func:`flatten`.
    """
    # Strokes on transparent ground show on one of both: black ones on white.
    shades = ("black", "white") if image.has_transparency_data else ("black",)
    flats = [np.asarray(flatten(image, shade).convert("L")) for shade in shades]
    levels, ground = _on_dark(max(flats, key=np.std))
    if levels.shape == image_size:
        return levels[None].copy()
    strokes = np.maximum(levels.astype(np.float64) - ground, 0)
    strokes *= 255 / max(1, strokes.max())
    canvas = Image.new("L", image_size[::-1])
    rows, columns = (np.flatnonzero((strokes >= INK).any(axis=axis)) for axis in (1, 0))
    if len(rows):
        inner = strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        scale = box / max(inner.shape)
        height, width = (max(1, math.floor(side * scale + 0.5)) for side in inner.shape)
        small = Image.fromarray(np.rint(inner).astype(np.uint8)).resize((width, height), PICKED)
        mass = np.asarray(small, np.float64)
        y, x = (mass.sum(axis=axis) @ (np.arange(side) + 0.5) / mass.sum()
                for axis, side in ((1, height), (0, width)))  # fmt: skip
        left, top = (math.floor(side / 2 - centre + 0.5)
                     for side, centre in zip(canvas.size, (x, y), strict=True))  # fmt: skip
        canvas.paste(small, (left, top))
    return np.array(canvas)[None]


def _on_dark(levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Levels, inverted if their ground is light, and the ground's: the middle one of the edges."""
    edges = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    ground = int(np.sort(edges)[len(edges) // 2])
    return (levels, ground) if ground <= 127 else _on_dark(255 - levels)


def open_image(source: str | Path | bytes) -> Image.Image:
    """Decodes the only picture of a file of an allowed format, told by its content.

    Args:
        source: Path or content of the file.

    Raises:
        ValueError: the file cannot be read, is empty, truncated or damaged, is in no format of
            ``FORMATS``, has several frames, or more than ``MOST_PIXELS``; the message has the
            reason, not the name.
    """
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    with strict_warnings():
        return decode(content)


@contextmanager
def strict_warnings() -> Iterator[None]:
    """Makes Pillow's warning of a decompression bomb an error, and ignores its other warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, which no pixel depends on
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(content: bytes) -> Image.Image:
    """Decodes the content of a file within :func:`strict_warnings`; see :func:`open_image`."""
    if not content:
        raise ValueError("is empty")
    try:
        image = _open(content)
        _check_header(image)
        image.load()
    except UnidentifiedImageError as error:
        formats = ", ".join(FORMATS)
        raise ValueError(f"is no image, or in none of the formats {formats}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"has more than {MOST_PIXELS:,} pixels: {error}") from error
    except HeaderError:
        raise
    except Exception as error:  # of any kind: each decoder of Pillow's has its own
        raise ValueError(f"cannot be decoded: {_reason(error)}") from error
    return image


def _open(content: bytes) -> Image.Image:
    """Opens a file's content; PNG without the search for its format, a tenth of a small image."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        with suppress(Exception):  # of damage: Image.open says it in its own words
            return PngImageFile(io.BytesIO(content))
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class HeaderError(ValueError):
    """The header of a file tells that it is not one picture of a usable size."""


def _check_header(image: Image.Image) -> None:
    """Refuses an image by its header, before anything is decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise HeaderError(f"has {width} x {height} pixels, expected at most {MOST_PIXELS:,}")
    # The further pictures of a phone's MPO are previews and depth maps of the first one.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise HeaderError(f"has {frames} frames, expected one picture")


def flatten(image: Image.Image, shade: str) -> Image.Image:
    """Converts an image to mode "L" or "RGB", upright and opaque.

    Args:
        image: An image of any mode; its EXIF rotation is applied.
        shade: The colour under transparent pixels.

    Raises:
        ValueError: its values have no known range, or Pillow cannot convert it.
    """
    try:
        return _flatten(image, shade)
    except ValueError:
        raise
    except Exception as error:  # as in decode: an image of the caller's may not be loaded yet
        raise ValueError(f"cannot be converted: {_reason(error)}") from error


def _flatten(image: Image.Image, shade: str) -> Image.Image:
    kind = image.format
    image.load()  # PNG may have EXIF at its end
    if (turn := _turn(image)) is not None:
        image = image.transpose(turn)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(image, kind)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, shade)
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Reads from EXIF how to turn the image upright; None if it is, or if EXIF is damaged."""
    # A quick look first, as the other one takes a tenth of the time of decoding a small image.
    if METADATA.isdisjoint(image.info) and not hasattr(image, "tag_v2") and image._exif is None:
        return None
    try:
        with strict_warnings():
            return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of any kind: SyntaxError, struct.error, ...
        return None


def _eight_bits(image: Image.Image, kind: str | None) -> Image.Image:
    """A grey image of 16 bits, scaled from its full range, so that nothing is clipped."""
    # Pillow reads 16 bits of PNM, and of PNG in older versions, as 32; no other range is known.
    if image.mode in ("I", "F") and kind not in ("PNG", "PPM"):
        values = "float" if image.mode == "F" else "32-bit integer"
        raise ValueError(
            f"has {values} values, whose range is not known: save it with 8 or 16 bits"
        )
    levels = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))


def is_gray(pixels: np.ndarray) -> bool:
    """Whether pixels, uint8 (H, W) or (H, W, 3), have no colour: one channel, or equal ones."""
    if pixels.ndim == 2:
        return True
    for step in (16, 1):  # a picture with colour has some of it nearly everywhere
        red, green, blue = (pixels[::step, ::step, channel] for channel in range(3))
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return False
    return True
