import json
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.dataset import Split, write_dataset
from pipeline.artifacts.files import ArtifactError
from pipeline.artifacts.paths import FIGURES, METRICS, PREPARED
from pipeline.params import load_params
from pipeline.report import failures
from pipeline.report.content import Inputs, StoreFacts, build_report
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.outputs import results

GATES = load_params(SHIPPED).evaluate.gates


def written(store: StoreFacts | None = None) -> str:
    """The page of what lies on disk."""
    return build_report(Inputs.read(), GATES, store)


@pytest.fixture(autouse=True)
def _few_swaps(monkeypatch):
    monkeypatch.setattr(failures, "TRIED", 200)


def test_the_report_shows_what_lies_on_disk_and_needs_nothing_else(measured):
    FIGURES.mkdir(parents=True)
    (FIGURES / "swaps.png").write_bytes(b"a picture")
    text = written()
    assert written() == text
    assert "1 of 2 gates not passed" in text
    assert "YSBwaWN0dXJl" in text  # the picture
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert set(re.findall(r'(?:src|href)="([^":,]*)', text)) == {
        "data", "#numbers", "#leakage", "#pictures", "#failures", "#data", "#origin", "#use",
    }  # fmt: skip
    assert text.count("Image and reconstruction, error") == 50
    assert len(set(re.findall(r'alt="Identity, style and swap: (. read as .)"', text))) > 1


def test_names_of_the_users_are_escaped(measured, bars):
    split = Split.from_images(bars)
    names = ["</td><script>boom()</script>", "<b>", "c", "d"]
    write_dataset(
        {"train": split, "test": split}, {"name": "<bars>", "class_names": names}, PREPARED
    )
    text = written()
    assert "&lt;b&gt; read as" in text
    assert "&lt;bars&gt;" in text
    assert "<script" not in text


def test_unseen_classes_are_in_the_card_and_not_in_the_table_of_classes(measured, bars):
    of = {name: Split.from_images(bars) for name in ("train", "test", "unseen")}
    about = {"name": "bars", "class_names": list("abcd"), "unseen_classes": ["v", "<w>", "x", "y"]}
    write_dataset(of, about, PREPARED)
    text = written()
    assert "4, of 256 images: v, &lt;w&gt;, x, y" in text
    assert '<th scope="col">test</th>' in text
    assert '<th scope="col">unseen</th>' not in text


def test_metrics_of_another_model_and_a_missing_model_are_refused(measured):
    METRICS.write_text(json.dumps(results("another")))
    with pytest.raises(ArtifactError, match="is of another model than models"):
        written()
    (measured / "models/weights.safetensors").unlink()
    with pytest.raises(ArtifactError, match="there is no model in models/"):
        written()


def test_the_champion_and_the_origin_are_in_a_page_with_facts_of_the_store_only(measured):
    facts = StoreFacts("version <7>", {"leakage/mean": 0.1999}, {"git.commit": "<abc>"})
    assert "champion, version" not in written()
    text = written(facts)
    assert "champion, version &lt;7&gt;" in text
    assert "20.0 %" in text
    assert "&lt;abc&gt;" in text
    assert text == written(facts)


def test_notes_on_the_images_what_was_left_out_and_known_factors_are_told(measured, bars):
    split = Split.from_images(bars)
    notes = ["2 unreadable images are left out:", "<a>.png: truncated"]
    about = {"name": "bars", "class_names": list("abcd"), "notes": notes}
    write_dataset({"train": split, "test": split}, about, PREPARED)
    left_out = "slant is not measured; the perceptron is left out"
    factors = {"factor/<hue>/unspecified_accuracy": 0.9, "factor/<hue>/chance": 0.5}
    found = results(json.loads(METRICS.read_text())["model/digest"])
    METRICS.write_text(json.dumps(found | factors | {"left_out": left_out}))
    text = written()
    assert "<li>&lt;a&gt;.png: truncated</li>" in text
    assert "Left out: the perceptron is left out" in text
    assert "&lt;hue&gt; read from z; chance 0.500" in text


def test_figures_come_in_their_order_others_last_and_numbers_not_at_all(measured):
    FIGURES.mkdir(parents=True)
    for name in ("tsne.png", "metrics.png", "swaps.png", "of_the_future.gif", "notes.txt"):
        (FIGURES / name).write_bytes(name.encode())
    shown = re.findall(r'<img src="data:image/(png|gif);base64,(\w+=*)" alt="([^"]{9})', written())
    assert [(kind, words) for kind, _, words in shown if words[:5] not in ("Ident", "Image")] == [
        ("png", "Swaps: ea"), ("png", "t-SNE of "), ("gif", "of the fu"),
    ]  # fmt: skip


def test_large_figures_and_tiles_are_compressed(measured, tmp_path, monkeypatch):
    from pipeline.report import pictures

    monkeypatch.setattr(pictures, "MOST_BYTES", 1000)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (source,) = pictures.addresses([tmp_path / "a.png"])
    assert source.startswith("data:image/webp")
    assert len(source) < (tmp_path / "a.png").stat().st_size
    large = [noise.transpose(2, 0, 1).astype(np.float32) / 255] * 3
    assert pictures.side_by_side(large).startswith("data:image/webp")
    assert pictures.side_by_side([large[0][:1, :28, :28]] * 2).startswith("data:image/png")
