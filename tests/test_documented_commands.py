"""Every command and every snippet in the documents runs, or is listed here with the reason."""

import json
import os
import re
import signal
import socket
import string
import subprocess
import textwrap
import time
import urllib.request

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor

from pipeline.params import load_params
from tests.pipeline.clone import Clone, small_clone
from tests.test_documents import DOCUMENTS, ROOT, read

FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"bash", "python", "text", "yaml"}

# Commands that are not run: each is exercised by the test named, or needs what a test cannot have.
NOT_RUN = {
    "make repro": "minutes; its stages: tests/pipeline/test_pipeline.py",
    "make test": "runs this test",
    "ls reports/figures": "the figures: tests/pipeline/test_pipeline.py",
    "mlflow models predict --env-manager local -m models:/vaegan/latest -i images.json -t json "
    "-o answer.json": (
        "run by tests/pipeline/tracking/test_registry.py; the same request is sent to a server"
    ),
    "make report": "DVC runs the stages: tests/pipeline/test_pipeline.py",
    "make ui": "serves until it is stopped: tests/pipeline/tracking/test_store.py",
    "mkdir -p images/pets": "makes a folder, and prints nothing",
    "python -m pipeline inspect images/pets": "tests/pipeline/tools/test_inspect.py",
    "dvc add images/pets": "tests/pipeline/data/test_dvc.py",
    "dvc repro": "trains: tests/pipeline/test_pipeline.py",
    "make preset NAME=cycle": "trains; the presets: tests/pipeline/tools/test_presets.py",
    "dvc exp run -S train.lr=2e-4": "trains: tests/pipeline/test_pipeline.py",
    "dvc exp run --queue -S 'train.lr=5e-4,4e-3'": "trains: tests/pipeline/test_experiments.py",
    "dvc queue start -j 2": "trains: tests/pipeline/test_experiments.py",
    "python -m pipeline champion --set 3": (
        "needs three versions: tests/pipeline/tracking/test_champion.py"
    ),
    "python -m pipeline swap mine.png yours.png -o both.png": "tests/pipeline/tools/test_swap.py",
    "python -m pipeline reconstruct mine.png yours.png": "tests/pipeline/tools/test_reconstruct.py",
    "python -m pipeline sample mine.png -n 8 --seed 1": "tests/pipeline/tools/test_sample.py",
    "python -m pipeline encode pictures -o codes.parquet": (
        "tests/pipeline/tools/test_encode_folder.py"
    ),
    "make reproduce VERSION=1": "trains: tests/pipeline/test_experiments.py",
    "mlflow server --backend-store-uri postgresql://user@host/mlflow "
    "--artifacts-destination s3://bucket/mlflow --host 127.0.0.1": "needs a team's database",
    "export MLFLOW_TRACKING_URI=https://mlflow.example.org": "needs a team's server",
    "dvc remote add --default storage s3://bucket/vaegan": "needs a team's bucket",
    "dvc push": "needs a remote: tests/pipeline/test_experiments.py",
}
# Parts of source files that show how to extend the library, by their first line.
EXAMPLES = {
    '"total_variation": Term(': "tests/vaegan/training/test_objective.py adds such a term",
    "total_variation: Weight": "tests/vaegan/training/test_objective.py adds such a term",
    'metrics["reconstruction/sharpness"] = sharpness(again) / sharpness(real.images)': "a line",
    'Metric("reconstruction/sharpness", "images", "sharpness / real", "higher", Shown.FIGURE)': (
        "a row; tests/pipeline/stages/test_evaluate.py has every row"
    ),
}
# Documents whose Python blocks are one session each, and the script that holds them.
SESSIONS = {"README.md": "readme.py", "docs/usage.md": "usage.py"}
DOCUMENTED_PORT = "5001"


def blocks(document: str, language: str) -> list[str]:
    """Code blocks of a document in a language, without their common indentation."""
    found = FENCED.findall(read(document))
    return [textwrap.dedent(code) for name, code in found if name == language]


def commands(document: str) -> list[str]:
    """Commands in the bash blocks of a document, without comments."""
    lines = "".join(blocks(document, "bash")).splitlines()
    return list(filter(None, (re.sub(r"(^|\s+)#.*", "", line) for line in lines)))


RUN = dict.fromkeys(  # each once, in order
    command for document in DOCUMENTS for command in commands(document) if command not in NOT_RUN
)
# Runs the stages in one process, which imports once.
RUN_STAGES = """
from pipeline.run import run_stage
exit(any(map(run_stage, ("prepare", "train", "encode", "classifier", "evaluate"))))
"""
# Runs the snippets of each document in a namespace of their own, as one session.
RUN_SNIPPETS = """
import pathlib, sys
for document in sys.argv[1:]:
    names = {}
    exec(compile(pathlib.Path(document).read_text(), document, "exec"), names)
    assert names["images"].shape == (2, 1, 28, 28)
    assert names["swapped"].shape[1:] == (1, 28, 28)
    assert len(names["swapped"]) >= 2
    assert 0 <= names["swapped"].min() < names["swapped"].max() <= 1
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A clone in which a model is trained and evaluated and the Python snippets have run."""
    clone = small_clone(tmp_path_factory.mktemp("documented") / "repository")
    clone.run("python", "-c", RUN_STAGES)
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(clone.folder / "mine.png")
    answer = {"predictions": np.eye(28)[None, None].repeat(2, axis=0).tolist()}  # of a server
    (clone.folder / "answer.json").write_text(json.dumps(answer))
    for document, file in SESSIONS.items():
        (clone.folder / file).write_text("\n".join(blocks(document, "python")))
    clone.run("python", "-c", RUN_SNIPPETS, *SESSIONS.values())
    return clone


