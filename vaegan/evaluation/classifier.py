"""An independent classifier of images that recognises what generated images show.

It is trained on real images only and shares neither weights nor layers with the model.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.data import LabelledImages, as_tensor, to_unit_range
from vaegan.devices import to_channels_last
from vaegan.progress import followed
from vaegan.rng import derive_seed, torch_rng
from vaegan.turns import in_turns

WEIGHTS_FILE, DESCRIPTION_FILE = "weights.safetensors", "classifier.json"
BATCH = 128  # images per training step
MAX_LR = 4e-3  # peak of the one-cycle schedule
MAX_SHIFT = 2  # pixels by which a training image may be shifted in each direction
FEATURES = 128  # feature maps of the last convolution
FEWEST_BLOCKS, LARGEST_MAP = 3, 4  # blocks of layers; side of the last feature maps, at most


def block_widths(height: int, width: int) -> list[int]:
    """Feature maps of each block of the classifier, which halves the image's sides.

    As many blocks as make the longer side four pixels or less, but no more than the shorter side
    allows, and three at least. The last has 128 maps, each before it half as many: 32, 64, 128 up
    to 39 pixels. So a step on 64 pixels costs about twice one on 28, and not five times.
    """
    blocks = FEWEST_BLOCKS
    while max(height, width) >> blocks > LARGEST_MAP and min(height, width) >> (blocks + 1):
        blocks += 1
    return [FEATURES >> (blocks - 1 - block) for block in range(blocks)]


class Classifier(nn.Module):
    """Images (B, C, H, W) in [0, 1] to class logits (B, K): a small convolutional network.

    Args:
        image_shape: (C, H, W), height and width >= 8.
        class_count: K.

    Raises:
        ValueError: the images are smaller than 8 pixels.
    """

    def __init__(self, image_shape: tuple[int, int, int], class_count: int) -> None:
        super().__init__()
        self.image_shape, self.class_count = image_shape, class_count
        channels, *sides = image_shape
        if min(sides) < 8:
            raise ValueError(f"images must be at least 8 pixels wide and high, got {sides}")
        layers: list[nn.Module] = []
        widths = block_widths(*sides)
        for width in widths:
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.MaxPool2d(2),  # first: the layers after it do a quarter of the work
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        height, width = (side >> len(widths) for side in sides)
        self.trunk = nn.Sequential(*layers)
        self.classes = nn.Linear(FEATURES * height * width, class_count)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, float32 (B, K)."""
        return self.classes(self.trunk(images).flatten(1)).float()

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits, float32 (B, K), and the features that distances are measured in.

        The features are the last convolution's maps averaged over the image, float32 (B, 128).
        """
        maps = self.trunk(images)
        return self.classes(maps.flatten(1)).float(), maps.mean(dim=(2, 3)).float()

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Writes ``weights.safetensors`` and ``classifier.json`` in a folder that exists.

        Args:
            folder: An existing folder.
            about: Further JSON values for ``classifier.json``.
        """
        weights = {name: value.contiguous().cpu() for name, value in self.state_dict().items()}
        content = safetensors.torch.save(weights)
        (folder / WEIGHTS_FILE).write_bytes(content)
        described = {
            "image_shape": list(self.image_shape),
            "class_count": self.class_count,
            "weights_sha256": hashlib.sha256(content).hexdigest(),
        }
        text = json.dumps(described | about, indent=2, allow_nan=False)
        (folder / DESCRIPTION_FILE).write_text(text + "\n")

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> tuple["Classifier", str]:
        """Loads what :meth:`save` wrote: the classifier in eval mode, and its weights' SHA-256.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or the two files do not belong together.
        """
        try:
            about = json.loads((folder / DESCRIPTION_FILE).read_text())
            channels, height, width = about["image_shape"]
            classifier = cls((channels, height, width), about["class_count"])
            digest = about["weights_sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder / DESCRIPTION_FILE} does not describe a classifier: {error!r}"
            ) from error
        content = (folder / WEIGHTS_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(
                f"{folder / WEIGHTS_FILE} is not the file that {DESCRIPTION_FILE} describes: "
                f"its SHA-256 is not {digest}"
            )
        classifier.load_state_dict(safetensors.torch.load(content))
        return classifier.to(device).eval().requires_grad_(False), digest


def train_classifier(
    data: LabelledImages, steps: int, seed: int, device: str | torch.device = "cpu"
) -> Classifier:
    """Trains a classifier on real images, each batch shifted by up to two pixels.

    Adam with a one-cycle schedule on cross-entropy, float32.

    Args:
        data: Real training images, the same ones that the model is trained on.
        steps: Batches of 128 images, >= 1.
        seed: Seed of weights, batches and shifts.
        device: Device to train on.

    Returns:
        The classifier in eval mode.
    """
    device = torch.device(device)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "judge-weights"))
        classifier = Classifier(data.image_shape, data.class_count)
    classifier = to_channels_last(classifier.to(device)).train()
    images, labels = as_tensor(data.images, device), as_tensor(data.labels, device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=MAX_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, total_steps=steps)
    turns = in_turns(range(steps)) if device.type == "cpu" else range(steps)
    for step in followed(turns, "training a classifier of real images", steps):
        rng = torch_rng(seed, "judge-batch", step, device)
        rows = torch.randint(len(labels), (BATCH,), generator=rng, device=device)
        loss = F.cross_entropy(classifier(_shift(to_unit_range(images[rows]), rng)), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return classifier.eval().requires_grad_(False)


def _shift(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shifts the whole batch by one random (dy, dx), filling the edges with zeros."""
    dy, dx = (
        int(n) for n in torch.randint(2 * MAX_SHIFT + 1, (2,), generator=rng, device=rng.device)
    )
    padded = F.pad(images, (MAX_SHIFT,) * 4)
    height, width = images.shape[-2:]
    return padded[..., dy : dy + height, dx : dx + width]


@dataclass(frozen=True)
class Predictions:
    """Output of the classifier for N images.

    Attributes:
        classes: The most probable class of each, int64 (N,).
        features: float32 (N, 128), see :meth:`Classifier.logits_and_features`.
    """

    classes: np.ndarray
    features: np.ndarray


def classify(classifier: Classifier, images: Tensor, batch_size: int = 1000) -> Predictions:
    """Predicts the classes of images and computes their features.

    Args:
        classifier: In eval mode.
        images: float32 (N, C, H, W) in [0, 1], on the classifier's device.
        batch_size: Images per pass.
    """
    with torch.inference_mode():
        outputs = [classifier.logits_and_features(batch) for batch in images.split(batch_size)]
    return Predictions(
        torch.cat([logits.argmax(dim=1) for logits, _ in outputs]).cpu().numpy(),
        torch.cat([features for _, features in outputs]).cpu().numpy(),
    )
