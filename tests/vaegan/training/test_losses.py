import math

import pytest
import torch

from vaegan.training.losses import (
    confusion_loss,
    critic_loss,
    cycle_loss,
    discriminator_loss,
    generator_loss,
    pair_kernel_loss,
    reconstruction_loss,
    style_cycle_loss,
)


def test_reconstruction_sums_over_pixels_and_averages_over_images():
    generated = torch.zeros(2, 1, 2, 2)
    images = torch.zeros(2, 1, 2, 2)
    images[0] = 0.5  # 4 * 0.25 = 1 for the first image, 0 for the second
    assert reconstruction_loss(generated, images).item() == pytest.approx(0.5)


def test_reconstruction_of_another_shape_is_rejected_instead_of_broadcast():
    with pytest.raises(ValueError, match="shapes differ"):
        reconstruction_loss(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 1, 1))


def test_discriminator_loss_equals_a_hand_computed_value():
    # D = 3/4 on the real image, 1/4 and 1/2 on the generated ones.
    real, fake = torch.tensor([math.log(3)]), torch.tensor([-math.log(3), 0.0])
    expected = 0.5 * (-math.log(3 / 4) - (math.log(3 / 4) + math.log(1 / 2)) / 2)
    assert discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    assert discriminator_loss(torch.zeros(3), torch.zeros(5)).item() == pytest.approx(math.log(2))


def test_the_generators_loss_opposes_the_discriminators():
    assert generator_loss(torch.tensor([math.log(3)])).item() == pytest.approx(-math.log(3 / 4))
    logits = torch.tensor([0.3], requires_grad=True)
    generator_loss(logits).backward()
    theirs = torch.tensor([0.3], requires_grad=True)
    discriminator_loss(torch.zeros(1), theirs).backward()
    assert logits.grad.item() < 0 < theirs.grad.item()


def test_critic_loss_equals_a_hand_computed_value():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    expected = -(math.log(3 / 4) + math.log(1 / 2)) / 2
    assert critic_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(expected, rel=1e-6)


def test_confusion_is_zero_only_where_every_class_is_equally_likely():
    assert confusion_loss(torch.full((4, 10), 1.7)).item() == pytest.approx(0.0, abs=1e-6)
    # p = (1/4, 3/4): KL(uniform || p) = -log 2 - (log 1/4 + log 3/4) / 2.
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = -math.log(2) - (math.log(1 / 4) + math.log(3 / 4)) / 2
    assert confusion_loss(logits).item() == pytest.approx(expected, rel=1e-5)


def test_confusion_does_not_depend_on_which_class_the_critic_predicts():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    forward, backward = confusion_loss(logits).item(), confusion_loss(logits.flip(1)).item()
    assert forward == pytest.approx(backward, rel=1e-5)
    assert forward > 0.1


def test_cycle_losses_equal_hand_computed_values():
    first, second = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    assert style_cycle_loss(first, second).item() == pytest.approx((1 + 4) / 2)
    assert cycle_loss(first, second).item() == pytest.approx((1 + 2) / 2)


def test_the_pair_kernel_is_zero_for_independent_codes_and_grows_with_class_dependence():
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (2000,), generator=rng)
    found = []
    for strength in (0.0, 0.5, 2.0):
        pair = [
            torch.randn(2000, 3, generator=rng) + strength * torch.eye(4)[labels, :3]
            for _ in range(2)
        ]
        found.append(pair_kernel_loss(*pair).item())
    assert abs(found[0]) < 0.01
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.05
    # Standardised: hiding the class in small numbers is of no use.
    assert pair_kernel_loss(*(1e-3 * code for code in pair)).item() == pytest.approx(
        found[2], rel=0.02
    )


def test_the_pair_kernel_equals_a_hand_computed_value():
    first, second = torch.tensor([[-1.0], [1.0]]), torch.tensor([[-1.0], [1.0]])
    # Two codes each at -1 and at 1: distances squared 0 and 4, two of six pairs at 0.
    apart = sum(c / (c + 4) for c in (0.2, 0.5, 1.0, 2.0, 5.0)) / 5
    expected = 1 - (2 + 4 * apart) / 6
    assert pair_kernel_loss(first, second).item() == pytest.approx(expected, abs=1e-4)


def test_a_real_target_below_one_is_the_optimal_probability():
    """The least loss is where D says the target: at logit log(t / (1 - t))."""
    target, best = 0.9, torch.tensor([math.log(9.0)])
    for loss in (
        lambda x: generator_loss(x, target),
        lambda x: discriminator_loss(x, torch.zeros(1), target),
    ):
        assert loss(best) < loss(best + 0.1)
        assert loss(best) < loss(best - 0.1)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert generator_loss(best, target).item() == pytest.approx(entropy, rel=1e-5)