class Server:
    """A command that serves on a free port until the tests end."""

    def __init__(self, clone: Clone) -> None:
        self.clone, self.process = clone, None
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            self.port = str(listening.getsockname()[1])

    def __call__(self, command: str) -> None:
        """Starts the command; returns once it answers."""
        log = self.clone.folder / "server.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.clone.folder,
                env=self.clone.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)


@pytest.fixture(scope="module")
def serve(clone):
    server = Server(clone)
    yield server
    if server.process is not None:
        os.killpg(server.process.pid, signal.SIGTERM)
        server.process.wait(30)


def test_every_block_names_its_language():
    for document in DOCUMENTS:
        fences = re.findall(r"^ *```(.*)$", read(document), re.MULTILINE)
        assert fences[1::2] == [""] * (len(fences) // 2), document
        assert set(fences[::2]) <= LANGUAGES, document


def test_what_is_not_run_is_in_the_documents_and_its_test_exists():
    documented = {command for document in DOCUMENTS for command in commands(document)}
    assert set(NOT_RUN) <= documented
    for reason in (*NOT_RUN.values(), *EXAMPLES.values()):
        for path in re.findall(r"tests/\S+\.py", reason):
            assert (ROOT / path).exists(), reason


def test_every_python_block_is_run_or_named():
    found = [block for document in DOCUMENTS for block in blocks(document, "python")]
    session = [b for name in SESSIONS for b in blocks(name, "python")]
    functions = [block for block in found if block.startswith("def ")]
    rest = [block for block in found if block not in session and block not in functions]
    assert {block.splitlines()[0] for block in rest} == set(EXAMPLES)


@pytest.mark.parametrize(
    "block", [block for block in blocks("docs/method.md", "python") if block.startswith("def ")]
)
def test_a_function_in_the_documents_is_zero_for_flat_images_only(block):
    names: dict = {"Tensor": Tensor}
    exec(block, names)  # noqa: S102
    (function,) = [names[name] for name in re.findall(r"^def (\w+)", block)]
    checkerboard = torch.arange(8)[:, None].add(torch.arange(8)) % 2
    assert function(torch.ones(2, 1, 8, 8)) == 0
    assert function(checkerboard.expand(2, 1, 8, 8).float()) > 0


def test_the_function_that_holds_classes_out_changes_no_other_column(tmp_path):
    rows = [f"{number}.png,0{number // 2},NA" for number in range(8)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file_name,label,pose", *rows]))
    (block,) = [b for b in blocks("docs/own_images.md", "python") if b.startswith("def hold_out")]
    names: dict = {"pandas": pandas}
    exec(block, names)  # noqa: S102
    names["hold_out"](table, ["02", "03"])
    header, *written = table.read_text().splitlines()
    assert header == "file_name,label,pose,split"
    assert written == [f"{row},{'train' if n < 4 else 'unseen'}" for n, row in enumerate(rows)]


def test_the_function_that_reads_fonts_from_names_writes_character_and_font(tmp_path):
    for name in ("Sample001/img001-00042.png", "Sample020/img020-00007.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (block,) = [b for b in blocks("docs/own_images.md", "python") if b.startswith("def font_table")]
    names: dict = {"string": string}
    exec(block, names)  # noqa: S102
    names["font_table"](tmp_path)
    assert (tmp_path / "labels.csv").read_text().splitlines() == [
        "file_name,label,group",
        "Sample001/img001-00042.png,0,00042",
        "Sample020/img020-00007.png,J,00007",
    ]


def test_the_parameters_for_larger_pictures_are_valid(tmp_path):
    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "params.yaml").read_text())
    (block,) = blocks("docs/own_images.md", "yaml")
    for section, values in yaml.load(block).items():
        content[section] |= values
    with (tmp_path / "params.yaml").open("w") as file:
        yaml.dump(content, file)
    assert load_params(tmp_path / "params.yaml").model.base_channels == 32


def test_the_snippets_run_and_write_the_files_that_the_text_names(clone):
    assert Image.open(clone.folder / "swap.png").size == (4 * 28 * 8, 28 * 8)
    assert (clone.folder / "images.json").stat().st_size > 1000
    assert Image.open(clone.folder / "answer.png").size == (2 * 28, 28)


@pytest.mark.parametrize("command", RUN)
def test_a_documented_command_succeeds(clone, serve, command):
    command = command.replace(DOCUMENTED_PORT, serve.port)
    if command.startswith("mlflow models serve"):
        serve(command)
    else:
        # The environment exists already, though not in the clone.
        script = f'make() {{ command make -o setup "$@"; }}; {command}'
        printed = clone.run("bash", "-c", script)
        assert printed.strip()
        assert "error_code" not in printed  # a server's answer, with which curl succeeds
