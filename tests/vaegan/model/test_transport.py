import pytest
import torch

from vaegan.model.config import TransportConfig
from vaegan.model.transport import ClassTransport

CLASSES = 3


def transport(dims: int = 4, layers: int = 4) -> ClassTransport:
    torch.manual_seed(0)
    return ClassTransport(CLASSES, dims, CLASSES, TransportConfig(layers, 32))


def shaken(dims: int = 4) -> ClassTransport:
    """One whose every weight is away from where it starts."""
    moved = transport(dims)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return moved


def test_a_new_transport_moves_nothing():
    codes, labels = torch.randn(10, 4), torch.arange(10) % CLASSES
    torch.testing.assert_close(transport()(codes, labels), codes)


@pytest.mark.parametrize("dims", [1, 2, 5, 16])
def test_the_inverse_undoes_it_for_the_same_class_only(dims):
    moved, codes, labels = shaken(dims), torch.randn(50, dims), torch.arange(50) % CLASSES
    there = moved(codes, labels)
    assert (there - codes).abs().max() > 0.1
    torch.testing.assert_close(moved.inverse(there, labels), codes, rtol=1e-3, atol=1e-4)
    assert (moved.inverse(there, (labels + 1) % CLASSES) - codes).abs().max() > 0.1


def test_the_log_determinant_is_that_of_the_derivative():
    moved, codes, labels = shaken(), torch.randn(3, 4), torch.tensor([0, 1, 2])
    _, found = moved.with_log_determinant(codes, labels)
    for i in range(3):
        derivative = torch.autograd.functional.jacobian(
            lambda code, i=i: moved(code[None], labels[i : i + 1])[0], codes[i]
        )
        assert found[i].item() == pytest.approx(
            torch.linalg.slogdet(derivative)[1].item(), abs=1e-4
        )


def test_an_odd_number_of_layers_is_refused():
    with pytest.raises(ValueError, match="transport.layers: got 3"):
        transport(layers=3)
