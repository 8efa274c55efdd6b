"""vaegan's public names, its dependencies and its package."""

import ast
import importlib
import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vaegan

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "vaegan").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]


def python(code: str, *args: object, cwd: Path = ROOT) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", vaegan.__all__)
def test_every_public_name_exists(name):
    path = vaegan._PUBLIC[name]
    module, _, attribute = path.rpartition(".")
    assert getattr(vaegan, name) is getattr(importlib.import_module(f"vaegan.{module}"), attribute)
    assert name in dir(vaegan)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'vaegan' has no attribute 'nothing'"):
        _ = vaegan.nothing


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "vaegan/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in block.body
        for alias in node.names
    }
    assert told == {name: f"vaegan.{path}" for name, path in vaegan._PUBLIC.items()}


def test_importing_vaegan_imports_nothing_else():
    third_party = (
        "import sys, vaegan; print({n.split('.')[0] for n in sys.modules} & set(sys.argv))"
    )
    loaded = python(third_party, *{name for source in SOURCES for name in imported(source)})
    assert ast.literal_eval(loaded) == {"vaegan"}
    names = "import sys, vaegan; dir(vaegan); print([n for n in sys.modules if 'vaegan.' in n])"
    assert ast.literal_eval(python(names)) == []


def imported(source: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, without the standard library."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def test_the_declared_dependencies_are_what_vaegan_imports():
    distributions = importlib.metadata.packages_distributions()
    packages = set().union(*(imported(source) for source in SOURCES)) - {"vaegan"}
    needed = {canonicalize_name(name) for p in packages for name in distributions[p]}
    assert {canonicalize_name(dependency.name) for dependency in DEPENDENCIES} == needed


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=str)
def test_the_environment_is_within_the_declared_bounds(dependency):
    assert dependency.specifier  # a lower bound
    assert dependency.specifier.contains(importlib.metadata.version(dependency.name))


def test_the_package_contains_only_the_library(tmp_path):
    pytest.importorskip("setuptools")  # which an isolated build downloads
    tree, wheels = tmp_path / "tree", tmp_path / "wheels"
    for folder in ("vaegan", "pipeline", "benchmarks", "presets"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignore)
    (tree / "tests").mkdir()
    (tree / "tests/__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tree)
    wheels.mkdir()
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    python(build, wheels, cwd=tree)
    (wheel,) = wheels.iterdir()
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {str(source.relative_to(ROOT)) for source in SOURCES}
