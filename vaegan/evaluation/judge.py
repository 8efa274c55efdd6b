"""An independent classifier of images, by which drawn images are judged.

It sees real images only and shares neither weights nor layers with the model.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.data import LabelledImages, as_tensor, to_unit_range
from vaegan.devices import to_channels_last
from vaegan.rng import derive_seed, torch_rng

BATCH = 128  # images per training step
MAX_LR = 4e-3  # peak of the one-cycle schedule
MAX_SHIFT = 2  # pixels by which a training image may move each way


class Judge(nn.Module):
    """Images (B, C, H, W) in [0, 1] to class logits (B, K): a small convolutional network.

    Args:
        image_shape: (C, H, W), height and width >= 8.
        class_count: K.
    """

    def __init__(self, image_shape: tuple[int, int, int], class_count: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for width in (32, 64, 128):
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.MaxPool2d(2),  # first, so that what follows has a quarter of the work
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        height, width = (size // 8 for size in image_shape[1:])
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * width, class_count)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, float32 (B, K)."""
        return self.layers(images).float()


def train_judge(
    data: LabelledImages, steps: int, seed: int, device: str | torch.device = "cpu"
) -> Judge:
    """Fits a judge to real training images, each moved by up to two pixels each way.

    Adam with a one-cycle schedule on cross-entropy, float32.

    Args:
        data: Real training images, the same that the model learns from.
        steps: Batches of 128 images, >= 1.
        seed: Of weights, batches and shifts.
        device: Where to train.

    Returns:
        The judge in eval mode.
    """
    device = torch.device(device)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "judge-weights"))
        judge = Judge(data.image_shape, data.class_count)
    judge = to_channels_last(judge.to(device)).train()
    images, labels = as_tensor(data.images, device), as_tensor(data.labels, device)
    optimizer = torch.optim.Adam(judge.parameters(), lr=MAX_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, total_steps=steps)
    for step in range(steps):
        rng = torch_rng(seed, "judge-batch", step, device)
        rows = torch.randint(len(labels), (BATCH,), generator=rng, device=device)
        loss = F.cross_entropy(judge(_shifted(to_unit_range(images[rows]), rng)), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge.eval().requires_grad_(False)


def _shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """The whole batch moved by one random (dy, dx), zeros coming in at the edges."""
    dy, dx = (
        int(n) for n in torch.randint(2 * MAX_SHIFT + 1, (2,), generator=rng, device=rng.device)
    )
    padded = F.pad(images, (MAX_SHIFT,) * 4)
    height, width = images.shape[-2:]
    return padded[..., dy : dy + height, dx : dx + width]


def classify(judge: Judge, images: Tensor, batch_size: int = 1000) -> Tensor:
    """The class that the judge sees in each image.

    Args:
        judge: In eval mode.
        images: float32 (N, C, H, W) in [0, 1].
        batch_size: Images per pass.

    Returns:
        int64 (N,).
    """
    with torch.inference_mode():
        return torch.cat([judge(batch).argmax(dim=1) for batch in images.split(batch_size)])
