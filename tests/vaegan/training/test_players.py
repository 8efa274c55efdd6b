"""A player's own optimizer step, against the formula."""

import torch
from torch import nn

from vaegan.devices import to_channels_last
from vaegan.training.players import Player


def test_a_step_equals_adams_for_channels_last_weights():
    layer = to_channels_last(nn.Conv2d(3, 4, 5, bias=False)).double()
    player = Player("p", [layer], lr=0.1, betas=(0.5, 0.9))
    weight = layer.weight.detach().clone()
    rng = torch.Generator().manual_seed(0)
    mean = square = torch.zeros_like(weight)
    for step, scale in enumerate((1.0, 0.5, 0.25), start=1):
        slope = torch.randn(weight.shape, generator=rng, dtype=torch.float64).contiguous()
        player.set_rate(scale)
        player.update((layer.weight * slope).sum())
        # Kingma & Ba (2015), algorithm 1.
        mean = 0.5 * mean + 0.5 * slope
        square = 0.9 * square + 0.1 * slope.square()
        corrected = square / (1 - 0.9**step)
        weight = weight - 0.1 * scale * mean / (1 - 0.5**step) / (corrected.sqrt() + 1e-8)
        torch.testing.assert_close(layer.weight.detach(), weight)


def test_gradients_reach_one_player_only_and_a_kept_graph_serves_another():
    mine, other = nn.Linear(2, 2), nn.Linear(2, 2)
    players = [
        Player(name, [module], 0.1, (0.9, 0.9)) for name, module in (("a", mine), ("b", other))
    ]
    output = other(mine(torch.ones(1, 2)))
    players[0].backward(output.sum(), keep_graph=True)
    assert other.weight.grad is None
    before = mine.weight.grad.clone()
    players[1].backward(-output.sum())
    assert torch.equal(mine.weight.grad, before)
    assert other.weight.grad is not None
