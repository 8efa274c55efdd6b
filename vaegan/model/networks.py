"""The networks of the model: encoder and decoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.model.codes import Codes, Posterior
from vaegan.model.config import KERNEL, PADDING, STRIDE, CodeConfig, ModelStructure

SHARED_LOGVAR = -2.0  # initial value: a std of 0.37 leaves room for information in the code
LOGVAR_RANGE = (-12.0, 6.0)  # std in [0.0025, 20] keeps exp() and the KL finite in training


class Encoder(nn.Module):
    """Encodes images (B, C, H, W) as the posteriors of both codes.

    Three convolutions of filter size 5 and stride 2 (more for images larger than 32 pixels), each
    with batch normalisation and ReLU, then one linear head per code.
    """

    def __init__(self, config: ModelStructure) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        channels = config.image_shape[0]
        for width in config.widths:
            layers += [
                nn.Conv2d(channels, width, KERNEL, STRIDE, PADDING, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        height, width = config.sizes[-1]
        features = channels * height * width
        self.specified = Head(features, config.specified)
        self.unspecified = Head(features, config.unspecified)

    def forward(self, images: Tensor) -> Codes:
        """Returns posteriors, float32 in any precision of the convolutions, of images in [0, 1]."""
        features = self.trunk(images)
        return Codes(self.specified(features), self.unspecified(features))


class Head(nn.Module):
    """Maps features (B, F) to the posterior of one code."""

    def __init__(self, features: int, code: CodeConfig) -> None:
        super().__init__()
        self.code = code
        own_variance = code.variational and not code.shared_variance
        self.linear = nn.Linear(features, (1 + own_variance) * code.dim)
        if not code.variational:
            # Without a KL term nothing fixes the scale of the code, and the encoder can evade the
            # critic by shrinking it. Normalised, it also has the prior's mean and variance.
            self.normalise = nn.BatchNorm1d(code.dim, affine=False)
        elif code.shared_variance:
            self.logvar = nn.Parameter(torch.full((code.dim,), SHARED_LOGVAR))

    def forward(self, features: Tensor) -> Posterior:
        """Returns mean and log-variance in float32."""
        output = self.linear(features)
        if not self.code.variational:
            return Posterior(self.normalise(output).float())
        output = output.float()
        if self.code.shared_variance:
            logvar = self.logvar.clamp(*LOGVAR_RANGE)
            return Posterior(output, logvar.expand_as(output))
        mean, logvar = output.chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE))


class Upsampling(nn.ConvTranspose2d):
    """A transposed convolution of filter size 5 and stride 2, computed as a convolution.

    Each of the four phases of the output (even or odd row, even or odd column) depends on 3 x 3
    inputs. One convolution to four times the channels computes all phases; rearranging them
    gives the image (Shi et al., 2016, arXiv 1609.07009). It is the same function of the same
    weights, several times as fast as oneDNN's transposed convolution in bfloat16.

    Args:
        channels: Feature maps of the input.
        width: Feature maps of the output.
        extra: Rows and columns, 0 or 1, by which the output exceeds (2H - 1, 2W - 1).
    """

    def __init__(self, channels: int, width: int, extra: tuple[int, int]) -> None:
        super().__init__(channels, width, KERNEL, STRIDE, PADDING, extra)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps (B, C, H, W) to (B, width, 2H - 1 + extra, 2W - 1 + extra), channels-last."""
        batch, channels, height, width = features.shape
        outputs = self.out_channels
        # Filter rows 4, 2, 0 give the even output rows from input rows -1, 0, +1; filter rows
        # 5, 3, 1 give the odd ones, row 5 being zero. The same holds for columns.
        taps = F.pad(self.weight, (0, 1, 0, 1)).flip(2, 3).view(channels, outputs, 3, 2, 3, 2)
        taps = taps.flip(3, 5).permute(3, 5, 1, 0, 2, 4).reshape(4 * outputs, channels, 3, 3)
        bias = None if self.bias is None else self.bias.repeat(4)
        phases = F.conv2d(features, taps.contiguous(memory_format=torch.channels_last), bias, 1, 1)
        phases = phases.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, outputs)
        upsampled = phases.transpose(2, 3).reshape(batch, 2 * height, 2 * width, outputs)
        rows = 2 * height - 1 + self.output_padding[0]
        columns = 2 * width - 1 + self.output_padding[1]
        # Copied, because batch normalisation is slow on rows with gaps between them.
        return upsampled[:, :rows, :columns].contiguous().permute(0, 3, 1, 2)


class Decoder(nn.Module):
    """Decodes codes (B, S) and (B, Z) to images (B, C, H, W) in [0, 1].

    A linear layer, then transposed convolutions of filter size 5 that invert the encoder's
    sizes, with batch normalisation and ReLU before each, and a sigmoid at the end.
    """

    def __init__(self, config: ModelStructure) -> None:
        super().__init__()
        self.shape = (config.widths[-1], *config.sizes[-1])
        self.linear = nn.Linear(
            config.specified.dim + config.unspecified.dim,
            self.shape[0] * self.shape[1] * self.shape[2],
        )
        outputs = (*config.widths[-2::-1], config.image_shape[0])
        layers: list[nn.Module] = []
        channels = self.shape[0]
        for width, small, large in zip(
            outputs, config.sizes[:0:-1], config.sizes[-2::-1], strict=True
        ):
            # Output size without extra: (n - 1) * stride - 2 * padding + kernel = 2n - 1.
            extra = (large[0] - (STRIDE * small[0] - 1), large[1] - (STRIDE * small[1] - 1))
            layers += [
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                Upsampling(channels, width, extra),
            ]
            channels = width
        self.trunk = nn.Sequential(*layers)

    def forward(self, specified: Tensor, unspecified: Tensor) -> Tensor:
        """Returns images, float32; row i of both codes gives image i."""
        features = self.linear(torch.cat([specified, unspecified], dim=1))
        features = features.view(-1, *self.shape).contiguous(memory_format=torch.channels_last)
        return torch.sigmoid(self.trunk(features).float())
