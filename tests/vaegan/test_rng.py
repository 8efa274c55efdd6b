import hashlib

import pytest
import torch

from vaegan.rng import derive_seed, numpy_rng, torch_rng


def test_streams_depend_on_seed_purpose_and_step_only():
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    assert len({derive_seed(*key) for key in keys}) == 4
    assert derive_seed(0, "a") == derive_seed(0, "a", 0)
    assert torch.equal(
        torch.rand(3, generator=torch_rng(5, "x")), torch.rand(3, generator=torch_rng(5, "x"))
    )
    assert numpy_rng(5, "x").random() == numpy_rng(5, "x").random()


def test_a_seed_is_the_first_63_bits_of_the_keys_digest():
    """Every published model depends on it."""
    bits = f"{int(hashlib.sha256(b'3/noise/17').hexdigest(), 16):0256b}"
    assert derive_seed(3, "noise", 17) == int(bits[:63], 2)


@pytest.mark.parametrize("rng", [torch_rng, numpy_rng])
def test_a_stream_does_not_depend_on_what_another_has_sampled(rng):
    def sample(stream) -> float:
        if isinstance(stream, torch.Generator):
            return torch.rand((), generator=stream).item()
        return stream.random()

    expected = sample(rng(1, "b", 2))
    sample(rng(1, "a", 2))
    torch.rand(3)
    assert sample(rng(1, "b", 2)) == expected
    assert sample(rng(1, "b", 3)) != expected
