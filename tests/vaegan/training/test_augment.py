import numpy as np
import torch

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
