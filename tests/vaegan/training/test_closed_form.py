import torch

from vaegan.training.closed_form import match_moments, regress


def codes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (N, 3) of two classes, each with a mean and covariance of its own; their labels."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    mixtures = torch.randn(2, 3, 3, generator=rng)
    noise = torch.randn(count, 3, generator=rng)
    return torch.einsum("bij,bj->bi", mixtures[labels], noise) + 2.0 * labels[:, None], labels


def test_every_class_gets_the_requested_mean_and_covariance():
    z, labels = codes(400)
    variance = torch.tensor([0.5, 0.9, 1.0])
    matrices, shifts = torch.eye(3).repeat(2, 1, 1), torch.zeros(2, 3)
    match_moments(matrices, shifts, z, labels, variance)
    for label in range(2):
        mapped = (z[labels == label] - shifts[label]) @ matrices[label].T
        torch.testing.assert_close(mapped.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        # 1e-5 is added to the covariance before it is inverted.
        torch.testing.assert_close(torch.cov(mapped.T), torch.diag(variance), atol=2e-3, rtol=0)
        # Optimal transport between normal distributions is by a symmetric, positive matrix.
        torch.testing.assert_close(matrices[label], matrices[label].T)
        assert torch.linalg.eigvalsh(matrices[label]).min() > 0


def test_a_regression_finds_each_classs_own_coefficients_and_no_intercept():
    z, labels = codes(4000)
    rng = torch.Generator().manual_seed(1)
    wanted = torch.randn(2, 4, 3, generator=rng)
    noise = 0.01 * torch.randn(4000, 4, generator=rng)
    s = torch.einsum("bij,bj->bi", wanted[labels], z) + 7.0 + noise
    matrices = torch.zeros(2, 4, 3)
    regress(matrices, s, z, labels)
    torch.testing.assert_close(matrices, wanted, atol=0.05, rtol=0.05)


def test_a_class_with_too_few_codes_is_left_unchanged():
    z, labels = codes(200)
    labels = torch.where(torch.arange(200) < 3, 0, 1)  # three codes of class 0
    matrices, shifts = torch.eye(3).repeat(2, 1, 1), torch.zeros(2, 3)
    match_moments(matrices, shifts, z, labels, torch.ones(3))
    assert torch.equal(matrices[0], torch.eye(3))
    assert not shifts[0].any()
    assert shifts[1].any()
    coefficients = torch.zeros(2, 3, 3)
    regress(coefficients, z.clone(), z, labels)
    assert not coefficients[0].any()
    torch.testing.assert_close(coefficients[1], torch.eye(3), atol=0.05, rtol=0)


def test_a_code_of_one_dimension_is_scaled_to_the_variance():
    z = torch.arange(20.0)[:, None]
    matrices, shifts = torch.ones(1, 1, 1), torch.zeros(1, 1)
    match_moments(matrices, shifts, z, torch.zeros(20, dtype=torch.int64), torch.tensor([0.5]))
    assert shifts.item() == 9.5
    torch.testing.assert_close(((z - shifts[0]) * matrices[0]).var(), torch.tensor(0.5))
