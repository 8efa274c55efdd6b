"""Writes the report with what the tracking store knows: champion, commit, machine and times.

``python -m pipeline report`` without arguments is DVC's stage, whose page says only what the files
on disk say. With ``-o FILE`` the same page has the champion's numbers beside the model's, and the
origin of its run. A champion that was measured by another protocol, or that is this model, is left
out.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from pipeline.artifacts.files import atomic_file
from pipeline.params import load_params
from pipeline.report.content import Inputs, StoreFacts, build_report
from pipeline.tools.own_images import check_output
from vaegan.devices import configure_torch

ORIGIN = (
    "git.commit", "git.dirty", "dvc.exp", "cpu", "gpu", "python", "libraries",
)  # fmt: skip


def store_facts(inputs: Inputs) -> StoreFacts:
    """Asks the tracking store for the champion of the data set and the origin of the model.

    Raises:
        StoreError: the store cannot be used.
    """
    # Importing these takes two seconds.
    from mlflow import MlflowClient

    from pipeline.tracking import champion, registry
    from pipeline.tracking.store import connect, one_line

    connect()
    with one_line():
        client, origin = MlflowClient(), {}
        if (version := registry.version_of(inputs.digest)) is not None:
            run = client.get_run(str(version.run_id)).info
            times = {"begun": run.start_time, "ended": run.end_time}
            origin = {"version": f"{version.version} of {version.name}", "run": run.run_name}
            origin |= {name: _moment(time) for name, time in times.items() if time}
            origin |= {name: version.tags[name] for name in ORIGIN if name in version.tags}
        best = champion.champion_of(inputs.dataset.name)
        if best is None or best.tags.get(registry.DIGEST_TAG) == inputs.digest:
            return StoreFacts(origin=origin)
        scores = json.loads(best.tags.get(champion.SCORES_TAG, "{}"))
        if scores.get("protocol") != inputs.results["protocol"]:
            return StoreFacts(origin=origin)
        run_of_best = client.get_run(str(best.run_id)).data
        if run_of_best.tags.get("protocol") != inputs.results["protocol"]:  # measured anew since
            return StoreFacts(origin=origin)
        metrics = run_of_best.metrics
    return StoreFacts(f"version {best.version}", metrics, origin)


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline report", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    configure_torch(1)
    try:
        check_output(options.output, [".html"], force=True)
        inputs = Inputs.read()
        text = build_report(inputs, load_params().evaluate.gates, store_facts(inputs))
        with atomic_file(options.output) as part:
            part.write_text(text, encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output.resolve()} ({options.output.stat().st_size / 2**20:.1f} MiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
