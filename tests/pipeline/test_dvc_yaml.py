"""dvc.yaml declares what the stages use, no more and no less."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import params
from pipeline.params import Params

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
MODULES = {stage: f"pipeline.{'params' if stage == 'check' else stage}" for stage in STAGES}


def module_file(module: str) -> Path | None:
    """The file of one of our own modules, None for any other."""
    base = ROOT / module.replace(".", "/")
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def imported_modules(file: Path) -> set[str]:
    """Names of what a file imports anywhere, submodules taken by ``from`` included."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def import_closure(module: str) -> set[str]:
    """Paths, relative to the repository, of all our files that a module needs."""
    found: dict[str, Path] = {}
    waiting = {module}
    while waiting:
        name = waiting.pop()
        file = module_file(name)
        if file is None or name in found:
            continue
        found[name] = file
        waiting |= imported_modules(file)
        if "." in name:
            waiting.add(name.rpartition(".")[0])
    return {str(file.relative_to(ROOT)) for file in found.values()}


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_among_a_stages_deps_is_its_import_closure(stage):
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert declared == import_closure(MODULES[stage])


def test_changing_how_a_figure_is_drawn_retrains_nothing():
    assert "vaegan/figures.py" in import_closure("pipeline.visualize")
    assert "vaegan/figures.py" not in import_closure("pipeline.train")


def test_the_library_never_imports_the_pipeline_or_its_tools():
    for file in (ROOT / "vaegan").rglob("*.py"):
        roots = {name.partition(".")[0] for name in imported_modules(file)}
        assert not roots & {"pipeline", "mlflow", "dvc", "pydantic", "ruamel", "yaml"}, file


def test_stages_never_import_stages():
    stages = {f"pipeline.{stage}" for stage in STAGES}
    for stage in stages - {"pipeline.check"}:
        assert not imported_modules(module_file(stage)) & stages, stage


def test_every_section_is_declared_by_the_stage_that_reads_it():
    read = {"prepare": {"prepare"}, "train": {"model", "train"}} | {
        stage: {stage} for stage in ("encode", "classifier", "evaluate", "visualize")
    }
    for stage, sections in read.items():
        assert set(STAGES[stage]["params"]) == sections
    assert "params.yaml" in STAGES["check"]["deps"]  # the whole file: unknown sections too
    assert {section for sections in read.values() for section in sections} == {
        field.name for field in fields(Params)
    }


def test_the_stages_are_the_modules_that_they_name():
    for stage, module in MODULES.items():
        assert STAGES[stage]["cmd"].startswith(f"python -m {module}")
    assert str(params.PARAMS_FILE) == "params.yaml"
