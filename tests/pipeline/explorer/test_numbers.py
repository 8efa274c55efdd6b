import numpy as np
import pytest

from pipeline.explorer.numbers import SMALL, pack, unpack

RNG = np.random.default_rng(0)


def test_small_arrays_keep_every_bit():
    arrays = {"a": RNG.standard_normal((3, 5)).astype(np.float32), "b": np.float32([1e-30, -3e38])}
    found = unpack(*pack(arrays))
    assert all((found[name] == arrays[name]).all() for name in arrays)
    assert found["a"].shape == (3, 5)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_large_arrays_keep_eleven_binary_digits_at_any_scale(scale):
    array = (RNG.standard_normal((2, SMALL)) * scale).astype(np.float32)
    content, places = pack({"small": np.ones(3, np.float32), "large": array})
    assert len(content) == 12 + 2 * array.size
    found = unpack(content, places)["large"]
    plain = np.abs(array) > 1e-6 * scale
    assert np.abs(found / array - 1)[plain].max() <= 2**-11


def test_a_large_array_of_zeros_is_stored():
    assert not unpack(*pack({"zeros": np.zeros(SMALL + 1, np.float32)}))["zeros"].any()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=r"decoder\.bias must be finite"):
        pack({"decoder.bias": np.float32([0, wrong])})
