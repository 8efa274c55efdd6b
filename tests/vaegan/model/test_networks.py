import dataclasses

import pytest
import torch
from torch import nn

from vaegan.devices import to_channels_last
from vaegan.model.config import NO_TRANSPORT, CodeConfig, ModelStructure
from vaegan.model.networks import Decoder, Encoder, Upsampling


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 17, 30)])
def test_decoder_undoes_the_encoders_sizes(shape):
    specified, unspecified = CodeConfig(5, True, False), CodeConfig(3, False, False)
    config = ModelStructure(2, specified, unspecified, NO_TRANSPORT, shape, 10)
    codes = Encoder(config)(torch.rand(4, *shape))
    assert codes.specified.mean.shape == codes.specified.logvar.shape == (4, 5)
    assert codes.unspecified.mean.shape == (4, 3)
    assert codes.unspecified.logvar is None
    images = Decoder(config)(codes.specified.mean, codes.unspecified.mean)
    assert images.shape == (4, *shape)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("extra", [(0, 0), (1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize("width", [1, 6])
def test_upsampling_equals_torchs_transposed_convolution_including_gradients(extra, width):
    layer = to_channels_last(Upsampling(3, width, extra)).double()
    features = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    wanted = nn.functional.conv_transpose2d(features, layer.weight, layer.bias, 2, 2, extra)
    found = layer(features)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted)
    slope = torch.randn_like(wanted)
    inputs = [features, layer.weight, layer.bias]
    for mine, theirs in zip(
        torch.autograd.grad(found, inputs, slope),
        torch.autograd.grad(wanted, inputs, slope),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_encoder_and_decoder_have_three_convolutions_of_size_five_each(model_config):
    for network, kind in ((Encoder, nn.Conv2d), (Decoder, nn.ConvTranspose2d)):
        layers = [m for m in network(model_config).modules() if isinstance(m, kind)]
        assert [layer.kernel_size for layer in layers] == [(5, 5)] * 3
        assert [layer.stride for layer in layers] == [(2, 2)] * 3
        norms = [m for m in network(model_config).modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) == 3


def test_feature_maps_double(model_config):
    layers = [m for m in Encoder(model_config).modules() if isinstance(m, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [4, 8, 16]


def test_a_code_without_variance_has_unit_scale_over_the_batch(model_config):
    config = dataclasses.replace(model_config, unspecified=CodeConfig(3, False, False))
    mean = Encoder(config)(torch.rand(64, 1, 16, 16)).unspecified.mean
    assert torch.allclose(mean.mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(mean.std(dim=0, correction=0), torch.ones(3), atol=0.02)


def test_both_codes_reach_the_image(model_config):
    torch.manual_seed(0)  # so few units can all be dead
    decoder = Decoder(model_config).eval()
    s, z = torch.zeros(1, 5), torch.zeros(1, 3)
    base = decoder(s, z)
    assert not torch.equal(decoder(s + 1, z), base)
    assert not torch.equal(decoder(s, z + 1), base)
