import torch
from torch import nn

from vaegan.rng import torch_rng
from vaegan.training.adversaries import Critic, Discriminator


def test_a_trained_discriminator_uses_the_class(model_config):
    discriminator = Discriminator(model_config)
    nn.init.normal_(discriminator.identity.weight)
    images = torch.rand(1, 1, 16, 16).repeat(2, 1, 1, 1)
    logits = discriminator(images, torch.tensor([0, 1]))
    assert logits.shape == (2,)
    assert logits[0] != logits[1]


def test_adversaries_have_no_buffers(model_config):
    assert not list(Discriminator(model_config).buffers())
    assert not list(Critic(model_config).buffers())


def test_critic_cannot_be_evaded_by_shrinking_or_moving_the_code(model_config):
    critic = Critic(model_config)
    codes = torch.randn(32, 3, generator=torch_rng(0, "codes"))
    # 1e-6 added to a variance of 1e-2 moves the standardised code by 1e-4 / 2 of itself.
    assert torch.allclose(critic(codes), critic(0.1 * codes + 5), atol=1e-3)
    assert not torch.allclose(critic(codes), critic(codes.flip(1)), atol=1e-2)


def test_a_discriminator_by_example_is_conditioned_on_the_examples_identity(model_config):
    torch.manual_seed(0)
    discriminator = Discriminator(model_config, by_example=True)
    images, examples = torch.rand(2, 6, 1, 16, 16)
    torch.testing.assert_close(  # at first the identity says nothing
        discriminator(images, examples), discriminator(images, examples.roll(1, 0))
    )
    torch.nn.init.normal_(discriminator.identity.weight)
    assert not torch.allclose(
        discriminator(images, examples), discriminator(images, examples.roll(1, 0))
    )
    with torch.no_grad():
        features = discriminator.features(images)
        expected = discriminator.real(features).squeeze(1) + (
            features * (discriminator.features(examples) @ discriminator.identity.weight.T)
        ).sum(dim=1)
    torch.testing.assert_close(discriminator(images, examples), expected)
