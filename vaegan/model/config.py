"""Configuration of the model: sections ``model`` and ``encode`` of the parameters."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from annotated_types import Interval, MultipleOf

KERNEL = 5  # "filter size 5", in encoder, decoder and discriminator alike
STRIDE = 2
PADDING = KERNEL // 2
SMALL_IMAGE = 32  # pixels; three convolutions of stride 2 make 4 x 4 feature maps of it


@dataclass(frozen=True)
class CodeConfig:
    """One of the two codes."""

    dim: Annotated[int, Interval(ge=1, le=4096)]
    """Dimensions of the code."""
    variational: bool
    """Whether the code has a mean and a variance and is sampled, or is used as it is."""
    shared_variance: bool
    """Whether all images share one learned variance per dimension, or each has its own."""


@dataclass(frozen=True)
class TransportConfig:
    """Size of the class transport, which removes the class from the unspecified code."""

    layers: Annotated[int, Interval(ge=0, le=64), MultipleOf(2)]
    """Coupling layers; 0 for no transport."""
    hidden: Annotated[int, Interval(ge=1, le=4096)]
    """Units in each of the two hidden layers of a coupling."""


NO_TRANSPORT = TransportConfig(layers=0, hidden=1)


@dataclass(frozen=True)
class ModelConfig:
    """Structure of encoder and decoder."""

    base_channels: Annotated[int, Interval(ge=1, le=1024)]
    """Feature maps of the first convolution; each further one has twice as many."""
    specified: CodeConfig
    """The code of what an image shows."""
    unspecified: CodeConfig
    """The code of how it looks."""
    transport: TransportConfig
    """The map that removes the class from the unspecified code."""


@dataclass(frozen=True)
class ModelStructure(ModelConfig):
    """A model's configuration and the sizes that its data has: enough to build the networks."""

    image_shape: tuple[int, int, int]
    """(C, H, W); height and width >= 8."""
    class_count: int
    """Number of identities that the adversaries tell apart."""

    @classmethod
    def of(
        cls, config: ModelConfig, image_shape: tuple[int, int, int], class_count: int
    ) -> "ModelStructure":
        """The structure of a configuration for some data set's images and classes."""
        known = {field.name: getattr(config, field.name) for field in fields(ModelConfig)}
        return cls(**known, image_shape=image_shape, class_count=class_count)

    def to_dict(self) -> dict[str, Any]:
        """The structure as JSON values; no transport is null, without a hidden size."""
        known = asdict(self)
        sizes = {"image_shape": list(known.pop("image_shape"))}
        sizes["class_count"] = known.pop("class_count")
        return sizes | known | ({} if self.transport.layers else {"transport": None})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelStructure":
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError: a field is missing, unknown or of another type.
        """
        channels, height, width = values["image_shape"]
        transport = values.get("transport")  # models from before there was one lack it
        return cls(
            image_shape=(int(channels), int(height), int(width)),
            class_count=int(values["class_count"]),
            base_channels=int(values["base_channels"]),
            specified=CodeConfig(**values["specified"]),
            unspecified=CodeConfig(**values["unspecified"]),
            transport=TransportConfig(**transport) if transport else NO_TRANSPORT,
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature maps after each convolution: twice as many as before, at most 8 times the first.

        Three convolutions, and one more for each doubling of the longer side beyond 32 pixels, so
        that the last feature maps are never larger than 4 x 4.
        """
        longest = max(self.image_shape[1:])
        extra = math.ceil(math.log2(max(longest, SMALL_IMAGE) / SMALL_IMAGE))
        return tuple(self.base_channels * min(2**i, 8) for i in range(3 + extra))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(H, W) of the image and after each convolution of stride 2."""
        sizes = [self.image_shape[1:]]
        for _ in self.widths:
            height, width = sizes[-1]
            sizes.append(((height + 1) // STRIDE, (width + 1) // STRIDE))
        return tuple(sizes)
