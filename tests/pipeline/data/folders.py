"""Generated folders of images."""

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.config import PrepareConfig
from pipeline.params import load_params

ROOT = Path(__file__).parents[3]


def config(path: Path, **changes: object) -> PrepareConfig:
    """The shipped section, for own images in a path."""
    shipped = load_params(ROOT / "params.yaml").prepare
    return replace(shipped, dataset="folder", path=str(path), **changes)


def picture(seed: int, size: int = 8, color: bool = False) -> Image.Image:
    """An image of noise, which no other seed gives."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3)[: 2 + color], dtype=np.uint8))


def save(path: Path, image: Image.Image, **options: object) -> Path:
    """Saves an image; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def classes(root: Path, names: str | list[str] = "ab", each: int = 5, **options: int) -> Path:
    """A folder per class; every image is another one, the same under the same name."""
    for name in names:
        for number in range(each):
            seed = 1000 * zlib.crc32(name.encode()) + number
            save(root / name / f"{number}.png", picture(seed, **options))
    return root


def packed(folder: Path, archive: Path, below: str = "") -> Path:
    """A zip archive of a folder."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, below + str(path.relative_to(folder)))
    return archive
