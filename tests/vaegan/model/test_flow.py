import pytest
import torch

from vaegan.model.flow import LOG_SCALE, Affine, Coupling, Flow, Rotation, multiply_by_class

CLASSES = 3


def coupling(dims: int, second: bool) -> Coupling:
    layer = Coupling(dims, CLASSES, 8, second)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def layers(dims: int = 4) -> dict:
    """A layer of every kind, away from the identity."""
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(dims, dims))[0]
    matrix = torch.eye(dims) + 0.3 * torch.randn(CLASSES, dims, dims)
    return {
        "affine": Affine(matrix, torch.randn(CLASSES, dims)),
        "rotation": Rotation(rotation),
        "first half": coupling(dims, second=False),
        "second half": coupling(dims, second=True),
    }


KINDS = list(layers())


@pytest.mark.parametrize("kind", [*KINDS, "all of them"])
def test_the_inverse_undoes_it_and_the_log_determinant_is_the_derivatives(kind):
    every = layers() | {"all of them": Flow(list(layers().values()))}
    layer, codes, labels = every[kind], torch.randn(6, 4), torch.arange(6) % CLASSES
    mapped, log_determinant = layer.forward(codes, labels)
    assert (mapped - codes).abs().max() > 0.1
    torch.testing.assert_close(layer.inverse(mapped, labels), codes, rtol=1e-4, atol=1e-4)
    for i in range(6):
        derivative = torch.autograd.functional.jacobian(
            lambda code, i=i: layer.forward(code[None], labels[i : i + 1])[0][0], codes[i]
        )
        expected = torch.linalg.slogdet(derivative)[1].item()
        found = torch.as_tensor(log_determinant).expand(6)[i].item()
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_rotation_is_the_same_for_every_class(kind):
    layer, codes = layers()[kind], torch.randn(5, 4)
    first, second = (layer.forward(codes, torch.full((5,), k))[0] for k in (0, 1))
    assert torch.equal(first, second) == (kind == "rotation")


def test_layers_are_applied_in_order_and_inverted_in_reverse():
    affine, rotation = layers()["affine"], layers()["rotation"]
    codes, labels = torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)
    flow = Flow([affine, rotation])
    mapped, _ = flow.forward(codes, labels)
    assert torch.equal(mapped, affine.forward(codes, labels)[0] @ rotation.matrix)
    inverted = affine.inverse(mapped @ rotation.matrix.T, labels)
    assert torch.equal(flow.inverse(mapped, labels), inverted)


@pytest.mark.parametrize("second", [False, True])
def test_a_coupling_changes_one_half_within_its_limit(second):
    layer, codes = coupling(5, second), torch.randn(20, 5)
    with torch.no_grad():
        layer.layers[-1].bias.fill_(1e4)  # shift and scale at their largest
    labels = torch.arange(20) % CLASSES
    mapped, log_determinant = layer.forward(codes, labels)
    kept = slice(2, 5) if second else slice(0, 2)
    moved = slice(0, 2) if second else slice(2, 5)
    assert torch.equal(mapped[:, kept], codes[:, kept])
    assert (mapped[:, moved] != codes[:, moved]).all()
    torch.testing.assert_close(log_determinant, torch.full((20,), LOG_SCALE * (2 if second else 3)))


def test_a_new_coupling_is_the_identity():
    codes, labels = torch.randn(5, 4), torch.arange(5) % CLASSES
    mapped, log_determinant = Coupling(4, CLASSES, 8, second=True).forward(codes, labels)
    assert torch.equal(mapped, codes)
    assert not log_determinant.any()


def test_each_code_is_multiplied_by_its_own_classs_matrix():
    matrices, codes = torch.randn(CLASSES, 2, 4), torch.randn(6, 4)
    labels = torch.tensor([2, 0, 1, 1, 0, 2])
    expected = torch.stack([matrices[k] @ code for k, code in zip(labels, codes, strict=True)])
    torch.testing.assert_close(multiply_by_class(matrices, codes, labels), expected)
