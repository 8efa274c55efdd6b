"""The documents name only files, sections, commands and numbers that exist."""

import importlib.util
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from pipeline.__main__ import STAGES, TOOLS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"))
)
LONGEST_README = 150

BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`]+`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
MODULE = re.compile(r"\bpython -m ((?:pipeline|benchmarks)(?:\.\w+)*)(?: ([a-z]+))?")
SOURCE = re.compile(
    r"^(?:vaegan|pipeline|tests|benchmarks|presets|docs)/[\w/.-]+\.(?:py|md|csv|json|yaml)$"
)
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def read(document: str) -> str:
    return (ROOT / document).read_text()


def code(text: str) -> list[str]:
    """Code blocks and spans; a span may be broken over two lines."""
    spans = SPAN.findall(BLOCK.sub("", text))
    return BLOCK.findall(text) + [" ".join(span.strip("`").split()) for span in spans]


def anchors(text: str) -> set[str]:
    """Anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def missing_links(document: str) -> set[str]:
    """Relative links of a document without a target."""
    missing = set()
    # Code is kept: a link's words may be code, its address never is.
    for link in LINK.findall(BLOCK.sub("", read(document))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.exists():
            missing.add(str(target.resolve().relative_to(ROOT)))
        elif anchor and anchor not in anchors(target.read_text()):
            missing.add(link)
    return missing


def missing_commands(document: str) -> set[str]:
    """Commands named in a document that do not exist."""
    missing = set()
    for text in code(read(document)):
        missing |= {f"make {target}" for target in MAKE.findall(text) if target not in TARGETS}
        for module, command in MODULE.findall(text):
            if module == "pipeline":
                known = not command or command in {*STAGES, *TOOLS}
            elif module == "benchmarks":
                known = not command or (ROOT / f"benchmarks/{command}.py").exists()
            else:
                known = importlib.util.find_spec(module) is not None
            if not known:
                missing.add(f"python -m {module} {command}".strip())
    return missing


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= LONGEST_README


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_has_a_target(document):
    assert missing_links(document) == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_exists(document):
    assert missing_commands(document) == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_source_file_named_exists(document):
    named = {text for text in code(read(document)) if SOURCE.match(text)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_document_is_listed_in_the_readme():
    linked = set(LINK.findall(read("README.md")))
    assert {document for document in DOCUMENTS if document != "README.md"} <= linked


def test_the_seconds_in_the_readme_are_the_measured_ones():
    def seconds(benchmark: str, quantity: str) -> str:
        rows = bench.read(benchmark, bench.RESULTS)["results"]
        (value,) = [row["value"] for row in rows if row["name"] == quantity]
        return f"{bench.number(value)} s"

    (time,) = re.findall(r"^- \*\*Time\*\*: (.*?)\n- ", read("README.md"), re.M | re.DOTALL)
    whole = "seconds of the whole default training"
    assert re.findall(r"[\d.,]+ s\b", time) == [
        seconds("quality", whole),
        seconds("growth", "evaluate: the whole stage"),
        seconds("gpu", whole),
    ]
