"""Retrieval, rate, distances and intervals, against values worked out by hand."""

import numpy as np
import pytest
import torch

from vaegan.evaluation.distances import diversity, frechet_distance, kernel_distance
from vaegan.evaluation.intervals import bootstrap_interval
from vaegan.evaluation.rate import active_units, nats_per_dimension
from vaegan.evaluation.retrieval import retrieval_map


def test_average_precision_equals_a_hand_computed_value():
    angles = np.deg2rad([0.0, 10.0, 25.0, 45.0])
    codes = 3.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array([0, 0, 1, 0])
    # Relevant ranks: of the first 1 and 3; of the second 1 and 3; of the fourth 2 and 3.
    expected = np.mean([(1 + 2 / 3) / 2, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])
    assert retrieval_map(codes, labels, batch_size=3) == pytest.approx(expected)


def test_retrieval_is_perfect_for_the_label_and_a_class_share_for_noise():
    rng = np.random.default_rng(0)
    labels = np.arange(1000) % 5
    assert retrieval_map(np.eye(5)[labels], labels) == pytest.approx(1.0)
    assert retrieval_map(rng.standard_normal((1000, 8)), labels) == pytest.approx(0.2, abs=0.02)


def test_nats_agree_with_torch_distributions():
    rng = np.random.default_rng(0)
    mean, std = rng.standard_normal((50, 3)), rng.uniform(0.1, 2, (50, 3))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(torch.tensor(mean), torch.tensor(std)),
        torch.distributions.Normal(0.0, 1.0),
    ).mean(dim=0)
    np.testing.assert_allclose(nats_per_dimension(mean, std), expected, rtol=1e-6)


def test_inactive_units_are_not_counted():
    rng = np.random.default_rng(0)
    mean = np.stack([rng.standard_normal(500), 0.01 * rng.standard_normal(500)], axis=1)
    std = np.tile([0.2, 1.0], (500, 1))
    assert active_units(mean, std) == 1
    assert active_units(mean, np.zeros_like(std)) == 1  # no density: dimensions that vary
    assert np.isnan(nats_per_dimension(mean, np.zeros_like(std))).all()


def test_frechet_distance_of_normals_equals_a_hand_computed_value():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50_000, 2))
    b = 3.0 * rng.standard_normal((50_000, 2)) + [1.0, 2.0]
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    # |m|^2 + sum (sigma - sigma')^2 = 5 + 2 * 4
    assert frechet_distance(a, b) == pytest.approx(13, rel=0.03)


def test_kernel_distance_is_zero_for_equal_distributions_and_grows_with_a_shift():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3000, 4))
    assert abs(kernel_distance(a, b)) < 0.02
    assert 0.1 < kernel_distance(a, b + 0.5) < kernel_distance(a, b + 1.0)


def test_diversity_is_the_share_of_the_variance_within_each_class():
    rng = np.random.default_rng(0)
    real, labels = rng.standard_normal((2000, 3)), np.arange(2000) % 2
    generated = real * np.where(labels == 0, 0.5, 0.0)[:, None] + 7.0 * labels[:, None]
    ratios = diversity(generated, labels, real, labels, class_count=3)
    np.testing.assert_allclose(ratios, [0.25, 0.0, np.nan], atol=1e-9)  # no image of the third


@pytest.mark.parametrize("kind", ["rights and wrongs", "numbers"])
def test_intervals_contain_the_mean_at_their_nominal_rate(kind):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        values = rng.random(400) < 0.3 if kind != "numbers" else rng.normal(0.3, 1, 400)
        low, high = bootstrap_interval(values, rng)
        assert low <= values.mean() <= high
        held += low <= 0.3 <= high
    assert 0.9 <= held / 200 <= 0.99  # of 95 %, with a standard error of 1.5 %
