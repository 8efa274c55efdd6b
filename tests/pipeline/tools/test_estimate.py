"""Before the first run a person reads how long it takes here."""

from pathlib import Path

import pytest
import torch

from pipeline.artifacts.paths import MODEL
from pipeline.tools import estimate

SHIPPED = Path(__file__).parents[3] / "params.yaml"


@pytest.mark.parametrize(
    ("capabilities", "minutes"),
    [({"avx512_bf16": True}, "bfloat16"), ({"avx512_bf16": False, "avx2": True}, "float32")],
)
def test_the_estimate_follows_the_processor(tmp_path, monkeypatch, capsys, capabilities, minutes):
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "resolve_device", lambda _: torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert estimate.main() == 0
    assert estimate.MINUTES[minutes] in capsys.readouterr().out
    MODEL.mkdir()  # not the first run
    assert estimate.main() == 0
    assert capsys.readouterr().out == ""


def test_a_wrong_value_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text().replace("steps: ", "steps: -"))
    monkeypatch.chdir(tmp_path)
    assert estimate.main() == 1
    assert "train.steps: got -" in capsys.readouterr().err
