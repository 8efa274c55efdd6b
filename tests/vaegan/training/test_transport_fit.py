import math

import pytest
import torch

from tests.vaegan.model.test_transport import CLASSES, transport
from vaegan.evaluation.leakage import leakage
from vaegan.evaluation.probes import QUICK
from vaegan.training.config import TransportFitConfig
from vaegan.training.loop import TrainingLoop
from vaegan.training.transport_codes import ChangedCodes, EncodedImages
from vaegan.training.transport_fit import fit_to_codes


def training(**changes) -> TransportFitConfig:
    values = {
        "images": 100_000,
        "images_per_class": 2,
        "steps": 400,
        "batch": 256,
        "lr": 5e-3,
        "alignment": 0.0,
        "changes": 8,
        "images_per_change": 16,
        "style_changes": "strokes",
        "mirror": False,
    }
    return TransportFitConfig(**(values | changes))


def encoded(s, z, labels, std=None) -> EncodedImages:
    return EncodedImages(s, z, torch.zeros(4) if std is None else std, labels)


def codes_and_labels(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Specified codes that are the label; unspecified ones on a ring, a line or a heap by class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    codes = torch.randn(count, 4, generator=rng)
    ring = codes[:, :2] / codes[:, :2].norm(dim=1, keepdim=True)
    codes[:, :2] = torch.where(
        (labels == 0)[:, None], 2 * ring + 0.3 * torch.randn(count, 2, generator=rng), codes[:, :2]
    )
    codes[:, 1] = torch.where(
        labels == 1, codes[:, 0].square() - 1 + 0.3 * codes[:, 1], codes[:, 1]
    )
    codes += 0.5 * torch.eye(CLASSES, 4)[labels]
    return torch.eye(CLASSES)[labels], codes, labels


def test_a_fitted_transport_removes_the_class_and_matches_the_prior():
    train, test = codes_and_labels(6000), codes_and_labels(3000, seed=1)
    fitted, std = transport(), torch.full((4,), 0.3)
    fit_to_codes(fitted, encoded(*train, std), None, training(steps=1000), seed=0)

    def read(parts):
        arrays = [array.numpy() for part in parts for array in part]
        return leakage(*arrays, CLASSES, 0, QUICK).accuracy

    assert read([train[1:], test[1:]]) > 0.7
    with torch.no_grad():
        moved = [(fitted(codes, labels), labels) for _, codes, labels in (train, test)]
    # Standard error at chance: sqrt(1/3 * 2/3 / 3000) = 0.009.
    assert read(moved) < 1 / 3 + 0.09
    for label in range(CLASSES):
        mine = moved[0][0][moved[0][1] == label]
        torch.testing.assert_close(mine.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
        torch.testing.assert_close(torch.cov(mine.T), 0.91 * torch.eye(4), atol=1e-3, rtol=0)
    assert torch.equal(fitted.classify(test[0]), test[2])


def test_equal_seeds_fit_equal_bits_and_others_do_not():
    s, z, labels = codes_and_labels(900)
    fits = []
    for seed in (0, 0, 1):
        fits.append(transport())
        fit_to_codes(fits[-1], encoded(s, z, labels), None, training(steps=20), seed)
    states = [fit.state_dict() for fit in fits]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("steps", [1, 9, 10])
def test_losses_of_a_short_fit_are_those_of_its_last_step(steps, monkeypatch):
    histories, run = [], TrainingLoop.run

    def recorded(loop, count):
        names, losses = run(loop, count)
        histories.append(losses)
        return names, losses

    monkeypatch.setattr(TrainingLoop, "run", recorded)
    data = encoded(*codes_and_labels(300))
    found = fit_to_codes(transport(), data, None, training(steps=steps), seed=0)
    assert math.isfinite(found["transport_loss"])
    assert list(found.values()) == histories[0][-1].tolist()


def test_alignment_makes_one_change_of_style_one_step_of_the_code():
    """In class 1 the style runs the other way: only alignment can tell the transport so."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3000) % CLASSES
    sign = torch.where(labels == 1, -1.0, 1.0)
    style = torch.randn(3000, 4, generator=rng)

    def code(style, rows):
        flipped = style.clone()
        flipped[:, 0] *= sign[rows]
        return flipped

    rows = torch.randint(3000, (8, 64), generator=rng)
    steps = torch.zeros(8, 1, 4)
    steps[:, 0, 0] = torch.randn(8, generator=rng)
    changed = torch.stack([code(style[r] + step, r) for r, step in zip(rows, steps, strict=True)])
    z, s = code(style, torch.arange(3000)), torch.eye(CLASSES)[labels]
    agreement = {}
    for weight in (0.0, 5.0):
        fitted = transport()
        aligned = training(alignment=weight, steps=800)
        fit_to_codes(fitted, encoded(s, z, labels), ChangedCodes(rows, changed), aligned, seed=0)
        with torch.no_grad():
            moved = fitted(z, labels)
        slopes = [
            torch.linalg.lstsq(style[labels == k], moved[labels == k]).solution[0]
            for k in range(CLASSES)
        ]
        agreement[weight] = torch.cosine_similarity(slopes[0], slopes[1], dim=0).item()
    assert agreement[0.0] < -0.9
    assert agreement[5.0] > 0.7


def test_style_predicted_by_z_is_removed_from_s():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3000) % CLASSES
    z = torch.randn(3000, 4, generator=rng)
    mixed = torch.randn(CLASSES, CLASSES, 4, generator=rng)  # another mixture for each class
    told = torch.einsum("bij,bj->bi", mixed[labels], z)
    own = 0.1 * torch.randn(3000, CLASSES, generator=rng)
    s = 20 * torch.eye(CLASSES)[labels] + told + own
    fitted = transport()
    fit_to_codes(fitted, encoded(s, z, labels), None, training(steps=300), seed=0)
    with torch.no_grad():
        new_s, new_z = fitted.separate(s, z)
    for label in range(CLASSES):
        mine = labels == label
        before, after = (part[mine] - part[mine].mean(0) for part in (s, new_s))
        style = new_z[mine] - new_z[mine].mean(0)
        assert (before.T @ style / mine.sum()).abs().max() > 0.5
        assert (after.T @ style / mine.sum()).abs().max() < 0.05
    torch.testing.assert_close(fitted.restore_style(new_s, new_z), z, rtol=1e-3, atol=1e-3)
