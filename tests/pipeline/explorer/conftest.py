"""The explorer's scripts in a browser, and small models for them."""

import base64
import json

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.explorer import numbers, program
from pipeline.explorer.page import PAGE
from vaegan.model.config import CodeConfig, ModelStructure, TransportConfig
from vaegan.model.vae import DisentanglingVAE


@pytest.fixture(scope="session")
def scripts(browser):
    """An empty page that has loaded the scripts which need no page."""
    page = browser.new_page()
    for name in ("arrays.js", "layers.js", "flow.js", "model.js", "picture.js"):
        page.add_script_tag(content=(PAGE / name).read_text())
    yield page
    page.close()


def make_model(
    shape: tuple[int, int, int],
    classes: int = 4,
    layers: int = 0,
    dims: tuple[int, int] = (6, 5),
    variational: bool = True,
    base: int = 4,
) -> DisentanglingVAE:
    """A model with random weights whose images have contrast, all parts of the transport used."""
    config = ModelStructure(
        base_channels=base,
        specified=CodeConfig(dims[0], variational, False),
        unspecified=CodeConfig(dims[1], variational, variational),
        transport=TransportConfig(layers, 16),
        image_shape=shape,
        class_count=classes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DisentanglingVAE(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
            model.decoder.trunk[-1].weight.mul_(8)  # contrast
            for coupling in model.transport.couplings if model.transport else ():
                coupling.layers[-1].weight.mul_(4)  # log-scales near their bound
            for _ in range(30):  # batch normalisation learns what it sees
                images = torch.rand(16, *shape)
                codes = model.encoder(images)
                model.decoder(codes.specified.mean, codes.unspecified.mean)
    return model.eval().requires_grad_(False)


def as_in_page(model: DisentanglingVAE) -> DisentanglingVAE:
    """The model with its weights rounded as the page stores them."""
    rounded = numbers.unpack(*numbers.pack(program.weights(model)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name, values in rounded.items():
        rows = slice(len(values)) if values.ndim else ...
        state[name][rows] = torch.from_numpy(values)
    other = DisentanglingVAE(model.config).eval().requires_grad_(False)
    other.load_state_dict(state)
    return other


def load_into(page, model: DisentanglingVAE) -> None:
    """Makes the model the global ``model`` of a page."""
    block, places = numbers.pack(program.weights(model))
    page.evaluate(
        "([block, places, program]) => {"
        " globalThis.model = new Model(readArrays(bytesOf(block), places), program); }",
        [base64.b64encode(block).decode(), places, program.describe(model)],
    )


def run_script(page, function: str, *batches: Tensor) -> np.ndarray:
    """Calls a JavaScript function with row i of each batch, for each i; returns its numbers."""
    sent = [base64.b64encode(b.numpy().astype("<f4").tobytes()).decode() for b in batches]
    widths = [b[0].numel() for b in batches]
    text = page.evaluate(
        f"""([sent, widths, count]) => {{
          const rows = sent.map((text, b) => {{
            const values = new Float32Array(bytesOf(text).buffer);
            return (i) => values.slice(i * widths[b], (i + 1) * widths[b]);
          }});
          const call = {function};
          return JSON.stringify(Array.from({{ length: count }}, (_, i) =>
            Array.from(call(...rows.map((row) => row(i))))));
        }}""",
        [sent, widths, len(batches[0])],
    )
    return np.array(json.loads(text))
