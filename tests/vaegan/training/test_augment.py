import numpy as np
import pytest
import torch

from vaegan.training import augment
from vaegan.training.augment import vary_style


def test_a_change_of_style_is_the_same_for_all_images_and_stays_in_range(bars):
    images = torch.from_numpy(bars.images[:6]).float() / 255
    changed = vary_style(images, torch.Generator().manual_seed(3))
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert (changed - images).abs().max() > 0.05
    for i in range(6):
        alone = vary_style(images[i : i + 1], torch.Generator().manual_seed(3))
        torch.testing.assert_close(alone[0], changed[i])
    other = vary_style(images, torch.Generator().manual_seed(4))
    assert not torch.allclose(other, changed, atol=0.01)
    assert np.isfinite(other.numpy()).all()


def picture(channels: int, size: int = 24) -> torch.Tensor:
    """Random blocks on black, four of one image and four of another, (2, C, H, W)."""
    rng = np.random.default_rng(0)
    blocks = rng.uniform(0.2, 0.9, (2, channels, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    images = np.zeros((2, channels, size, size), np.float32)
    images[..., 4:20, 4:20] = blocks
    return torch.from_numpy(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_change_of_pictures_is_the_same_for_all_and_keeps_black_black(channels):
    images = picture(channels)
    both = vary_style(images, torch.Generator().manual_seed(3), "pictures")
    alone = vary_style(images[1:], torch.Generator().manual_seed(3), "pictures")
    torch.testing.assert_close(alone[0], both[1])
    assert both.shape == images.shape
    assert 0 <= both.min() <= both.max() <= 1
    assert (both - images).abs().max() > 0.05
    assert both[..., 0, 0].abs().max() < 1e-6  # the background
    white = vary_style(torch.ones(1, channels, 8, 8), torch.Generator().manual_seed(3), "pictures")
    torch.testing.assert_close(white, torch.ones_like(white))


def only(monkeypatch, **amounts: float) -> None:
    """Pictures are changed by these amounts, and by no others."""
    names = ("right", "down", "zoom", "brighter", "contrast", "hue", "side")
    values = [amounts.get(name, 0.0) for name in names]
    monkeypatch.setattr(augment, "_amounts", lambda *_: values)


def changed_by(monkeypatch, images: torch.Tensor, mirror: bool = False, **amounts: float):
    only(monkeypatch, **amounts)
    return vary_style(images, torch.Generator(), "pictures", mirror)


def test_nothing_is_changed_by_amounts_of_zero(monkeypatch):
    images = picture(3)
    torch.testing.assert_close(changed_by(monkeypatch, images), images, atol=1e-5, rtol=0)


def test_pictures_are_mirrored_only_where_that_is_allowed(monkeypatch):
    images = picture(1)
    same = changed_by(monkeypatch, images, mirror=False, side=1.0)
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)
    mirrored = changed_by(monkeypatch, images, mirror=True, side=1.0)
    torch.testing.assert_close(mirrored, images.flip(3), atol=1e-5, rtol=0)


def test_a_shift_is_a_share_of_the_size(monkeypatch):
    """8 % of 25 pixels: two of them."""
    images = torch.rand(1, 1, 25, 25, generator=torch.Generator().manual_seed(0))
    shifted = changed_by(monkeypatch, images, right=1.0)
    torch.testing.assert_close(shifted[..., :-2], images[..., 2:], atol=1e-4, rtol=0)


def test_brightness_contrast_and_hue_move_what_they_name(monkeypatch):
    grey = torch.full((1, 3, 2, 2), 0.4)
    assert changed_by(monkeypatch, grey, brighter=1.0).mean() > 0.5
    assert changed_by(monkeypatch, grey, brighter=-1.0).mean() < 0.3
    two = torch.tensor([0.3, 0.7]).expand(1, 3, 1, 2)
    more, less = (changed_by(monkeypatch, two, contrast=c) for c in (1.0, -1.0))
    assert more[0, 0, 0].diff() > 0.42 > 0.38 > less[0, 0, 0].diff()
    torch.testing.assert_close(changed_by(monkeypatch, grey, hue=1.0), grey)
    red = torch.tensor([0.7, 0.3, 0.3])[None, :, None, None]
    turned = changed_by(monkeypatch, red, hue=1.0)[0, :, 0, 0]
    assert (turned - red[0, :, 0, 0]).abs().max() > 0.1
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert float(turned @ luma) == pytest.approx(float(red[0, :, 0, 0] @ luma), abs=1e-3)
