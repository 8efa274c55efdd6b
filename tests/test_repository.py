"""What git and DVC ignore, the environment's hook, and the commands of the Makefile."""

import os
import subprocess
import venv
from pathlib import Path

import pytest
from dvc.ignore import DvcIgnoreFilter
from dvc_objects.fs.local import LocalFileSystem

ROOT = Path(__file__).parents[1]
FOLDERS = (
    ".venv", "data", "mlruns", "models", "codes", "classifier", "reports/figures", ".journal",
    ".checkpoints", ".pytest_cache", "vaegan/__pycache__", "build", "dvc_plots",
    "benchmarks/latest", "vaegan.egg-info",
)  # fmt: skip
NEVER_DVCS = (".venv", "mlruns", "data/raw", ".journal", ".checkpoints", "vaegan/__pycache__")


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_git_ignores_folders_and_links_to_folders_alike(tmp_path, kind):
    project, disk = tmp_path / "project", tmp_path / "another disk"
    for name in FOLDERS:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).mkdir(parents=True)
        (disk / name / "file").touch()
        if kind == "link":
            (project / name).symlink_to(disk / name)
        else:
            (disk / name).rename(project / name)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    (project / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    assert shown == "?? .gitignore\n"


def test_no_tracked_file_is_in_a_folder_that_may_be_a_link():
    """Where such a folder is a link, git would take the file for deleted."""
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True)
    assert listed.stdout == ""


def test_dvc_ignores_folders_and_links_to_folders_alike(tmp_path):
    (tmp_path / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    (tmp_path / "disk").mkdir()
    for name in (*NEVER_DVCS, "models", "data/prepared"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(tmp_path / "disk")
    ignored = DvcIgnoreFilter(LocalFileSystem(), str(tmp_path))
    for name in NEVER_DVCS:
        assert ignored.is_ignored_file(str(tmp_path / name)), name
        assert ignored.is_ignored_dir(str(tmp_path / name)), name
    assert not ignored.is_ignored_dir(str(tmp_path / "models"))
    assert not ignored.is_ignored_dir(str(tmp_path / "data/prepared"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment with the hook that the Makefile copies, and without any package."""
    folder = tmp_path_factory.mktemp("environments") / "not activated"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "environment.pth").write_text((ROOT / "requirements/environment.pth").read_text())
    return folder


def started(environment: Path, code: str, **variables: str) -> str:
    """Output of Python code in an environment that is not activated."""
    command = [environment / "bin/python", "-c", code]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    done = subprocess.run(command, env=kept | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_started_by_the_environments_python_finds_that_python(environment):
    code = "import subprocess; subprocess.run('command -v python; echo $PATH', shell=True)"
    for path in ("/usr/bin:/bin", f"/usr/bin:{environment}/bin:/bin"):
        python, found = started(environment, code, PATH=path).splitlines()
        assert python == f"{environment}/bin/python"
        assert found == f"{environment}/bin:/usr/bin:/bin"  # once, and nothing else is lost


def test_nothing_in_the_environment_sends_telemetry_unless_told_to(environment):
    code = (
        "import os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['DVC_NO_ANALYTICS'])"
    )
    assert started(environment, code) == "true true\n"
    assert started(environment, code, DVC_NO_ANALYTICS="false") == "true false\n"


def test_another_environments_python_is_told_in_a_line(environment):
    """Such as that of a DVC that was installed for the whole machine."""
    command = [environment / "bin/python", "-m", "pipeline", "train"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {environment}/bin/python is the Python of another environment")
    assert ".venv/bin/dvc" in line


def test_dvcs_table_names_failed_experiments_without_the_numbers_of_their_commit():
    shown = subprocess.run(
        ["make", "--dry-run", "experiments"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "dvc exp show --only-changed --hide-failed " in shown
    assert "dvc queue status" in shown
    assert "pipeline results --origin" in shown


def test_the_seeds_are_trained_by_commands_that_fail_by_themselves():
    """A queue keeps failed and lost tasks of other experiments; nobody has to wait for those."""
    shown = subprocess.run(
        ["make", "--dry-run", "seeds"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "dvc exp run --temp -S train.seed=1\ndvc exp run --temp -S train.seed=2\n" in shown
    assert "queue" not in shown
