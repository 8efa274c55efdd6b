import dataclasses
import json

import pytest
import torch

from vaegan.model.config import CodeConfig
from vaegan.model.vae import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    DisentanglingVAE,
    read_description,
    weights_digest,
)
from vaegan.rng import torch_rng


@pytest.fixture
def model(model_config) -> DisentanglingVAE:
    torch.manual_seed(0)
    model = DisentanglingVAE(model_config)
    model.encode(torch.rand(8, 1, 16, 16))  # moves the batch statistics off their start
    return model.eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 1, 16, 16, generator=torch_rng(0, "images"))


def test_swapping_an_image_with_itself_is_its_reconstruction(model, images):
    assert torch.equal(model.swap(images, images), model.reconstruct(images))


def test_a_swap_has_the_identity_of_the_first_and_the_style_of_the_second_image(model, images):
    one, two = images[:1], images[1:2]
    a, b = model.encode(one), model.encode(two)
    expected = model.decode(a.specified.mean, b.unspecified.mean)
    assert torch.allclose(model.swap(one, two), expected, atol=1e-6)
    assert not torch.allclose(model.swap(two, one), expected, atol=1e-6)


def test_samples_differ_by_generator_and_repeat_with_it(model, images):
    first, again = (model.sample(images, torch_rng(1, "n")) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, model.sample(images, torch_rng(2, "n")))


def test_inference_leaves_batch_statistics_unchanged(model, images):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.reconstruct(images)
    model.sample(images, torch_rng(0, "n"))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_saved_and_loaded_it_generates_the_same(model, images, tmp_path):
    model.save(tmp_path, {"dataset": "bars"})
    loaded = DisentanglingVAE.load(tmp_path)
    assert torch.equal(loaded.reconstruct(images), model.reconstruct(images))
    assert not loaded.training
    assert read_description(tmp_path)["about"] == {"dataset": "bars"}


def test_the_digest_depends_on_the_weights(model, tmp_path):
    model.save(tmp_path / "a", {"note": 1})
    model.save(tmp_path / "b", {"note": 2})
    assert weights_digest(tmp_path / "a") == weights_digest(tmp_path / "b")
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    model.save(tmp_path / "c")
    assert weights_digest(tmp_path / "a") != weights_digest(tmp_path / "c")


def test_images_of_another_shape_are_rejected_with_both_shapes(model):
    with pytest.raises(ValueError, match=r"\(B, 1, 16, 16\), got \(2, 1, 28, 28\)"):
        model.reconstruct(torch.rand(2, 1, 28, 28))


def test_truncated_weights_are_named_in_the_error(model, tmp_path):
    model.save(tmp_path)
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=WEIGHTS_FILE):
        DisentanglingVAE.load(tmp_path)


def test_a_flipped_bit_in_the_weights_is_detected(model, tmp_path):
    model.save(tmp_path)
    content = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.safetensors is damaged, or of another model"):
        DisentanglingVAE.load(tmp_path)


def test_weights_of_another_structure_are_rejected(model, tmp_path):
    other = dataclasses.replace(model.config, specified=CodeConfig(6, True, False))
    model.save(tmp_path)
    text = json.loads((tmp_path / CONFIG_FILE).read_text())
    text["structure"] = other.to_dict()
    (tmp_path / CONFIG_FILE).write_text(json.dumps(text))
    with pytest.raises(ValueError, match="another structure"):
        DisentanglingVAE.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "structure": {}, "about": {}}'])
def test_a_description_of_another_format_is_rejected(text, tmp_path):
    (tmp_path / CONFIG_FILE).write_text(text)
    with pytest.raises(ValueError, match="does not describe a model"):
        DisentanglingVAE.load(tmp_path)
