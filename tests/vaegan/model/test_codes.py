import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaegan.model.codes import Posterior, kl_to_standard_normal, reparameterize
from vaegan.rng import torch_rng


@pytest.fixture
def posterior() -> Posterior:
    rng = torch_rng(0, "posterior")
    return Posterior(torch.randn(6, 4, generator=rng), torch.randn(6, 4, generator=rng))


def test_kl_agrees_with_torch_distributions(posterior):
    expected = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0))
    assert kl_to_standard_normal(posterior).item() == pytest.approx(
        expected.sum(dim=1).mean().item(), rel=1e-5
    )


def test_kl_is_zero_at_the_prior_and_for_a_code_without_variance():
    assert kl_to_standard_normal(Posterior(torch.zeros(3, 2), torch.zeros(3, 2))) == 0
    assert kl_to_standard_normal(Posterior(torch.ones(3, 2))) == 0


def test_samples_have_the_moments_of_the_posterior():
    posterior = Posterior(torch.full((200_000, 1), 2.0), torch.full((200_000, 1), 0.6))
    samples = reparameterize(posterior, torch_rng(1, "noise"))
    # Standard errors: std / sqrt(N) = 0.003 for the mean, 0.002 for the deviation.
    assert samples.mean().item() == pytest.approx(2.0, abs=0.015)
    assert samples.std().item() == pytest.approx(torch.tensor(0.3).exp().item(), abs=0.015)


def test_gradients_reach_mean_and_logvar():
    mean = torch.zeros(3, 2, requires_grad=True)
    logvar = torch.zeros(3, 2, requires_grad=True)
    noise = torch.randn(3, 2, generator=torch_rng(0, "noise"))
    reparameterize(Posterior(mean, logvar), torch_rng(0, "noise")).sum().backward()
    assert torch.equal(mean.grad, torch.ones(3, 2))
    assert torch.allclose(logvar.grad, 0.5 * noise)


def test_a_code_without_variance_is_its_mean():
    mean = torch.randn(3, 2)
    assert reparameterize(Posterior(mean)) is mean
    assert torch.equal(Posterior(mean).std, torch.zeros(3, 2))


def test_different_shapes_are_rejected():
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(3, 1\)"):
        Posterior(torch.zeros(3, 2), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        Posterior(torch.zeros(3))
