import numpy as np
import torch
from torch import nn

from pipeline.report.failures import worst_reconstructions, wrong_swaps
from tests.conftest import draw_bars


class Copies:
    """Decodes an image from its own pixels, which the codes hold, darker by the style code."""

    def decode(self, specified, unspecified):
        return (specified - unspecified[:, :1]).clamp(0, 1).view(-1, 1, 16, 16)


class Reads(nn.Module):
    """Says class 2 of dark images, and of all others what ``known`` says of their pixels."""

    def __init__(self, images: torch.Tensor, labels: np.ndarray) -> None:
        super().__init__()
        self.known = {
            image.numpy().tobytes(): int(c) for image, c in zip(images, labels, strict=True)
        }

    def forward(self, images):
        logits = torch.zeros(len(images), 4)
        for row, image in zip(logits, images, strict=True):
            row[self.known.get(image.numpy().tobytes(), 2)] = 5
        return logits


DATA, _ = draw_bars(60, seed=3)
PIXELS = torch.from_numpy(DATA.images).float() / 255


def codes(darker: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "specified_mean": PIXELS.flatten(1).numpy(),
        "unspecified_mean": np.repeat(darker[:, None], 3, axis=1).astype(np.float32),
    }


def test_the_worst_reconstructions_come_first():
    darker = np.zeros(60)
    darker[[7, 30]] = [0.2, 0.6]
    found = worst_reconstructions(Copies(), codes(darker), DATA)
    assert [f.images[0].tobytes() for f in found[:2]] == [
        PIXELS[i].numpy().tobytes() for i in (30, 7)
    ]
    assert found[0].images[1].max() <= 0.4
    assert found[2].words == "error 0.000"
    assert len(found) == 50


def test_only_swaps_that_show_another_class_are_shown():
    darker = np.zeros(60)
    darker[11] = 0.1  # whoever takes this style is read as class 2
    found, failed, tried = wrong_swaps(
        Copies(), Reads(PIXELS, DATA.labels), codes(darker), DATA, list("abcd")
    )
    assert tried == 2000
    assert 0 < failed < 100
    assert len(found) == min(50, failed)
    assert {f.words for f in found} <= {f"{name} read as c" for name in "abd"}
    assert all(f.images[1].tobytes() == PIXELS[11].numpy().tobytes() for f in found)
