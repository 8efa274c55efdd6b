"""The page in a browser: drawn on, moved, read and left alone, as a person would."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.artifacts.dataset import Split, as_they_are, read_dataset, write_dataset
from pipeline.explorer import atlas
from pipeline.explorer.page import Subject, build_page
from tests.conftest import draw_bars
from tests.pipeline.browser import Visit
from tests.pipeline.explorer.conftest import as_in_page, make_model

NASTY = ["</script><script>boom()</script>", "<img src=x onerror=boom()>", "a\"&'b", "été 9"]
CONTROLS = "button, select, input, summary, a[href], [tabindex='0']"


@pytest.fixture(scope="module")
def model():
    return as_in_page(make_model((1, 16, 16), layers=2))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    images, style = draw_bars(64, seed=1)
    side = (style[:, 1:] > 0).astype(np.int64)
    split = Split(images.labels, lambda: iter([images.images]), side)
    folder = tmp_path_factory.mktemp("data") / "prepared"
    about = {"name": "bars", "class_names": NASTY, "factors": {"side": ["<left>", "right"]}}
    write_dataset({"train": split, "test": split}, about, folder)
    return read_dataset(folder)


def subject(model, **changed) -> Subject:
    identities = torch.eye(4, 6).numpy() * 2
    about = {
        "title": "version 1, <bars>", "facts": {"source": "<me>"}, "dataset": "bars",
        "class_names": NASTY, "identities": identities, "kind": "strokes",
        "conversion": as_they_are(model.config.image_shape),
    }  # fmt: skip
    return Subject(**about | changed)


@pytest.fixture(scope="module")
def text(model, dataset) -> str:
    return build_page(model, subject(model), dataset)


@pytest.fixture(scope="module")
def address(text, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(text)
    return path.as_uri()


class Explored(Visit):
    """An explorer that is open and has started."""

    def __init__(self, browser, address: str, frame: str | None = None, **options) -> None:
        super().__init__(browser, address, **options)
        self.frame = self.page.main_frame if frame is None else self.framed(frame)
        self.until("document.readyState === 'complete'")
        self.evaluate("started.then((panels) => { globalThis.app = panels; return null; })")
        self.settle()

    def evaluate(self, code: str, *argument: object):
        return self.frame.evaluate(code, *argument)

    def until(self, condition: str) -> None:
        """Waits for a condition; Playwright's own function for that needs what the page forbids."""
        deadline = time.monotonic() + 20
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(20)

    def settle(self) -> None:
        """Waits until everything that was asked for is generated."""
        self.page.wait_for_timeout(150)  # after a drawing, the swaps wait for a pause
        self.until("isIdle()")

    def pixels(self, selector: str) -> np.ndarray:
        """Grey levels of a canvas, in [0, 1]."""
        height, width, levels = self.evaluate(
            """(selector) => {
              const canvas = document.querySelector(selector);
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return [height, width, Array.from(data.filter((_, i) => i % 4 === 0))];
            }""",
            selector,
        )
        return np.array(levels).reshape(height, width) / 255

    def draw(self) -> None:
        """Draws an L with the mouse."""
        box = self.frame.locator("#pad").bounding_box()
        corners = [(0.3, 0.2), (0.35, 0.8), (0.75, 0.75)]
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()
        self.settle()


@pytest.fixture(scope="module")
def visit(browser, address) -> Explored:
    return Explored(browser, address)


def close_to(pixels: np.ndarray, image: torch.Tensor) -> bool:
    """Whether a canvas shows an image: to half a grey level, and the scripts' rounding."""
    return bool(np.abs(pixels - image.numpy().reshape(pixels.shape)).max() <= 0.5 / 255 + 1e-3)


def test_the_page_asks_for_nothing_and_complains_of_nothing(visit, address):
    visit.draw()
    visit.page.keyboard.press("Tab")
    visit.page.hover(".chart canvas")
    visit.settle()
    assert [url for url in visit.requests if not url.startswith(("data:", "blob:"))] == [address]
    assert visit.complaints == []


def test_a_drawing_gives_the_swaps_that_torch_gives(visit, model):
    visit.page.click("#clear")
    visit.draw()
    seen = visit.pixels("#seen")
    assert seen.max() > 0.9
    assert seen.min() == 0
    image = torch.from_numpy(seen).float()[None, None]  # 8 bits, as the page prepared it
    codes = model.encode(image)
    style = codes.unspecified.mean
    assert close_to(visit.pixels("#copy"), model.reconstruct(image))
    identities = torch.eye(4, 6) * 2
    for i in range(4):
        swapped = model.decode(identities[i : i + 1], style)
        assert close_to(visit.pixels(f"#identities figure:nth-child({i + 1}) canvas"), swapped)


