"""The two adversaries of encoder and decoder: discriminator and critic."""

from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.model.config import KERNEL, PADDING, STRIDE, ModelConfig

FEATURES = 128  # of an image, that the discriminator tells identities by


class Discriminator(nn.Module):
    """Logit that an image (B, C, H, W) is a real picture of the identity given, (B,).

    Three convolutions of filter size 5 and stride 2; the identity enters by projection,
    logit = v . h(x) + e . h(x), as in Miyato & Koyama (2018, arXiv 1802.05637), there with a
    vector e_y learned for each class. It has no batch normalisation: a batch holds real or
    drawn images of many identities, and statistics shared by them would leak from one to another.

    Args:
        config: Of the model whose images it judges.
        by_example: Whether an identity is given by an image that shows it, e = W h(image), in
            place of a class: then no class need be known.
    """

    def __init__(self, config: ModelConfig, by_example: bool = False) -> None:
        super().__init__()
        self.by_example = by_example
        layers: list[nn.Module] = []
        channels = config.image_shape[0]
        for width in config.widths:
            layers += [nn.Conv2d(channels, width, KERNEL, STRIDE, PADDING), nn.LeakyReLU(0.2)]
            channels = width
        height, width = config.sizes[-1]
        self.trunk = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * width, FEATURES), nn.LeakyReLU(0.2)
        )
        self.real = nn.Linear(FEATURES, 1)
        self.identity: nn.Linear | nn.Embedding
        if by_example:
            self.identity = nn.Linear(FEATURES, FEATURES, bias=False)
        else:
            self.identity = nn.Embedding(config.class_count, FEATURES)
        nn.init.zeros_(self.identity.weight)

    def forward(self, images: Tensor, identities: Tensor) -> Tensor:
        """Logits, float32 (B,), of images in [0, 1].

        Args:
            images: float32 (B, C, H, W).
            identities: Labels, int64 (B,), or images that show them, (B, C, H, W).
        """
        shown = self.features(identities) if self.by_example else identities
        return self.logits(self.features(images), shown)

    def features(self, images: Tensor) -> Tensor:
        """h(x), (B, 128), the same whatever identity is asked after."""
        return self.trunk(images)

    def logits(self, features: Tensor, shown: Tensor) -> Tensor:
        """Logits, float32 (B,), of :meth:`features`.

        Args:
            features: (B, 128).
            shown: Labels, int64 (B,), or :meth:`features` of images that show the identities.
        """
        logits = self.real(features).squeeze(1).float()
        return logits + (features.float() * self.identity(shown).float()).sum(dim=1)


class Critic(nn.Module):
    """Guesses the class from an unspecified code: (B, Z) to logits (B, class_count).

    An MLP of two hidden layers of ``width`` units on the code standardised over the batch,
    so that a class written in small numbers is as plain to it as one in large numbers. The
    standardisation keeps no running statistics: using the critic never changes it.
    """

    def __init__(self, config: ModelConfig, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.unspecified.dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, config.class_count),
        )

    def forward(self, unspecified: Tensor) -> Tensor:
        """Class logits, float32, of a batch of at least two codes."""
        standardised = F.batch_norm(unspecified.float(), None, None, training=True, eps=1e-6)
        return self.layers(standardised).float()
