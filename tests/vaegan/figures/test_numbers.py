import pytest

from vaegan.figures.numbers import written


@pytest.mark.parametrize(
    ("key", "value", "interval", "expected"),
    [
        ("leakage/mean", 0.2244, (0.2164, 0.2322), ("22.4 %", "21.6 to 23.2")),
        ("swap/identity_accuracy", 0.98784, (0.9855, 0.9900025), ("98.8 %", "98.6 to 99.0")),
        ("swap/style_source_rate", 0.001, (0.0004, 0.0016), ("0.10 %", "0.04 to 0.16")),
        ("swap/identity_accuracy", 0.6666, (0.6, 0.74), ("67 %", "60 to 74")),
        ("swap/identity_accuracy", 1.0, (1.0, 1.0), ("100.0 %", "100.0 to 100.0")),
        ("leakage/chance", 0.1135, None, ("11.4 %", "")),
        ("leakage/mean", 0.0, None, ("0.0 %", "")),
        ("swap/style_kept_slant", 0.8963, None, ("0.90", "")),
        ("reconstruction/mse", 0.015074, None, ("0.015", "")),
        ("distance/kernel_real", 0.0001037, None, ("0.0001", "")),
        ("reconstruction/psnr", 18.2176, None, ("18.2", "")),
        ("latent/active_units", 16.0, None, ("16", "")),
        ("specified/style_r2", -0.0312, None, ("-0.031", "")),
        ("leakage/mean", float("nan"), None, ("not measured", "")),
    ],
)
def test_a_number_has_the_digits_that_it_deserves(key, value, interval, expected):
    assert written(key, value, interval) == expected
