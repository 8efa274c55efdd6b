"""The page's JavaScript gives what torch gives, operation by operation and from end to end."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.data.conversion import Conversion, frame
from tests.pipeline.explorer.conftest import as_in_page, load_into, make_model, run_script
from vaegan.model.vae import DisentanglingVAE

COUNT = 100
CLOSE = 1e-3  # in pixels, whose range is [0, 1]: a quarter of a grey level

MODELS = {
    "grey with transport": {"shape": (1, 28, 28), "classes": 10, "layers": 4, "dims": (16, 16)},
    "colour of odd size": {"shape": (3, 33, 17), "classes": 7, "layers": 2},
    "colour without transport": {"shape": (3, 22, 40), "classes": 3},
    "smallest, not variational": {"shape": (1, 8, 8), "classes": 2, "variational": False},
}


@pytest.fixture(scope="module", params=MODELS, ids=list(MODELS))
def pair(request, scripts) -> tuple[DisentanglingVAE, object]:
    """A model as the page stores it, and the page that has loaded it."""
    model = make_model(**MODELS[request.param])
    load_into(scripts, model)
    return as_in_page(model), scripts


def random(*shape: int) -> Tensor:
    return torch.randn(COUNT, *shape, generator=torch.Generator().manual_seed(1))


def operations(model: DisentanglingVAE) -> dict[str, tuple[Callable, str, Tensor]]:
    """By name: the operation in torch, in JavaScript, and inputs of it."""
    found: dict[str, tuple[Callable, str, Tensor]] = {}
    encoder, decoder, config = model.encoder, model.decoder, model.config
    channels, count = (config.image_shape[0], *config.widths), len(config.widths)
    for i in range(count):
        shape = [channels[i], *config.sizes[i]]
        script = f"(x) => model.apply({{ values: x, shape: {shape} }}, model.trunk[{i}]).values"
        found[f"convolution {i}"] = encoder.trunk[3 * i : 3 * i + 3], script, random(*shape)
    features = config.widths[-1] * int(np.prod(config.sizes[-1]))
    for i, head in enumerate((encoder.specified, encoder.unspecified)):
        script = f"(x) => linear(x, model.heads[{i}])"
        found[f"head {i}"] = (lambda x, head=head: head(x).mean), script, random(features)
    found["linear"] = (
        lambda x: decoder.trunk[:2](decoder.linear(x).view(-1, *decoder.shape)),
        "(x) => relu(linear(x, model.start))",
        random(config.specified.dim + config.unspecified.dim),
    )
    for i in range(count):
        shape = [config.widths[count - 1 - i], *config.sizes[count - i]]
        script = f"(x) => model.apply({{ values: x, shape: {shape} }}, model.rest[{i}]).values"
        found[f"upsampling {i}"] = decoder.trunk[2 + 3 * i : 5 + 3 * i], script, random(*shape)
    found["sigmoid"] = torch.sigmoid, "sigmoid", 5 * random(7)
    if model.transport is None:
        return found
    s, z = random(config.specified.dim), random(config.unspecified.dim)
    labels = torch.arange(COUNT) % config.class_count
    both = torch.cat([labels[:, None], z], dim=1)
    for i, layer in enumerate(model.transport.flow.layers):
        name = type(layer).__name__
        for way in ("forward", "inverse"):
            function = getattr(layer, way)
            found[f"{way} {i}, {name}"] = (
                lambda x, f=function: _code(f(x[:, 1:], labels)),
                f"(x) => model.transport.layers[{i}].{way}(x.subarray(1), x[0])",
                both,
            )
    found["classify"] = model.transport.classify, "(x) => [model.transport.classify(x)]", s
    return found


def _code(answer: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


def test_each_operation_gives_what_torch_gives(pair):
    model, page = pair
    for name, (operation, script, inputs) in operations(model).items():
        expected = operation(inputs).reshape(COUNT, -1).numpy()
        found = run_script(page, script, inputs)
        assert found.shape == expected.shape, name
        assert expected.std() > 1e-3, name  # it could be wrong
        assert np.abs(found - expected).max() <= CLOSE * max(1, np.abs(expected).max()), name


def test_codes_and_swaps_are_those_of_torch(pair):
    model, page = pair
    images = torch.rand(
        COUNT, *model.config.image_shape, generator=torch.Generator().manual_seed(2)
    )
    images *= torch.linspace(0.1, 1, COUNT)[:, None, None, None]
    codes = model.encode(images)
    expected = torch.cat([codes.specified.mean, codes.unspecified.mean], dim=1)
    found = run_script(page, "(x) => model.encode(x).flatMap((code) => Array.from(code))", images)
    assert np.abs(found - expected.numpy()).max() <= CLOSE
    styles = images.flip(0)
    swapped = model.swap(images, styles).flatten(1).numpy()
    assert swapped.std(axis=0).max() > 0.03
    assert (
        np.abs(run_script(page, "(a, b) => model.swap(a, b)", images, styles) - swapped).max()
        <= CLOSE
    )


@pytest.mark.parametrize("channels", ["gray", "color"])
@pytest.mark.parametrize(
    ("fit", "background", "invert"),
    [
        ("pad", "white", False),
        ("pad", "black", True),
        ("crop", "black", False),
        ("stretch", "black", True),
    ],
)
def test_a_picture_is_prepared_as_prepare_does(scripts, channels, fit, background, invert):
    conversion = Conversion((24, 17), fit, channels, background, invert)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 9, 4), np.uint8)
    coarse[..., 3] = np.where(coarse[..., 3] > 60, 255, 0)  # some of it transparent
    picture = Image.fromarray(coarse).resize((90, 61), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG")
    expected = conversion.convert(picture).reshape(1, -1) / 255
    found = scripts.evaluate(
        """async ([bytes, conversion, invert]) => {
          const picture = await createImageBitmap(new Blob([Uint8Array.from(bytes)]));
          const { width, height } = picture;
          return Array.from(prepare(picture, width, height, conversion, { invert, box: null }));
        }""",
        [list(file.getvalue()), conversion.to_dict(), invert],
    )
    assert np.abs(found - expected).max() <= 2 / 255  # Pillow rounds in fixed point


def test_strokes_are_framed_as_mnist_was_made(scripts):
    """Fitted into 20 x 20 pixels, with the centre of mass in the middle of the image."""
    drawn = np.zeros((100, 140), np.float32)
    drawn[10:70, 90:100] = 255
    drawn[60:70, 60:100] = 255
    found = scripts.evaluate(
        """(values) => Array.from(framed(
          { values: Float32Array.from(values), width: 140, height: 100 }, [28, 28], 20).values)""",
        drawn.ravel().tolist(),
    )
    image = np.array(found).reshape(28, 28)
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 30) for axis in (1, 0))
    assert rows[-1] - rows[0] + 1 == 20
    assert abs(columns[-1] - columns[0] + 1 - 40 * 20 / 60) <= 1
    y, x = np.mgrid[:28, :28] + 0.5
    assert abs((y * image).sum() / image.sum() - 14) <= 0.5
    assert abs((x * image).sum() / image.sum() - 14) <= 0.5
    # As the commands for image files do it; Pillow rounds in fixed point.
    by_python = frame(Image.fromarray(drawn.astype(np.uint8)), (28, 28), 20)
    assert np.abs(image - by_python[0]).max() <= 2


def test_an_empty_drawing_gives_an_empty_image(scripts):
    found = scripts.evaluate(
        "() => Array.from(framed(filled(30, 30, 0), [28, 28], 20).values)",
    )
    assert found == [0] * 784
