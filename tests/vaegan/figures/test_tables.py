import numpy as np
import pytest

from vaegan.figures.tables import Row, metric_rows, metric_table

ROWS = [
    Row("z", "leakage", "22.4 %", "21.6 to 23.2", "↓ lower", "chance 11.4 %"),
    Row("z", "other", "0.2"),
    Row("s", "probe", "99.2 %", "", "↑ higher"),
]
LABELS = np.arange(40) % 4  # two bits


def test_a_table_has_a_row_per_metric_and_names_each_group_once():
    (table,) = metric_table(ROWS, "title").axes[0].tables
    shown = {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}
    assert [shown[row, 0] for row in range(1, 4)] == ["z", "", "s"]
    assert [shown[1, column] for column in range(1, 6)] == [
        "leakage", "22.4 %", "21.6 to 23.2", "↓ lower", "chance 11.4 %",
    ]  # fmt: skip


def test_an_empty_table_is_rejected():
    with pytest.raises(ValueError, match="one row"):
        metric_table([], "")


def test_a_title_of_more_lines_makes_a_table_higher():
    one, three = metric_table(ROWS, "title"), metric_table(ROWS, "title\nand\nmore")
    assert three.get_figheight() == pytest.approx(one.get_figheight() + 0.4)


def test_rows_have_table_order_a_direction_and_an_interval():
    metrics = {"latent/kl": 13.0, "leakage/mean": 0.2, "control/label": 1.0}
    metrics |= {"interval/leakage/mean_low": 0.1, "interval/leakage/mean_high": 0.3}
    assert metric_rows(metrics, LABELS) == [
        Row("class in z", "strongest probe on means", "20 %", "10 to 30", "↓ lower"),
        Row("rate of z", "KL, nats", "13"),
    ]


def test_bits_and_chance_stand_beside_the_accuracy_of_the_same_probe():
    metrics = {"leakage/mean": 0.3, "leakage/mean_bits": 0.0004, "leakage/chance": 0.25}
    (row,) = metric_rows(metrics, LABELS)
    assert (row.value, row.beside) == ("30.0 %", "chance 25.0 %; under 0.01 of 2.00 bits")
    (row,) = metric_rows(metrics | {"leakage/mean_bits": float("nan")}, LABELS)
    assert row.beside == "chance 25.0 %"


def test_an_oracle_real_images_and_chance_stand_beside_what_they_bound():
    metrics = {
        "swap/style_kept_slant": 0.8963,
        "swap/style_oracle_slant": 0.9642,
        "distance/frechet_swap_prior": 0.2349,
        "distance/frechet_real": 0.0373,
        "factor/pose/unspecified_accuracy": 0.5,
        "factor/pose/chance": 0.25,
    }
    found = {row.words: row.beside for row in metric_rows(metrics, LABELS)}
    assert found == {
        "slant kept (correlation)": "oracle 0.96",
        "Fréchet distance to real images: prior styles": "two halves of real images 0.037",
        "pose read from z": "chance 25.0 %",
    }
