"""Takes the documents' screenshots: MLflow's page, and the explorer of the champion.

``make screenshots`` runs it, in a repository in which experiments have been run; it needs Chromium.
It serves MLflow's page on loopback while the picture is taken.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.tools.explore import explore
from vaegan.devices import configure_torch

FIGURES = Path("docs/figures")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RUNS = "/#/experiments/{experiment}/runs?viewStateShareKey=first"


@contextmanager
def serve_mlflow() -> Iterator[str]:
    """Serves MLflow's page on a free port of loopback; yields its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=1)  # noqa: S310 (loopback)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.3)
            yield address
        finally:
            server.terminate()


def shoot(url: str, picture: Path, size: tuple[int, int]) -> None:
    """Takes a picture of a page as a headless browser renders it."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise FileNotFoundError(f"no browser: expected one of {', '.join(BROWSERS)} in PATH")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=30000",
                f"--screenshot={picture}", url,
            ],
            check=True, capture_output=True, timeout=180,
        )  # fmt: skip
    print(f"took {picture}")


def main(argv: list[str] | None = None) -> int:
    """Takes the picture; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tools.screenshots", description=__doc__
    )
    parser.add_argument("--experiment", default="1", help="id of MLflow's experiment")
    parser.add_argument("--folder", type=Path, default=FIGURES, help="where to write it")
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    configure_torch(1)
    try:
        with serve_mlflow() as address:
            url = address + RUNS.format(experiment=options.experiment)
            shoot(url, options.folder / "mlflow_runs.png", (2300, 640))
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "explorer.html"
            explore(None, page)
            shoot(page.as_uri(), options.folder / "explorer.png", (1180, 2170))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
