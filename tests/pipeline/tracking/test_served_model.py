"""Images as they come, and classes by name, in the served model; without MLflow around it."""

import base64
import io
import json
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.data import conversion
from pipeline.tracking import served_model
from vaegan.model.config import NO_TRANSPORT, CodeConfig, ModelStructure
from vaegan.model.vae import DisentanglingVAE

GRAY = conversion.Conversion((16, 12), "pad", "gray", "black", False)
COLOR = conversion.Conversion((16, 12), "stretch", "color", "white", False)
INVERTED = conversion.Conversion((16, 12), "crop", "gray", "black", True)


def served(folder, how, names=(), codes=None, tests=None):
    """A served model of random weights, as MLflow loads it; its normalisation has seen images."""
    codes_of = CodeConfig(3, True, False), CodeConfig(4, True, False)
    shape = (1 if how.channels == "gray" else 3, *how.image_size)
    torch.manual_seed(0)
    untrained = DisentanglingVAE(ModelStructure(2, *codes_of, NO_TRANSPORT, shape, 4))
    images = torch.rand(20, *shape) * torch.rand(20, 1, 1, 1)
    with torch.no_grad():
        for _ in range(20):
            untrained.train().reconstruct(images)
    untrained.eval().save(folder)
    registered = {"model": str(folder), "conversion": str(folder / "conversion.json")}
    (folder / "conversion.json").write_text(served_model.json.dumps(how.to_dict()))
    if names:
        path = folder / "identities.safetensors"
        codes = np.eye(len(names), 3, dtype=np.float32) if codes is None else codes
        served_model.write_identities(path, list(names), codes)
        registered["identities"] = str(path)
    if tests is not None:
        errors = served_model.reconstruction_errors(untrained, torch.from_numpy(tests))
        served_model.write_percentiles(folder / "errors.json", errors)
        registered["errors"] = str(folder / "errors.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "conversion", conversion)  # as its copy is in a version
        model = served_model.ServedModel()
        model.load_context(SimpleNamespace(artifacts=registered))
    return model


def codes(model, given):
    """Both codes of each image, which the untrained networks tell apart better than its images."""
    answer = model.predict(None, given, {"task": "encode"})
    return np.hstack([answer["specified_mean"], answer["unspecified_mean"]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=[GRAY, COLOR, INVERTED], ids=["gray", "color", "inverted"])
def model(request, folder):
    return served(folder, request.param)


def photograph(width=50, height=31):
    """Colours that vary over the image, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    channels = 255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)
    return np.stack(channels, axis=-1).astype(np.uint8)


def file(picture, kind="PNG", **options):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind, **options)
    return content.getvalue()


WIDE = (np.arange(31 * 50, dtype=np.uint16) * 42).reshape(31, 50)  # 16 bits
ALPHA = np.dstack([photograph(), np.tile(np.uint8([0, 255]), (31, 25))])


@pytest.mark.parametrize(
    "content",
    [
        file(photograph()),
        file(photograph(7, 9), "JPEG"),
        file(photograph(200, 3), "WEBP"),
        file(photograph()[..., 0]),
        file(WIDE),
        file(ALPHA),
        file(photograph()[..., 0] > 100, "GIF"),
    ],
    ids=["colour", "small", "flat", "gray", "16 bits", "alpha", "palette"],
)
def test_a_file_of_any_kind_is_converted_as_prepare_does(model, content):
    prepared = model.conversion.convert(conversion.open_image(content))
    expected = codes(model, prepared[None].astype(np.float32) / 255)
    text = base64.b64encode(content).decode()
    for given in (content, text, f"data:image/png;base64,{text}"):
        np.testing.assert_array_equal(codes(model, [given]), expected)
    assert np.abs(codes(model, [content, file(photograph()[::-1])]) - expected)[1].max() > 1e-3


@pytest.mark.parametrize(
    ("array", "same"),
    [
        (photograph(), photograph()),
        (photograph().transpose(2, 0, 1), photograph()),
        (photograph()[..., :1], photograph()[..., 0]),
        (photograph()[..., 0], photograph()[..., 0]),
        (photograph() / 255, photograph()),
        ((photograph() / np.float32(255))[..., 0], photograph()[..., 0]),
        (WIDE, WIDE),
        (ALPHA, ALPHA),
        (Image.fromarray(photograph()), photograph()),
    ],
    ids=["HWC", "CHW", "HW1", "HW", "double", "float", "16 bits", "alpha", "Pillow"],
)
def test_an_array_of_another_size_or_channel_count_is_taken_like_its_file(model, array, same):
    np.testing.assert_array_equal(codes(model, [array]), codes(model, [file(same)]))


def test_an_array_of_the_models_shape_is_not_converted(folder):
    inverted, plain = served(folder, INVERTED), served(folder, GRAY)
    images = np.linspace(0, 1, 16 * 12, dtype=np.float32).reshape(1, 1, 16, 12)
    np.testing.assert_array_equal(codes(inverted, images), codes(plain, images))
    assert np.abs(codes(inverted, [images[0]]) - codes(inverted, images)).max() > 1e-3


def test_every_image_that_cannot_be_used_is_named_with_its_reason(model):
    good = file(photograph())
    given = [
        good, good[: len(good) // 2], b"", b"#!/bin/sh", "/etc/passwd", np.zeros((3, 4, 5, 6)),
        np.full((9, 9), np.nan), np.full((9, 9), 2.0), np.zeros((9, 9), np.int64), None, good,
    ]  # fmt: skip
    with pytest.raises(MlflowException) as refusal:
        model.predict(None, given)
    parts = dict(part.split(" ", 2)[1:] for part in refusal.value.message.split("; image"))
    assert "\n" not in refusal.value.message
    reasons = {
        1: "cannot be decoded: ",
        2: "is empty",
        3: "is no image, or in none of the formats PNG, JPEG",
        4: "is the text '/etc/passwd', expected the content of a file in base64",
        5: "has the shape (3, 4, 5, 6), expected (H, W) or (H, W, C)",
        6: "has floats outside [0, 1]",
        7: "has floats outside [0, 1]",
        8: "has the type int64, expected uint8, uint16 or floats in [0, 1]",
        9: "is a NoneType, expected a file's content or an array",
    }
    assert parts.keys() == set(map(str, reasons))
    for position, reason in reasons.items():
        assert parts[str(position)].startswith(reason)


NAMES = {
    "unicode": ["é", "日本", "a, b", " c"],
    "padded": ["00", "01", "10", "word"],
    "shifted": ["1", "2", "10"],
}


@pytest.mark.parametrize(
    ("names", "asked", "number"),
    [
        ("unicode", "é", 0),
        ("unicode", "e\u0301", 0),  # the same letter, composed of two characters
        ("unicode", "日本", 1),
        ("unicode", "a, b", 2),
        ("unicode", " c", 3),
        ("unicode", "3", 3),
        ("padded", "01", 1),
        ("padded", "10", 2),
        ("padded", "3", 3),
        ("shifted", "1", 0),
        ("shifted", 10, 2),
    ],
)
def test_a_class_is_found_by_its_name_before_its_number(folder, names, asked, number):
    codes = np.arange(12, dtype=np.float32).reshape(4, 3)[: len(NAMES[names])]
    model = served(folder, GRAY, NAMES[names], codes)
    assert model.predict(None, [], {"task": "classes"}) == NAMES[names]
    image = np.zeros((1, 1, 16, 12), np.float32)
    style = model.model.encode(torch.from_numpy(image)).unspecified.mean
    expected = model.model.decode(torch.from_numpy(codes[[number]]), style).numpy()
    answer = model.predict(None, image, {"task": "swap", "identity": asked})
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        ("unicode", "a", "unknown class 'a', expected one of é, 日本, 'a, b', ' c' or a number"),
        ("unicode", "a, c", "unknown class 'a, c' (near it: 'a, b', ' c'), expected one of é, "),
        ("unicode", "03", "unknown class '03', expected"),
        ("unicode", "9" * 5000, "unknown class '999"),
        ("padded", "1", "unknown class '1' (near it: 10, 01), expected one of 00, 01, 10, word"),
        ("shifted", "0", "unknown class '0' (near it: 10), expected one of 1, 2, 10"),
    ],
)
def test_where_a_class_would_be_a_guess_it_is_refused(folder, names, asked, message):
    model = served(folder, GRAY, NAMES[names])
    with pytest.raises(MlflowException) as refusal:
        image = np.zeros((1, 1, 16, 12), np.float32)
        model.predict(None, image, {"task": "swap", "identity": asked})
    assert refusal.value.message.startswith(message)
    if names == "shifted":
        assert refusal.value.message.endswith("1, 2, 10")


def of_one_kind(count, level=60):
    """Dark images with some noise, uint8 (n, 16, 12)."""
    rng = np.random.default_rng(count)
    return (level * rng.random((count, 16, 12))).astype(np.uint8)


def test_an_image_unlike_the_test_images_is_told(folder):
    model = served(folder, GRAY, tests=of_one_kind(500)[:, None].astype(np.float32) / 255)
    others = list(of_one_kind(400))
    compared = model.predict(None, others, {"task": "compare"})
    assert np.mean(compared["unlike"]) == pytest.approx(0.01, abs=0.02)  # the rate of false alarms
    assert 30 <= np.median(compared["percentile"]) <= 70
    usual = [image for image, unlike in zip(others, compared["unlike"], strict=True) if not unlike]
    strange = (np.random.default_rng(0).random((16, 12)) > 0.5).astype(np.uint8) * 255
    with pytest.warns(UserWarning, match=r"unlike the images .*: image 1; its reconstruction"):
        model.predict(None, [usual[0], strange], {"task": "encode"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(None, usual, {"task": "reconstruct"})


def test_a_version_without_test_images_compares_nothing(folder):
    model = served(folder, GRAY)
    model.predict(None, [photograph()])  # no warning
    with pytest.raises(MlflowException, match="registered without test images"):
        model.predict(None, [photograph()], {"task": "compare"})


def test_the_message_of_a_refusal_stays_one_sentence_whatever_the_server_puts_before_it():
    error = served_model._refusal("one sentence")
    error.message = f"Failed to predict data '{list(range(1000))}'. \nError: {error.message}"
    assert json.loads(error.serialize_as_json())["message"] == "one sentence"
    assert error.get_http_status_code() == 400
