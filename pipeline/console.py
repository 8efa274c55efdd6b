"""Console output of a stage; nothing depends on it."""

import logging
import sys
from typing import Any

from pipeline.artifacts.paths import REPORT
from pipeline.journal import Event
from pipeline.progress import follow_progress


class Printer(logging.Handler):
    """Prints what is logged to the standard output of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a message."""
        write(self.format(record))


def write(line: str) -> None:
    """Prints a line above a progress bar, if there is one."""
    if not sys.stderr.isatty():
        print(line, flush=True)
        return
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


class Console:
    """Prints a stage's progress and its summary.

    Args:
        stage: Name of the stage.
        steps: Steps of the training; None for other stages.
    """

    def __init__(self, stage: str, steps: int | None = None) -> None:
        self.stage, self.steps = stage, steps
        self.bar: Any = None
        library = logging.getLogger("vaegan")  # which logs what takes long, such as each probe
        library.setLevel(logging.INFO)
        library.handlers = [Printer()]
        follow_progress()

    def event(self, event: Event) -> None:
        """Prints a line for a report or a resumed training."""
        if event["event"] == "resumed":
            print(f"resuming from the checkpoint at step {event['step']}", flush=True)
        elif event["event"] == "report" and event["metrics"]:
            line = _line(event["step"], self.steps, event["metrics"])
            if not sys.stderr.isatty():
                print(line, flush=True)
                return
            from tqdm import tqdm

            self.bar = self.bar or tqdm(total=self.steps, unit="step")
            self.bar.update(event["step"] - self.bar.n)
            write(line)
            if event["step"] == self.steps:
                self.bar.close()

    def summary(self, summary: dict[str, Any]) -> None:
        """Prints what the stage has done."""
        for line in SUMMARIES[self.stage](summary):
            print(line, flush=True)


def _line(step: int, steps: int | None, metrics: dict[str, float]) -> str:
    shown = "  ".join(
        f"{name.removesuffix('_loss')} {value:.2f}"
        for name, value in metrics.items()
        if name.endswith("_loss") and name != "generator_loss"
    )
    return f"step {step}/{steps}  {shown}  {metrics['images_per_second']:.0f} images/s"


def _counts(images: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in images.items())


def _prepared(summary: dict[str, Any]) -> list[str]:
    shape = "x".join(map(str, summary["shape"]))
    counts = _counts(summary["images"])
    line = f"data/prepared: {summary['dataset']}, images of {shape}: {counts}"
    return [*summary["notes"], line]


def _trained(summary: dict[str, Any]) -> list[str]:
    if not summary["fitted"]:
        return [summary["no_transport"]] if summary["no_transport"] else []
    return ["  ".join(f"{name} {value:.3f}" for name, value in summary["fitted"].items())]


def _encoded(summary: dict[str, Any]) -> list[str]:
    return [f"encoded {_counts(summary['images'])} images of {summary['dataset']}"]


def _classified(summary: dict[str, Any]) -> list[str]:
    accuracy, dataset = summary["accuracy"], summary["dataset"]
    factors = summary["factors"].items()
    return [
        f"the classifier is right on {accuracy:.2%} of real test images of {dataset}",
        *(f"that of {factor}: on {right:.2%}" for factor, right in factors),
    ]


def _evaluated(summary: dict[str, Any]) -> list[str]:
    verdict = f"{summary['verdict']}: {summary['verdict_reason']}"
    return [
        f"measured on {summary['measured']} of {summary['images']} {summary['split']} images "
        "(evaluate.test_images caps them); python -m pipeline results prints the metrics",
        *(f"note: {sentence}" for sentence in summary["left_out"]),
        *summary["findings"],
        verdict if summary["verdict"] == "sound" else f"WARNING: {verdict}",
    ]


def _visualized(summary: dict[str, Any]) -> list[str]:
    return [f"plotted reports/figures/{name}" for name in summary["figures"]]


def _reported(summary: dict[str, Any]) -> list[str]:
    size = summary["bytes"] / 2**20
    return [f"wrote {REPORT} ({size:.1f} MiB): open it in any browser, it needs nothing else"]


SUMMARIES = {
    "prepare": _prepared,
    "train": _trained,
    "encode": _encoded,
    "classifier": _classified,
    "evaluate": _evaluated,
    "visualize": _visualized,
    "report": _reported,
}
