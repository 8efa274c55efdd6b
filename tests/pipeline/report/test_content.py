import json
import re

import pytest

from pipeline.artifacts.dataset import Split, write_dataset
from pipeline.artifacts.files import ArtifactError
from pipeline.artifacts.paths import FIGURES, METRICS, PREPARED
from pipeline.params import load_params
from pipeline.report import content, failures
from pipeline.report.content import build_report
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.report.conftest import results

GATES = load_params(SHIPPED).evaluate.gates


def test_shares_are_in_per_cent_and_other_numbers_have_three_digits():
    assert content.number("swap/identity_accuracy", 0.98784) == "98.8 %"
    assert content.number("leakage/mean_perceptron", 0.177) == "17.7 %"
    assert content.number("leakage/mean_bits", 0.21601) == "0.216"
    assert content.number("reconstruction/mse", 0.0150745) == "0.0151"


def test_a_gate_is_told_with_its_bound_and_the_metric_nearest_to_missing_it():
    found = {
        row["words"]: row
        for row in content.describe_gates(results("") | {"gate/style": "passed"}, GATES)
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
        for row in content.describe_gates(of_pictures | {"gate/style": "not applied"}, GATES)
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
    rows = {row["words"]: row for row in content.describe_headlines(results("") | measured)}
    (side,) = [row for words, row in rows.items() if "$side" in words]
    assert (side["value"], side["interval"]) == ("90.0 %", "85.0 % to 95.0 %")
    assert [row["value"] for words, row in rows.items() if "hue" in words] == ["25.0 %"]


def test_headlines_have_their_interval_and_the_better_direction():
    rows = {row["words"]: row for row in content.describe_headlines(results(""))}
    swaps = rows["show the identity asked for"]
    assert (swaps["value"], swaps["interval"]) == ("98.8 %", "98.6 % to 99.0 %")
    assert swaps["better"] == "higher is better"
    assert rows["squared error per pixel"]["interval"] == ""


def test_a_probes_bar_goes_from_chance_to_one_and_bits_are_no_probe():
    assert content.describe_probes(results("")) == [
        {"name": "perceptron", "value": "62.5 %", "share": 50.0},
        {"name": "logistic", "value": "25.0 %", "share": 0.0},
    ]


@pytest.fixture(autouse=True)
def _few_swaps(monkeypatch):
    monkeypatch.setattr(failures, "TRIED", 200)


def test_the_report_shows_what_lies_on_disk_and_needs_nothing_else(measured):
    FIGURES.mkdir(parents=True)
    (FIGURES / "swaps.png").write_bytes(b"a picture")
    text = build_report(GATES)
    assert build_report(GATES) == text
    assert "YSBwaWN0dXJl" in text  # the picture
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert set(re.findall(r'(?:src|href)="([^":,]*)', text)) == {
        "data", "#numbers", "#leakage", "#pictures", "#failures", "#data", "#origin", "#use",
    }  # fmt: skip
    assert "&lt;0.2244&gt;" in text
    assert text.count("Image and reconstruction, error") == 50
    assert len(set(re.findall(r'alt="Identity, style and swap: (. read as .)"', text))) > 1


def test_names_of_the_users_are_escaped(measured, bars):
    split = Split.from_images(bars)
    names = ["</td><script>boom()</script>", "<b>", "c", "d"]
    write_dataset(
        {"train": split, "test": split}, {"name": "<bars>", "class_names": names}, PREPARED
    )
    text = build_report(GATES)
    assert "&lt;b&gt; read as" in text
    assert "&lt;bars&gt;" in text
    assert "<script" not in text


def test_unseen_classes_are_in_the_card_and_not_in_the_table_of_classes(measured, bars):
    of = {name: Split.from_images(bars) for name in ("train", "test", "unseen")}
    about = {"name": "bars", "class_names": list("abcd"), "unseen_classes": ["v", "<w>", "x", "y"]}
    write_dataset(of, about, PREPARED)
    text = build_report(GATES)
    assert "4, of 256 images: v, &lt;w&gt;, x, y" in text
    assert '<th scope="col">test</th>' in text
    assert '<th scope="col">unseen</th>' not in text


def test_metrics_of_another_model_and_a_missing_model_are_refused(measured):
    METRICS.write_text(json.dumps(results("another")))
    with pytest.raises(ArtifactError, match="is of another model than models"):
        build_report(GATES)
    (measured / "models/weights.safetensors").unlink()
    with pytest.raises(ArtifactError, match="there is no model in models/"):
        build_report(GATES)
