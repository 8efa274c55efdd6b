from pipeline.params import load_params
from pipeline.report import tables
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.outputs import results

GATES = load_params(SHIPPED).evaluate.gates


def test_shares_are_in_per_cent_and_other_numbers_have_three_digits():
    assert tables.number("swap/identity_accuracy", 0.98784) == "98.8 %"
    assert tables.number("leakage/mean_perceptron", 0.177) == "17.7 %"
    assert tables.number("leakage/mean_bits", 0.21601) == "0.216"
    assert tables.number("reconstruction/mse", 0.0150745) == "0.0151"


def test_a_gate_is_told_with_its_bound_and_the_metric_nearest_to_missing_it():
    found = {
        row["words"]: row
        for row in tables.describe_gates(results("") | {"gate/style": "passed"}, GATES)
    }
    assert found["identity shown"] == {
        "words": "identity shown", "asked": "≥ 95.0 %", "measured": "98.8 %", "outcome": "passed",
    }  # fmt: skip
    assert found["class gone from z"]["outcome"] == "missed"
    assert found["style kept"]["measured"] == "0.708"


def test_of_a_gate_that_is_not_applied_nothing_is_measured():
    of_pictures = {key: value for key, value in results("").items() if "style_kept" not in key}
    (row,) = [
        row
        for row in tables.describe_gates(of_pictures | {"gate/style": "not applied"}, GATES)
        if row["words"] == "style kept"
    ]
    assert (row["measured"], row["outcome"]) == ("not measured", "not applied")


def test_each_known_style_factor_has_its_headlines():
    measured = {
        "factor/$side/swap_accuracy": 0.9,
        "interval/factor/$side/swap_accuracy_low": 0.85,
        "interval/factor/$side/swap_accuracy_high": 0.95,
        "factor/hue/swap_accuracy": 0.25,
    }
    rows = {row["words"]: row for row in tables.describe_headlines(results("") | measured)}
    (side,) = [row for words, row in rows.items() if "$side" in words]
    assert (side["value"], side["interval"]) == ("90.0 %", "85.0 % to 95.0 %")
    assert [row["value"] for words, row in rows.items() if "hue" in words] == ["25.0 %"]


def test_headlines_have_their_interval_and_the_better_direction():
    rows = {row["words"]: row for row in tables.describe_headlines(results(""))}
    swaps = rows["show the identity asked for"]
    assert (swaps["value"], swaps["interval"]) == ("98.8 %", "98.6 % to 99.0 %")
    assert swaps["better"] == "higher is better"
    assert rows["squared error per pixel"]["interval"] == ""


def test_a_probes_bar_goes_from_chance_to_one_and_bits_are_no_probe():
    assert tables.describe_probes(results("")) == [
        {"name": "perceptron", "value": "62.5 %", "share": 50.0},
        {"name": "logistic", "value": "25.0 %", "share": 0.0},
    ]


def test_a_headline_has_the_other_models_value_where_that_is_known():
    rows = tables.describe_headlines(results(""), {"leakage/mean": 0.2})
    beside = {row["words"]: row["other"] for row in rows}
    assert beside.pop("strongest probe on means") == "20.0 %"
    assert set(beside.values()) == {""}
