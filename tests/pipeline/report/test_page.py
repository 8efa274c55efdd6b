"""The report in a real browser: offline, narrow and wide, light and dark, in MLflow's page."""

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.artifacts.paths import FIGURES, REPORT
from pipeline.params import load_params
from pipeline.report import failures
from pipeline.report.content import Inputs, build_report
from tests.pipeline.browser import Visit
from tests.pipeline.conftest import SHIPPED
from tests.pipeline.server import Server


@pytest.fixture
def report(measured, monkeypatch):
    """The page on disk, with a figure of real size."""
    from PIL import Image

    monkeypatch.setattr(failures, "TRIED", 100)
    FIGURES.mkdir(parents=True)
    Image.new("L", (1400, 900), 200).save(FIGURES / "swaps.png")
    text = build_report(Inputs.read(), load_params(SHIPPED).evaluate.gates)
    REPORT.write_text(text, encoding="utf-8")
    return measured / REPORT


def test_it_opens_from_disk_fits_any_window_and_asks_for_nothing(browser, report):
    for width, scheme in ((320, "dark"), (390, "light"), (1440, "dark")):
        with Visit(browser, report.as_uri(), width, color_scheme=scheme) as visit:
            page = visit.page
            assert page.evaluate("document.documentElement.scrollWidth") == width
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(20, 23, 27)") == (scheme == "dark")
            assert page.evaluate("[...document.images].every(i => i.naturalWidth && i.alt)")
            assert visit.fetched == [report.as_uri()]
            assert visit.complaints == []


def test_scripts_in_it_would_not_run(browser, report, tmp_path):
    """Should a name ever break out of the template, the page's policy still holds."""
    broken = tmp_path / "broken.html"
    evil = '<script>document.title = "taken"</script><img src="https://example.org/a.png">'
    broken.write_text(report.read_text().replace("<main>", f"<main>{evil}"))
    with Visit(browser, broken.as_uri()) as visit:
        assert "taken" not in visit.page.title()
        assert len(visit.complaints) == 2
        assert all("Content Security Policy" in text for text in visit.complaints)


def test_it_opens_in_a_sandboxed_frame_and_in_mlflows_artifact_page(browser, report, tmp_path):
    with Visit(browser, "about:blank") as visit:
        frame = visit.framed(report.read_text())
        assert frame.text_content("h1") == "bars: sound, 1 of 2 gates not passed"
        assert visit.complaints == []
    server = Server(tmp_path)
    server.start()
    try:
        client = MlflowClient(server.uri)
        run = client.create_run("0")
        client.log_artifact(run.info.run_id, str(report))
        address = f"{server.uri}/#/experiments/0/runs/{run.info.run_id}/artifacts"
        with Visit(browser, address) as visit:
            visit.page.get_by_text(REPORT.name).first.click(timeout=30_000)
            shown = visit.page.frame_locator("iframe")
            heading = shown.locator("h1")
            heading.wait_for(timeout=30_000)
            assert heading.text_content() == "bars: sound, 1 of 2 gates not passed"
            assert shown.locator("img").first.evaluate("image => image.naturalWidth") > 0
            assert all(url.startswith(server.uri) for url in visit.fetched)
    finally:
        server.stop()
        mlflow.set_tracking_uri(None)
