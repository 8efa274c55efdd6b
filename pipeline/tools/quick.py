"""Try everything in minutes: scikit-learn's digits, few steps, a quick evaluation.

Runs every stage and the explorer with the preset ``quick``, in the folder ``quick``. It
has its own data, models and tracking store, so nothing of yours changes; delete it when you like.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from pipeline.__main__ import STAGES
from pipeline.ambient import QUICK
from pipeline.params import PARAMS_FILE, ParamsError, load_params
from pipeline.tools import presets

PRESET = FOLDER = "quick"
COMMANDS = (*STAGES, "explore", "results")
MARK = "# Written by python -m pipeline quick.\n"
SHOWN = {
    "reports/report.html": "the report: open it in a browser",
    "explorer.html": "the explorer: draw, swap, move a style",
    "reports/figures": "the figures",
}


def prepare_folder(folder: Path) -> None:
    """Makes the folder, with the parameters of the preset; changed ones there are left.

    Raises:
        ValueError: there is such a folder, and another command made it.
        ParamsError: the preset does not fit the parameters.
    """
    path = folder / PARAMS_FILE
    if folder.exists() and not (path.is_file() and path.read_text().startswith(MARK)):
        raise ValueError(f"{folder} exists, and make quick did not make it: rename or remove it")
    source = presets.FOLDER / f"{PRESET}.yaml"
    params = presets.apply_changes(presets.read(PRESET), load_params(), source)
    folder.mkdir(exist_ok=True)
    text = f"{MARK}{json.dumps(asdict(params), indent=2)}\n"  # JSON is YAML
    if path.exists() and path.read_text() != text:
        print(f"note: {path} differs from the preset and is used; without it, the preset is")
    else:
        path.write_text(text)


def run(folder: Path, command: str) -> None:
    """Runs a command of the door in the folder, with a tracking store of its own.

    Raises:
        CalledProcessError: it failed; it has said why.
    """
    ours = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    subprocess.run(
        [sys.executable, "-m", "pipeline", command],
        cwd=folder,
        env=ours | {"PYTHONPATH": str(Path.cwd()), QUICK: "1"},
        check=True,
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline quick", description=__doc__)
    parser.parse_args(argv)
    folder, begun = Path(FOLDER), time.monotonic()
    try:
        prepare_folder(folder)
        for number, command in enumerate(COMMANDS, 1):
            print(f"\n{number} of {len(COMMANDS)}: {command}", flush=True)
            run(folder, command)
    except KeyboardInterrupt:
        return 130
    except (ParamsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"\ndone in {time.monotonic() - begun:.0f} s; to look at:")
    print("\n".join(f"  {folder / path}  {words}" for path, words in SHOWN.items()))
    print(f"  mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db  MLflow's page")
    print("next: make repro trains the model of params.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
