"""Configuration of the model."""

from dataclasses import asdict, dataclass
from typing import Any

KERNEL = 5  # "filter size 5", in encoder, decoder and discriminator alike
STRIDE = 2
PADDING = KERNEL // 2


@dataclass(frozen=True)
class TransportConfig:
    """Size of a class transport.

    Attributes:
        layers: Coupling layers, >= 0 and even; 0 leaves the affine map alone.
        hidden: Units in each of the two hidden layers of a coupling, >= 1.
    """

    layers: int
    hidden: int


@dataclass(frozen=True)
class CodeConfig:
    """One code.

    Attributes:
        dim: Number of dimensions, >= 1.
        variational: Whether it has a variance.
        shared_variance: Whether that is one learned number per dimension, the same for every
            image. A variance of each image's own tells of the image what the mean leaves out.
    """

    dim: int
    variational: bool
    shared_variance: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """The structure of a model, enough to build it before its weights are loaded.

    Attributes:
        image_shape: (C, H, W), height and width >= 8.
        class_count: Number of identities that the adversaries tell apart.
        base_channels: Feature maps of the first convolution; they double in each next one.
        specified: The code of what is shown.
        unspecified: The code of how it looks.
        transport: Size of the map that takes the class out of the latter; None for no such map.
    """

    image_shape: tuple[int, int, int]
    class_count: int
    base_channels: int
    specified: CodeConfig
    unspecified: CodeConfig
    transport: TransportConfig | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, numbers and dictionaries, for JSON."""
        return asdict(self) | {"image_shape": list(self.image_shape)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ModelConfig":
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError: a field is missing, unknown or of another type.
        """
        channels, height, width = fields["image_shape"]
        transport = fields.get("transport")  # models from before there was one lack it
        return cls(
            image_shape=(int(channels), int(height), int(width)),
            class_count=int(fields["class_count"]),
            base_channels=int(fields["base_channels"]),
            specified=CodeConfig(**fields["specified"]),
            unspecified=CodeConfig(**fields["unspecified"]),
            transport=TransportConfig(**transport) if transport else None,
        )

    @property
    def widths(self) -> tuple[int, int, int]:
        """Feature maps after each of the three convolutions."""
        return self.base_channels, 2 * self.base_channels, 4 * self.base_channels

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(H, W) of the image and after each of the three convolutions of stride 2."""
        sizes = [self.image_shape[1:]]
        for _ in self.widths:
            height, width = sizes[-1]
            sizes.append(((height + 1) // STRIDE, (width + 1) // STRIDE))
        return tuple(sizes)
