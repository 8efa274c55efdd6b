"""The adversaries of encoder and decoder: discriminator and critic."""

from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.model.config import KERNEL, PADDING, STRIDE, ModelStructure

FEATURES = 128  # units of the discriminator's last hidden layer


class Discriminator(nn.Module):
    """Computes the logit that an image (B, C, H, W) is real and shows a given identity, (B,).

    Convolutions of the encoder's sizes, then a projection of the identity: logit = v . h(x) +
    e . h(x). In Miyato & Koyama (2018, arXiv 1802.05637), e is learned per class.
    There is no batch normalisation: a batch holds real or generated images of many identities,
    and its statistics would carry information from one image to another.

    Args:
        config: Structure of the model.
        by_example: If true, an identity is given by an image that shows it, e = W h(image), and
            no class has to be known.
    """

    def __init__(self, config: ModelStructure, by_example: bool = False) -> None:
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
        """Returns logits, float32 (B,), of images in [0, 1].

        Args:
            images: float32 (B, C, H, W).
            identities: Labels, int64 (B,), or images that show them, (B, C, H, W).
        """
        identity = self.features(identities) if self.by_example else identities
        return self.logits(self.features(images), identity)

    def features(self, images: Tensor) -> Tensor:
        """Returns h(x), (B, 128), which does not depend on the identity."""
        return self.trunk(images)

    def logits(self, features: Tensor, identity: Tensor) -> Tensor:
        """Returns logits, float32 (B,), of :meth:`features`.

        Args:
            features: (B, 128).
            identity: Labels, int64 (B,), or :meth:`features` of images that show the identities.
        """
        logits = self.real(features).squeeze(1).float()
        return logits + (features.float() * self.identity(identity).float()).sum(dim=1)


class Critic(nn.Module):
    """Predicts the class from an unspecified code: (B, Z) to logits (B, class_count).

    An MLP of two hidden layers of ``width`` units. The code is standardised over the batch, so
    that the encoder cannot hide the class by shrinking the code. No running statistics are
    kept, so a forward pass does not change the critic.
    """

    def __init__(self, config: ModelStructure, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.unspecified.dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, config.class_count),
        )

    def forward(self, unspecified: Tensor) -> Tensor:
        """Returns class logits, float32, of a batch of at least two codes."""
        standardised = F.batch_norm(unspecified.float(), None, None, training=True, eps=1e-6)
        return self.layers(standardised).float()
