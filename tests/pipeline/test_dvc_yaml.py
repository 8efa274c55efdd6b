"""dvc.yaml declares what the stages use, no more and no less."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import params
from pipeline.__main__ import STAGES as DOOR
from pipeline.artifacts.paths import OUTPUTS
from pipeline.params import Params
from pipeline.run import STAGES as RUN

ROOT = Path(__file__).parents[2]
DVC = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
STAGES = DVC["stages"]
MODULES = {s: f"pipeline.stages.{s}" if s != "check" else "pipeline.params" for s in STAGES}


def module_file(module: str) -> Path | None:
    """The file of one of our own modules, None for any other."""
    base = ROOT / module.replace(".", "/")
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


class Imports(ast.NodeVisitor):
    """Names of the modules that a file imports when it is imported or run.

    Left out: blocks for type checkers, and lazy imports of a package's ``__getattr__``, which
    whoever asks for the name imports by itself.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.names = file, set[str]()
        self.visit(ast.parse(file.read_text()))

    def visit_If(self, node: ast.If) -> None:  # noqa: N802 (ast's own name)
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:  # noqa: N802
        if node.name != "__getattr__":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:  # noqa: N802
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # noqa: N802
        assert node.level == 0, f"{self.file} has a relative import"
        self.names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}


def imported_modules(file: Path) -> set[str]:
    return Imports(file).names


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


def holds_code(path: str) -> bool:
    """Whether a file computes anything: a package that only re-exports names does not."""
    names = ("__getattr__", "__dir__")
    declarations = (ast.Expr, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.If)
    return not path.endswith("/__init__.py") or any(
        node.name not in names
        if isinstance(node, ast.FunctionDef)
        else not isinstance(node, declarations)
        for node in ast.parse((ROOT / path).read_text()).body
    )


def declared_code(stage: str) -> tuple[set[str], set[str]]:
    """The code among a stage's deps, folders expanded; and the folders."""
    files, folders = set(), set()
    for dep in STAGES[stage]["deps"]:
        if dep.endswith(".py"):
            files.add(dep)
        elif dep.startswith(("vaegan/", "pipeline/")):
            folders.add(dep)
            files |= {str(f.relative_to(ROOT)) for f in (ROOT / dep).rglob("*.py")}
    return files, folders


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_among_a_stages_deps_is_its_import_closure(stage):
    declared, _ = declared_code(stage)
    needed = import_closure(MODULES[stage])
    assert {file for file in declared if holds_code(file)} == {
        file for file in needed if holds_code(file)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_is_a_dependency_only_of_a_stage_that_needs_every_file_of_it(stage):
    needed = import_closure(MODULES[stage])
    _, folders = declared_code(stage)
    for folder in folders:
        files = {str(file.relative_to(ROOT)) for file in (ROOT / folder).rglob("*.py")}
        assert {file for file in files if holds_code(file)} <= needed, folder
        assert all(file.suffix == ".py" for file in (ROOT / folder).rglob("*.*") if
                   file.is_file() and "__pycache__" not in file.parts), folder  # fmt: skip


def test_dvc_yaml_stays_short():
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 115


EDITS = {
    "tracking code": "pipeline/tracking/sync.py",
    "the journal": "pipeline/journal.py",
    "a message": "pipeline/console.py",
    "the order of a table's columns": "vaegan/evaluation/metrics.py",
    "a figure's parameter": "vaegan/figures/config.py",
    "a figure's writer": "pipeline/artifacts/figures.py",
    "how a figure is plotted": "vaegan/figures/images.py",
    "the reader of the parameters": "pipeline/params.py",
    "the door": "pipeline/run.py",
    "the parameter of another stage": "pipeline/stages/config.py",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_that_changes_no_weights_retrains_nothing(edit):
    assert (ROOT / EDITS[edit]).is_file()
    declared, folders = declared_code("train")
    assert EDITS[edit] not in declared | import_closure(MODULES["train"])
    assert not any(EDITS[edit].startswith(f"{folder}/") for folder in folders)


def test_the_library_never_imports_the_pipeline_or_its_tools():
    for file in (ROOT / "vaegan").rglob("*.py"):
        roots = {name.partition(".")[0] for name in imported_modules(file)}
        assert not roots & {"pipeline", "mlflow", "dvc", "pydantic", "ruamel", "yaml"}, file


def test_stages_never_import_stages_or_the_tracker():
    stages = {module for stage, module in MODULES.items() if stage != "check"}
    for module in stages:
        for file in import_closure(module):
            names = imported_modules(ROOT / file)
            assert not names & (stages - {module}), file
            assert not any(n.startswith(("mlflow", "pipeline.tracking")) for n in names), file


def test_every_section_is_declared_by_the_stage_that_reads_it():
    for stage, how in RUN.items():
        assert tuple(key.partition(".")[0] for key in STAGES[stage]["params"]) == how.sections
    assert "params.yaml" in STAGES["check"]["deps"]  # the whole file: unknown sections too
    read = {section for how in RUN.values() for section in how.sections}
    assert read == {field.name for field in fields(Params)}


def test_the_stages_are_the_commands_of_the_pipeline():
    assert set(DOOR) == set(RUN) == set(STAGES) - {"check"}
    for stage in STAGES:
        assert STAGES[stage]["cmd"].startswith(f"python -m pipeline {stage}")
    assert str(params.PARAMS_FILE) == "params.yaml"


@pytest.mark.parametrize("stage", STAGES)
def test_the_outputs_are_those_that_reproduce_compares_and_records(stage):
    declared = [
        next(iter(out)) if isinstance(out, dict) else out
        for kind in ("outs", "metrics", "plots")
        for out in STAGES[stage].get(kind, [])
    ]
    assert sorted(declared) == sorted(str(path) for path in OUTPUTS[stage])
