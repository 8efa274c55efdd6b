"""Speed and exactness of the model in the explorer's page, in Chromium.

Time: of one encoding and one decoding in the page, the median over 100 test images; the same with
the default's structure for larger images, with random weights. Exactness: the largest difference of
a pixel in [0, 1] between swaps in the page and those of torch, over 100 swaps: most of it comes
from weights that are stored in half precision.
"""

import base64
import shutil
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.defaults import configured
from benchmarks.measure import Result
from pipeline.artifacts.paths import MODEL
from pipeline.explorer import numbers, program
from pipeline.explorer.page import PAGE
from vaegan.data import to_unit_range
from vaegan.model.config import ModelStructure
from vaegan.model.vae import DisentanglingVAE

IMAGES, FEWER = 100, 20
LARGER = ((3, 64, 64), (3, 128, 128))
RUN = """([block, places, program, images, count]) => {
  const model = new Model(readArrays(bytesOf(block), places), program);
  const all = new Float32Array(bytesOf(images).buffer);
  const size = all.length / count;
  const image = (i) => all.subarray((i % count) * size, (i % count + 1) * size);
  for (let i = 0; i < 20; i++) model.swap(image(i), image(i + 1)); // compiled by now
  const times = [];
  const swaps = [];
  for (let i = 0; i < count; i++) {
    const style = model.encode(image(i + 1))[1];
    const begun = performance.now();
    const identity = model.encode(image(i))[0];
    swaps.push(Array.from(model.decode(identity, style)));
    times.push(performance.now() - begun);
  }
  return [times, swaps];
}"""


def run() -> list[Result]:
    """Measures the model on disk; gives no results without a browser and playwright."""
    browser = shutil.which("chromium")
    if browser is None or find_spec("playwright") is None:
        return []
    from playwright.sync_api import sync_playwright

    _, dataset, _ = configured()
    model = DisentanglingVAE.load(MODEL)
    images = to_unit_range(torch.from_numpy(dataset.test.images[:IMAGES]))
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        for name in ("arrays.js", "layers.js", "flow.js", "model.js"):
            page.add_script_tag(content=(PAGE / name).read_text())
        milliseconds, swaps = _in_page(page, model, images)
        others = {shape: _time_random(page, model.config, shape) for shape in LARGER}
    with torch.inference_mode():
        expected = model.swap(images, images.roll(-1, 0)).flatten(1).numpy()
    differences = np.abs(swaps - expected)
    return [
        Result("one image encoded and decoded", milliseconds, "ms", ("<=", 50)),
        *(
            Result(f"the same, {shape[1]} x {shape[2]} colour", time, "ms")
            for shape, time in others.items()
        ),
        Result("largest difference of a pixel from torch", float(differences.max())),
        Result("mean difference of a pixel", float(differences.mean())),
    ]


def _in_page(page: Any, model: DisentanglingVAE, images: Tensor) -> tuple[float, np.ndarray]:
    """Median milliseconds per image, and the swaps of each image with the next one's style."""
    block, places = numbers.pack(program.weights(model))
    sent = images.numpy().astype("<f4").tobytes()
    encoded = [base64.b64encode(content).decode() for content in (block, sent)]
    arguments = [encoded[0], places, program.describe(model), encoded[1], len(images)]
    times, swaps = page.evaluate(RUN, arguments)
    return float(np.median(times)), np.array(swaps)


def _time_random(page: Any, config: ModelStructure, shape: tuple[int, int, int]) -> float:
    model = DisentanglingVAE(replace(config, image_shape=shape)).eval()
    return _in_page(page, model, torch.rand(FEWER, *shape))[0]
