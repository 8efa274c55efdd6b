"""Files, sections and commands in the documents exist, and numbers have a source."""

import contextlib
import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from mlflow.cli import cli as mlflow_cli

from benchmarks import __main__ as bench
from pipeline.__main__ import STAGES, TOOLS
from pipeline.tools import readme
from vaegan.evaluation import probes
from vaegan.evaluation.codes import FOUND
from vaegan.evaluation.intervals import LEVEL
from vaegan.evaluation.leakage import FOLDS
from vaegan.evaluation.rate import ACTIVE_NATS

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
QUANTITY = re.compile(
    r"\b(?:[\d.,]*\d|half an|three quarters of an|an|two|three)\s"
    r"(?:[GMk]i?B|hours?|minutes?|seconds?|s|images per second|million|billion)\b",
    re.IGNORECASE,
)
# Settings and bounds have fewer digits.
MEASURED = re.compile(r"\b0\.\d{3,}\b|\b\d+\.\d+ %")
# Numbers in text that no file records: measured once, stated nowhere else.
STATED_ONCE = {
    "docs/benchmarks.md": ["0.985", "0.668"],  # the released model's, as in benchmarks/quality.py
    # A run on an H100 that no file records; goals.
    "docs/results.md": ["98.9 %", "98.8 %", "0.010", "99.4 %", "99.3 %"],
}
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def read(document: str) -> str:
    return (ROOT / document).read_text()


def code(text: str) -> list[str]:
    """Code blocks and spans; a span may be broken over two lines."""
    spans = SPAN.findall(BLOCK.sub("", text))
    return BLOCK.findall(text) + [" ".join(span.strip("`").split()) for span in spans]


def commands_of(program: str, document: str) -> list[list[str]]:
    """Arguments of each call of a program in the code of a document."""
    lines = [line.strip() for text in code(read(document)) for line in text.splitlines()]
    parts = [part for line in lines for part in line.split(" && ")]
    return [
        shlex.split(part, comments=True)[1:] for part in parts if part.startswith(f"{program} ")
    ]


def parse_mlflow(arguments: list[str]) -> None:
    """Parses a command line of mlflow without running it."""
    context, command = None, mlflow_cli
    while isinstance(command, click.Group):
        context = command.make_context(command.name, arguments, parent=context)
        rest = [*context._protected_args, *context.args]
        _, command, arguments = command.resolve_command(context, rest)
    command.make_context(command.name, arguments, parent=context)


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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_dvc_command_parses(document):
    for arguments in commands_of("dvc", document):
        get_main_parser().parse_args(arguments)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_mlflow_command_parses(document):
    for arguments in commands_of("mlflow", document):
        with contextlib.suppress(click.MissingParameter):  # the text may name a command alone
            parse_mlflow(arguments)


def test_commands_and_options_that_do_not_exist_do_not_parse():
    for arguments in (["exp", "runn"], ["repro", "--forse"], ["remote", "add"]):
        with pytest.raises(DvcParserError):
            get_main_parser().parse_args(arguments)
    for arguments in (["models", "serv"], ["ui", "--prot", "5"]):
        with pytest.raises(click.UsageError, match="No such"):
            parse_mlflow(arguments)


def test_every_document_is_listed_in_the_readme():
    linked = set(LINK.findall(read("README.md")))
    assert {document for document in DOCUMENTS if document != "README.md"} <= linked


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_quantity_and_measured_number_in_the_text_has_a_source(document):
    """Numbers are typed in their source; documents get them by ``make docs``."""
    text = BLOCK.sub("", read(document)).split(bench.START)
    text = text[0] + "".join(part.split(bench.END)[1] for part in text[1:])
    text = SPAN.sub("", readme.FACT.sub("", text))
    sentences = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    found = [match[0] for match in (*QUANTITY.finditer(sentences), *MEASURED.finditer(sentences))]
    assert sorted(found) == sorted(STATED_ONCE.get(document, {}))


@pytest.mark.parametrize("path", ["Makefile", *map(str, ROOT.glob("benchmarks/*.py"))])
def test_quantities_in_commands_and_benchmarks_are_those_of_the_documents(path):
    known = {value.lower() for value in readme.OBSERVED.values()}
    text = " ".join(read(path).split())
    assert {match[0].lower() for match in QUANTITY.finditer(text)} <= known


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("about 5 GB (torch)", ["5 GB"]),
        ("half an hour, 45 minutes or\n104 s", ["half an hour", "45 minutes", "104 s"]),
        ("two more seeds on 2 sets at `train.seed`", []),
    ],
)
def test_a_quantity_is_a_number_with_a_unit(text, found):
    assert [match[0] for match in QUANTITY.finditer(text)] == found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_line_of_text_begins_with_a_fact(document):
    """Markdown takes a line that begins with a comment for HTML and formats none of it."""
    lines = read(document).splitlines()
    assert not [line for line in lines if readme.FACT.match(line.lstrip(" -"))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_number_of_probes_is_that_of_the_panel(document):
    words = re.findall(r"\b(\w+)\s(?:fresh )?probes\b", read(document))
    counts = {"four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
    assert {counts[word.lower()] for word in words if word.lower() in counts} <= {len(probes.PANEL)}


@pytest.mark.parametrize(
    "words",
    [
        f"{probes.NEIGHBOURS} nearest neighbours",
        f"{('one', 'two', 'three')[probes.NETWORKS - 1]} perceptrons",
        f"{('two', 'three', 'four')[probes.DEPTH - 2]} hidden layers of {probes.WIDTH} units",
        f"at most {probes.LOGITS:,} codes divided by the number of classes",
        f"or {probes.FEWEST_CODES:,} if that is more",
        f"neighbours and trees on at most {probes.SLOW_CODES:,}",
        f"in {('three', 'four', 'five')[FOLDS - 3]} stratified folds",
        f"`leakage/chance` and {('eight', 'nine')[round(10 * FOUND) - 8]} tenths of what it leaves",
        f"dimensions with more than {ACTIVE_NATS:g} nats",
        f"`interval/...` are {LEVEL:.0%} intervals".replace("%", " %"),
    ],
)
def test_the_evaluation_is_described_with_the_constants_of_the_code(words):
    assert words in " ".join(read("docs/evaluation.md").split())


def test_the_benchmarks_that_miss_a_target_are_explained():
    missed = {
        name
        for name in bench.NAMES
        for row in (bench.read(name, bench.RESULTS) or {"results": []})["results"]
        if row["met"] is False
    }
    (section,) = re.findall(
        r"^## Missed targets$(.*?)^## ", read("docs/benchmarks.md"), re.M | re.S
    )
    assert missed == {name for name in bench.NAMES if f"`{name}`" in section}


def test_models_of_others_are_called_released_and_never_published():
    """A published number could be a paper's, a reimplementation's or our own."""
    for document in DOCUMENTS:
        assert "published" not in SPAN.sub("", read(document)).lower(), document


def test_every_example_loads_the_same_version():
    """Whatever its verdict or data set, the version trained last can be loaded."""
    blocks = [block for document in DOCUMENTS for block in BLOCK.findall(read(document))]
    named = [address for block in blocks for address in re.findall(r"models:/[\w@/-]+", block)]
    assert len(named) >= 4
    assert set(named) == {"models:/vaegan/latest"}
