"""DVC's own plots: their page holds its scripts and asks no server for anything."""

import hashlib
import re
import shutil
from pathlib import Path

import dvc.cli
from PIL import Image
from ruamel.yaml import YAML

from tests.pipeline.browser import Visit

ROOT = Path(__file__).parents[2]
TEMPLATE = ".dvc/plots.html"


def test_dvc_plots_show_writes_a_page_that_plots_without_a_network(
    browser, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert dvc.cli.main(["init", "--no-scm", "-q"]) == 0
    for name in (".dvc/config", TEMPLATE):
        shutil.copy(ROOT / name, tmp_path / name)
    declared = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["plots"]
    columns = {
        name for plot in declared for d in plot.values() for y in d["y"].values() for name in y
    }
    Path("reports").mkdir()
    rows = [
        ",".join(["step", *sorted(columns)]),
        *(f"{i}" + f",{i % 3}" * len(columns) for i in (1, 2, 3)),
    ]
    Path("reports/curves.csv").write_text("\n".join(rows) + "\n")
    Image.new("L", (30, 20), 200).save("picture.png")
    with Path("dvc.yaml").open("w") as file:
        YAML().dump({"plots": [*declared, {"picture.png": None}]}, file)
    assert dvc.cli.main(["plots", "show", "-q"]) == 0
    page = tmp_path / "dvc_plots/index.html"
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=\"?https?:", page.read_text())
    with Visit(browser, page.as_uri()) as visit:
        visit.page.wait_for_selector("canvas, svg.marks")
        assert visit.page.locator(".vega-embed canvas, .vega-embed svg.marks").count() == 3
        assert visit.page.evaluate("[...document.images].map(i => i.naturalWidth)") == [30]
        assert {url.partition(":")[0] for url in visit.fetched} == {"file"}
        # DVC's templates have a layer for the pointer, which is empty at first.
        assert {text[:20] for text in visit.complaints} <= {"WARN Infinite extent"}


def test_the_scripts_of_the_plots_are_the_declared_packages():
    text = (ROOT / TEMPLATE).read_text(encoding="utf-8")
    declared = re.findall(r"^  (vega[a-z-]*) [\d.]+, build/\S+, sha256 (\w{64})$", text, re.M)
    assert [name for name, _ in declared] == ["vega", "vega-lite", "vega-embed"]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    found = [hashlib.sha256(script.encode()).hexdigest() for script in scripts]
    assert found == [digest for _, digest in declared]
    assert "Redistribution and use in source and binary forms" in text