def test_two_images_of_the_map_are_swapped_both_ways_as_torch_does(visit, model, dataset):
    a, b = visit.evaluate("app.map.pair")
    sheet = visit.page.get_attribute("#sheet", "src")
    tiles = Image.open(io.BytesIO(base64.b64decode(sheet.partition(",")[2]))).convert("L")
    pair = [
        np.asarray(
            tiles.crop((16 * (i % 40), 16 * (i // 40), 16 * (i % 40 + 1), 16 * (i // 40 + 1)))
        )
        for i in (a, b)
    ]
    shown = {image.tobytes() for image in dataset.test.images}
    assert all(image.tobytes() in shown for image in pair)
    images = torch.from_numpy(np.stack(pair))[:, None].float() / 255
    swapped = model.swap(images, images.flip(0))
    assert close_to(visit.pixels("#first-second"), swapped[0])
    assert close_to(visit.pixels("#second-first"), swapped[1])
    visit.evaluate("document.getElementById('mix').value = 1; app.map.mix()")
    visit.settle()
    assert close_to(visit.pixels("#between"), model.reconstruct(images[1:])[0])


def test_a_slider_moves_the_style_along_its_direction(visit, model):
    slider = visit.page.locator("#directions input").first
    before = visit.pixels("#styled")
    slider.focus()
    slider.press("End")
    visit.settle()
    base, direction, specified = (
        torch.tensor(visit.evaluate(f"Array.from({code})"))[None]
        for code in ("app.style.base", "app.explorer.directions[0]", "app.style.source.specified")
    )
    moved = model.decode(specified, base + 3 * direction)
    assert np.abs(visit.pixels("#styled") - before).max() > 0.1
    assert close_to(visit.pixels("#styled"), moved)
    visit.page.click("#back")
    visit.settle()
    assert np.abs(visit.pixels("#styled") - before).max() <= 1 / 255


def test_play_moves_a_style_until_it_is_stopped(visit):
    visit.page.click("#slide")
    visit.until("Number(app.style.touched.input.value) !== 0")
    visit.page.click("#slide")
    assert visit.page.text_content("#slide") == "Play"
    visit.page.click("#back")
    visit.settle()


def test_class_names_are_shown_as_text(visit, text):
    captions = visit.page.locator("#identities figcaption").all_text_contents()
    assert captions == NASTY
    assert visit.page.locator("#highlight option").all_text_contents() == ["all", *NASTY]
    assert visit.page.text_content("h1") == "version 1, <bars>"
    assert text.count("<script") == text.count("</script>") == 14  # ours
    assert "boom()<" not in text
    visit.page.select_option("#colour-by", label="side")
    assert visit.page.locator("#legend span").all_text_contents() == ["<left>", "right"]
    visit.page.select_option("#colour-by", label="class")


def test_the_keyboard_reaches_every_control(visit):
    page = visit.page
    page.evaluate("document.querySelector('details').open = true; document.activeElement.blur()")
    wanted = page.evaluate(
        f"""[...document.querySelectorAll("{CONTROLS}")].filter((e) => e.checkVisibility())
          .map((e, i) => (e.dataset.number = i, i))"""
    )
    reached = set()
    for _ in range(len(wanted) + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("Number(document.activeElement.dataset.number ?? -1)"))
    assert len(wanted) > 25
    assert set(wanted) <= reached
    unnamed = page.evaluate(
        f"""[...document.querySelectorAll("{CONTROLS}")].filter((e) => e.checkVisibility() &&
          !(e.textContent.trim() || e.ariaLabel || e.labels?.[0]?.textContent.trim()))
          .map((e) => e.outerHTML)"""
    )
    assert unnamed == []


def test_the_keyboard_draws_and_chooses(visit):
    page = visit.page
    page.click("#clear")
    page.focus("#pad")
    for key in ["Space", *["ArrowDown"] * 6, *["ArrowRight"] * 4, "Space", "ArrowUp"]:
        page.keyboard.press(key)
    visit.settle()
    assert 0.02 < (visit.pixels("#seen") > 0.5).mean() < 0.5
    assert len(page.evaluate("app.draw.pad.strokes")) == 1
    page.focus(".chart canvas")
    for key in ("ArrowRight", "Enter", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    visit.settle()
    pair = page.evaluate("app.map.pair")
    assert len(set(pair)) == 2
    assert page.text_content("#map-told").startswith("Swapped ")


def test_the_map_zooms_about_the_pointer_and_shows_all_again(visit):
    page = visit.page
    canvas = page.locator(".chart canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    chart = "app.map.charts[0]"
    # In place 0.25 of the width, so 0.25 of it left of the middle.
    under = f"{chart}.centre[0] - 0.25 * {chart}.canvas.clientWidth / {chart}.pixels()"
    before = page.evaluate(under)
    page.mouse.wheel(0, -400)
    visit.until(f"{chart}.scale > 2")
    assert page.evaluate(under) == pytest.approx(before, abs=2e-3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    assert page.evaluate(under) < before
    page.get_by_label("Show all: Identity code").click()
    assert page.evaluate(f"[{chart}.scale, ...{chart}.centre]") == [1, 0.5, 0.5]


def test_a_picture_of_dark_ink_is_inverted_and_no_picture_is_told(visit):
    ink = np.full((60, 60), 245, np.uint8)
    ink[10:50, 28:34] = 20
    file = io.BytesIO()
    Image.fromarray(ink).save(file, "PNG")
    page = visit.page
    page.set_input_files(
        "#file", {"name": "ink.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    visit.until("app.draw.pad.picture !== null")
    visit.settle()
    assert page.is_checked("#invert")
    seen = visit.pixels("#seen")
    assert seen[8, 8] > 0.8
    assert seen[0, 0] < 0.1
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"})
    visit.until("document.getElementById('told').textContent.includes('a.txt is not a')")
    page.click("#clear")


@pytest.mark.parametrize("removed", ["#clear", "#undo", "Delete"])
def test_a_drawing_after_a_picture_is_not_inverted_with_it(visit, removed):
    file = io.BytesIO()
    Image.new("L", (16, 16), 245).save(file, "PNG")
    page, picture = visit.page, {"name": "a.png", "mimeType": "image/png"}
    page.set_input_files("#file", picture | {"buffer": file.getvalue()})
    visit.until("app.draw.pad.picture !== null")
    assert page.is_checked("#invert")
    if removed == "Delete":
        page.press("#pad", removed)
    else:
        page.click(removed)
    assert visit.evaluate("app.draw.pad.isEmpty")
    assert not page.is_checked("#invert")
    page.check("#invert")  # by hand it stays, whatever is drawn
    visit.draw()
    assert page.is_checked("#invert")
    page.uncheck("#invert")
    page.click("#clear")


def test_an_image_unlike_the_training_images_is_told(visit):
    noise = visit.evaluate("app.explorer.words(app.explorer.identityOf(1), 9)")
    assert noise.startswith("Its identity code is nearest to “<img src=x onerror=boom()>”.")
    assert "100 % of the test images" in noise
    assert "unlike the images" in noise
    assert "unlike" not in visit.evaluate("app.explorer.words(app.explorer.identityOf(1), 0)")


@pytest.mark.parametrize("width", [320, 1600])
def test_nothing_is_cut_off_in_narrow_and_wide_windows(browser, address, width):
    shown = Explored(browser, address, width=width, color_scheme="dark")
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    edges = shown.evaluate(
        f"""[...document.querySelectorAll("{CONTROLS}, figure, p")]
          .filter((e) => e.checkVisibility() && !e.classList.contains("unseen"))
          .map((e) => e.getBoundingClientRect())
          .filter(({{ left, right }}) => left < 0 || right > {width}).length"""
    )
    assert edges == 0
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert shown.complaints == []
    shown.context.close()


def test_a_sandboxed_frame_of_an_opaque_origin_runs_it_all(browser, text, model):
    """As MLflow shows an artifact."""
    shown = Explored(browser, "about:blank", frame=text)
    assert shown.evaluate("origin") == "null"
    shown.draw()
    image = torch.from_numpy(shown.pixels("#seen")).float()[None, None]
    assert image.max() > 0.9
    assert close_to(shown.pixels("#copy"), model.reconstruct(image))
    assert shown.complaints == []
    shown.context.close()


def test_equal_arguments_give_equal_bytes_and_nothing_is_loaded(model, dataset, text):
    assert build_page(model, subject(model), dataset) == text
    assert not re.search(r"https?://|localStorage|fetch\(|XMLHttpRequest|\beval\b", text)
    assert "default-src 'none'" in text


def test_without_its_images_a_version_still_gives_a_page(browser, model, tmp_path):
    path = tmp_path / "plain.html"
    unknown = np.full((4, 6), np.nan, np.float32)
    path.write_text(build_page(model, subject(model, identities=unknown), None))
    shown = Explored(browser, path.as_uri())
    assert "There is no map" in shown.page.text_content("#map")
    assert shown.page.locator("#identities figure").count() == 0
    shown.draw()
    assert shown.pixels("#copy").std() > 0
    shown.page.click("#random")
    shown.settle()
    assert shown.complaints == []
    shown.context.close()


def test_many_classes_are_shown_up_to_a_cap_that_is_said(browser, tmp_path):
    model = make_model((3, 8, 8), classes=130)
    names = [f"class {i}" for i in range(130)]
    identities = np.random.default_rng(0).standard_normal((130, 6)).astype(np.float32)
    path = tmp_path / "many.html"
    many = subject(model, class_names=names, identities=identities, kind="pictures")
    path.write_text(build_page(model, many, None))
    shown = Explored(browser, path.as_uri())
    assert shown.page.locator("#identities figure").count() == 100
    assert "the first 100, 30 more are not shown" in shown.page.text_content("#identities-title")
    assert shown.page.is_visible("#colour")
    assert shown.page.locator("#identity option").count() == 131
    assert shown.complaints == []
    shown.context.close()


def test_thumbnails_are_compressed_only_where_images_are_large():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (50, 1, 28, 28), np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(atlas.thumbnails(small))).convert("L"))
    assert (sheet[28:56, 28:56] == small[41, 0]).all()
    large = rng.integers(0, 256, (3, 3, 64, 64), np.uint8)
    sheet = Image.open(io.BytesIO(atlas.thumbnails(large)))
    assert sheet.size == (40 * 64, 64)


def test_the_data_of_the_page_are_json(text):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert json.loads(found)["classes"] == NASTY
