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


def test_a_new_transport_is_the_identity():
    codes, labels = torch.randn(10, 4), torch.arange(10) % CLASSES
    torch.testing.assert_close(transport()(codes, labels), codes)


@pytest.mark.parametrize("dims", [1, 2, 5, 16])
def test_the_inverse_undoes_it_for_the_same_class_only(dims):
    moved, codes, labels = shaken(dims), torch.randn(50, dims), torch.arange(50) % CLASSES
    mapped = moved(codes, labels)
    assert (mapped - codes).abs().max() > 0.1
    torch.testing.assert_close(moved.flow.inverse(mapped, labels), codes, rtol=1e-3, atol=1e-4)
    assert (moved.flow.inverse(mapped, (labels + 1) % CLASSES) - codes).abs().max() > 0.1


def test_the_log_determinant_is_that_of_the_derivative():
    moved, codes, labels = shaken(), torch.randn(3, 4), torch.tensor([0, 1, 2])
    _, found = moved.flow.forward(codes, labels)
    for i in range(3):
        derivative = torch.autograd.functional.jacobian(
            lambda code, i=i: moved(code[None], labels[i : i + 1])[0], codes[i]
        )
        assert found[i].item() == pytest.approx(
            torch.linalg.slogdet(derivative)[1].item(), abs=1e-4
        )


def test_an_odd_number_of_layers_is_rejected():
    with pytest.raises(ValueError, match="transport.layers: got 3"):
        transport(layers=3)


def test_its_tensors_keep_the_names_used_in_saved_models():
    layers = {
        f"couplings.{i}.layers.{j}.{kind}"
        for i in range(2)
        for j in (0, 2, 4)
        for kind in ("weight", "bias")
    }
    assert set(transport(layers=2).state_dict()) == layers | {
        "classes.weight",
        "classes.bias",
        "shift",
        "matrix",
        "style_in_identity",
        "last_shift",
        "last_matrix",
        "rotations",
    }


def test_pairs_of_couplings_are_enclosed_by_a_rotation_and_its_inverse():
    moved = transport(layers=4)
    kinds = [type(layer).__name__ for layer in moved.flow.layers]
    inner = ["Rotation", "Coupling", "Coupling", "Rotation"]
    assert kinds == ["Affine", *inner, *inner, "Affine"]
    assert [layer for layer in moved.flow.layers if layer in set(moved.couplings)] == list(
        moved.couplings
    )
    for first, last in ((1, 4), (5, 8)):
        product = moved.flow.layers[first].matrix @ moved.flow.layers[last].matrix
        torch.testing.assert_close(product, torch.eye(4), atol=1e-6, rtol=0)


def test_a_reset_transport_is_the_identity_and_depends_on_the_random_stream_only():
    resets = []
    for used in (shaken(), transport()):
        torch.manual_seed(1)
        used.reset_parameters()
        resets.append(used.state_dict())
    assert all(torch.equal(value, resets[1][name]) for name, value in resets[0].items())
    codes, labels = torch.randn(10, 4), torch.arange(10) % CLASSES
    torch.testing.assert_close(used(codes, labels), codes)
    assert not torch.equal(resets[0]["classes.weight"], transport().classes.weight)
