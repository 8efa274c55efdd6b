"""docs/library.ipynb runs with the library alone and gives what its text promises."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaegan

ROOT = Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / "docs/library.ipynb").read_text())
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
CODE = "\n\n".join("".join(cell["source"]) for cell in CELLS)
LIMIT = 900  # seconds; about 35 on an idle core

# Follows the cells in their namespace; the last line it prints is read by the test.
CHECK = """
import json, sys
print()
print(json.dumps({
    "table": table.to_dict("index"),
    "kept": list(kept),
    "on_real": float(on_real),
    "on_swaps": float(on_swaps),
    "pictures": len(figure.axes[0].images),
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the notebook computes, run where nothing of the repository but vaegan is importable."""
    library, folder = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("notebook")
    (library / "vaegan").symlink_to(ROOT / "vaegan")
    script = library / "notebook.py"
    script.write_text(CODE + CHECK)
    changed = {"PYTHONPATH": str(library), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=os.environ | changed,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())  # it leaves no files behind
    return json.loads(done.stdout.splitlines()[-1])


def test_the_specified_code_contains_the_class_and_the_unspecified_code_little_of_it(results):
    specified, unspecified = (results["table"][code] for code in ("specified", "unspecified"))
    assert specified["accuracy"] > 0.9
    assert unspecified["accuracy"] < 0.35  # 0.5 without the class transport
    assert specified["bits"] > 3 > 0.5 > unspecified["bits"]
    assert specified["chance"] == unspecified["chance"] == pytest.approx(0.12, abs=0.02)


def test_swaps_show_the_identity_and_keep_the_style(results):
    assert results["on_real"] > 0.95
    assert results["on_swaps"] > 0.9
    assert min(results["kept"]) > 0.1
    assert results["pictures"] == 3  # the swaps, and their sources along two edges


def test_the_notebook_needs_neither_the_pipeline_nor_its_tools(results):
    assert "vaegan" in results["modules"]
    assert not {"pipeline", "mlflow", "dvc", "pydantic", "ruamel"} & set(results["modules"])


def test_the_notebook_uses_public_names_only():
    for node in ast.walk(ast.parse(CODE)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not [name for name in names if name.startswith("vaegan.")]
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vaegan"):
            assert node.module == "vaegan"
            assert {alias.name for alias in node.names} <= set(vaegan.__all__)


def test_the_notebook_is_committed_without_outputs():
    for cell in CELLS:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
