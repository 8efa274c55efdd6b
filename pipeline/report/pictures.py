"""Pictures as data addresses, so that a page needs no other file."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = {".gif": "gif", ".png": "png", ".svg": "svg+xml", ".webp": "webp"}
SMALL = 32  # pixels of a side, up to which images are kept as they are
QUALITY = 85
MOST_BYTES = 3_000_000  # of all figures together, kept as they are up to that


def addresses(paths: list[Path]) -> list[str]:
    """Data addresses of figures; if the PNG files are large, they are compressed with loss."""
    compress = sum(path.stat().st_size for path in paths if path.suffix == ".png") > MOST_BYTES
    return [_figure(path, compress) for path in paths]


def side_by_side(images: list[np.ndarray]) -> str:
    """Images in a row as one data address; small ones without loss.

    Args:
        images: float32 (C, H, W) in [0, 1], of equal shapes.
    """
    pixels = (np.concatenate(images, axis=2) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    small = max(images[0].shape[1:]) <= SMALL
    return address(*(_png(image) if small else _webp(image)))


def address(content: bytes, kind: str) -> str:
    """A picture as a data address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _figure(path: Path, compress: bool) -> str:
    if compress and path.suffix == ".png":
        with Image.open(path) as image:
            return address(*_webp(image.convert("RGB")))
    return address(path.read_bytes(), KINDS[path.suffix])


def _png(image: Image.Image) -> tuple[bytes, str]:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), "png"


def _webp(image: Image.Image) -> tuple[bytes, str]:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return file.getvalue(), "webp"
