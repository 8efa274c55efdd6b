"""Runs a stage: parameters checked first, the sync beside it, faults told in one line."""

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.artifacts.files import read_json, tree_digest
from pipeline.artifacts.paths import (
    CLASSIFIER,
    CURVES,
    FIGURES,
    METRICS,
    MODEL,
    OUTPUTS,
    PREPARED,
    REPORT,
    SWAPS,
    repository,
)
from pipeline.console import Console
from pipeline.params import Params, load_params
from pipeline.sections import flat

FAULTS = (ValueError, OSError, FloatingPointError)  # of the user's files, values and disk
FOREIGN = ("MlflowException", "SQLAlchemyError")  # by name: a stage without them starts faster


@dataclass(frozen=True)
class Stage:
    """How a stage is run.

    Attributes:
        sections: Of params.yaml, that its ``run`` takes, in this order.
        tracked: Whether it keeps a journal.
        kept: Outputs that the journal keeps copies of, for artifacts of the run.
        recorded: Inputs whose digests are recorded with those of the outputs.
    """

    sections: tuple[str, ...]
    tracked: bool = True
    kept: tuple[Path, ...] = ()
    recorded: tuple[Path, ...] = ()


STAGES = {
    "prepare": Stage(("prepare",), tracked=False),
    "train": Stage(("model", "train"), kept=(CURVES,), recorded=(PREPARED,)),
    "encode": Stage(("encode",)),
    "classifier": Stage(("classifier",), tracked=False),
    "evaluate": Stage(("evaluate",), kept=(METRICS, SWAPS), recorded=(CLASSIFIER,)),
    # DVC skips evaluate if a reproduction's codes and metrics are those in git: then this stage is
    # the first that the store hears of the results from.
    "visualize": Stage(
        ("evaluate", "visualize"), kept=(METRICS, SWAPS, FIGURES), recorded=(METRICS, SWAPS)
    ),
    "report": Stage(("evaluate",), kept=(REPORT,)),
}


def run_stage(name: str) -> int:
    """Runs a stage on the checked parameters; returns the exit status.

    Parameters are checked before anything is touched. Faults of the user's files, values, disk and
    tracking store end in one line on standard error; ``VAEGAN_TRACEBACK=1`` shows where.

    Returns:
        0, or 1 after a message; 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        execute(name, load_params())
    except KeyboardInterrupt:
        print("stopped; dvc repro resumes from here", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        foreign = any(kind.__name__ in FOREIGN for kind in type(error).__mro__)
        if os.environ.get("VAEGAN_TRACEBACK") or not (foreign or isinstance(error, FAULTS)):
            raise
        text = " ".join(str(error).split()) if foreign else str(error)
        print(f"error: {text}", file=sys.stderr)
        return 1
    return 0


def execute(name: str, params: Params) -> None:
    """Runs a stage, with a journal and a follower if it is tracked, and prints its summary."""
    if name == "train":
        check_split(params.evaluate.split)
    if name == "train" and Path.cwd() != repository():
        # In a temporary copy of DVC's: its table shows the metrics there beside the running
        # experiment, and those that came with the commit are another model's.
        for path in OUTPUTS["evaluate"]:
            path.unlink(missing_ok=True)
    module = importlib.import_module(f"pipeline.stages.{name}")
    console = Console(name, params.train.steps)
    if STAGES[name].tracked:
        _execute_tracked(name, module, params, console)
    else:
        sections = (getattr(params, section) for section in STAGES[name].sections)
        console.summary(module.run(*sections))


def check_split(split: str) -> None:
    """Checks before a training that the prepared images have the split to evaluate on.

    Raises:
        ValueError: they do not; own images may come without validation images.
    """
    if split != "test" and split not in read_json(PREPARED / "dataset.json").get("splits", {}):
        raise ValueError(
            f"evaluate.split: got {split}, expected test, as the prepared images have no such "
            "split; prepare.validation_size > 0 makes a validation split"
        )


def _execute_tracked(name: str, module: ModuleType, params: Params, console: Console) -> None:
    """Runs a stage with a journal, and a follower that sends it to MLflow."""
    from pipeline.journal import Event, Journal
    from pipeline.tracking.follower import Follower, context

    follower = Follower()
    sections = {section: getattr(params, section) for section in STAGES[name].sections}
    settings: dict[str, Any] = {}
    for section, values in sections.items():
        settings |= flat(values, f"{section}.")

    def on_event(event: Event) -> None:
        console.event(event)
        if event["event"] == "begin":
            if model := event["about"].get("model"):
                journal.keep_model(MODEL, model)
            follower.start(journal)
        follower.wake()

    journal = Journal(name, context(settings), follower.open, on_event)
    with terminable():
        try:
            summary = module.run(*sections.values(), journal)
            journal.keep_model(MODEL, summary["model"])
            for path in STAGES[name].kept:
                if path.exists():
                    journal.keep_file(path)
            recorded = (*STAGES[name].recorded, *OUTPUTS[name])
            digests = {str(path): tree_digest(path) for path in recorded}
            journal.outputs(summary, digests)
            console.summary(summary)
        except BaseException as error:
            with patient():
                killed = isinstance(error, KeyboardInterrupt | SystemExit)
                reason = f"{type(error).__name__}: {error}"[:500]
                journal.end("KILLED" if killed else "FAILED", reason)
                follower.stop(finished=False)
            raise
        journal.end("FINISHED")
        follower.stop(finished=True)
    if name == list(STAGES)[-1]:
        from pipeline.tracking.committed import advice

        for line in advice():
            print(line, flush=True)


@contextmanager
def terminable(*numbers: signal.Signals) -> Iterator[None]:
    """Signals, SIGTERM by default, end the block by SystemExit; one that is ignored stays so."""

    def terminate(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in numbers or (signal.SIGTERM,)}
    # None: a handler that Python did not install, and could not install again.
    before = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def patient() -> Iterator[None]:
    """A second Ctrl-C or SIGTERM does not interrupt the block."""
    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in both]
    try:
        yield
    finally:
        for number, handler in zip(both, before, strict=True):
            signal.signal(number, handler)
