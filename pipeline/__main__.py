"""The one door: ``python -m pipeline COMMAND ...``; without a command it shows the menu."""

import importlib
import sys
from importlib.util import find_spec

from pipeline.ambient import clean
from pipeline.output import readers_may_leave

STAGES = {
    "prepare": "write the data set as arrays",
    "train": "train the model",
    "encode": "encode every image",
    "classifier": "train the evaluation classifier",
    "evaluate": "measure the model",
    "visualize": "plot the figures",
    "report": "write the report on the model: one HTML file that opens anywhere",
}
TOOLS = {
    "quick": "try everything in minutes, in the folder quick: digits, few steps",
    "inspect": "check a folder of own images and propose parameters; nothing is written",
    "check": "check params.yaml; --schema prints every key and its bounds",
    "track": "send everything on disk that the tracking store lacks",
    "results": "print the metrics of the model on disk; --all prints every one",
    "report -o FILE": "write the report with the champion's numbers, commit and machine",
    "compare": "print runs by what was changed: mean and interval over seeds",
    "explore": "write a version's explorer: one HTML file that runs the model in a browser",
    "champion": "list the registered versions and the champions; --set N promotes one",
    "reproduce": "rerun a registered version from its commit and compare every output",
    "preset": "print a preset as arguments of dvc exp run; without a name, list them",
    "swap": "exchange identity and style of two images, by a registered version",
    "reconstruct": "decode images from their own codes",
    "sample": "generate what an image shows in sampled styles",
    "encode FOLDER": "write the codes of all images in a folder as a table",
}
STAGE_HEADING = "stages, each followed by the sync to MLflow; dvc repro runs those that are due"
MENU = {
    "first run: dvc repro, or make repro in a fresh clone": ("quick", "inspect", "check"),
    STAGE_HEADING: tuple(STAGES),
    "look": ("results", "report -o FILE", "explore"),
    "compare": ("compare", "preset", "champion"),
    "use": ("swap", "reconstruct", "sample", "encode FOLDER"),
    "share": ("track", "reproduce"),
}
MODULES = {
    "quick": "pipeline.tools.quick",
    "inspect": "pipeline.tools.inspect",
    "check": "pipeline.params",
    "track": "pipeline.tools.track",
    "results": "pipeline.tools.results",
    "report": "pipeline.tools.report",  # with arguments; without, it is the stage
    "compare": "pipeline.tools.compare",
    "explore": "pipeline.tools.explore",
    "champion": "pipeline.tracking.champion",
    "reproduce": "pipeline.tools.reproduce",
    "preset": "pipeline.tools.presets",
    "swap": "pipeline.tools.swap",
    "reconstruct": "pipeline.tools.reconstruct",
    "sample": "pipeline.tools.sample",
    "encode": "pipeline.tools.encode_folder",  # with arguments; without, it is the stage
}
NEEDED = ("torch", "mlflow", "pydantic", "ruamel")


def usage() -> str:
    """The menu: all commands, a line each, in the order in which a person needs them."""
    words = STAGES | TOOLS
    lines = ["usage: python -m pipeline COMMAND ..."]
    for heading, names in MENU.items():
        lines += ["", heading, *(f"  {name:14} {words[name]}" for name in names if name in words)]
    more = "make help lists what runs several of these; COMMAND --help says more"
    return "\n".join([*lines, "", more])


def lacking_packages() -> list[str]:
    """Packages that every command needs and that this Python does not find."""
    return [name for name in NEEDED if find_spec(name) is None]


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns its exit status."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if lacking := lacking_packages():
        print(
            f"error: {sys.executable} is the Python of another environment, without "
            f"{', '.join(lacking)}: run .venv/bin/dvc, or source .venv/bin/activate first",
            file=sys.stderr,
        )
        return 1
    is_tool = name in MODULES and (name not in STAGES or bool(rest))
    if (name in STAGES or is_tool) and (ignored := clean(name)):
        honoured = "docs/operations.md lists the variables that are honoured"
        print(f"note: without effect here: {', '.join(ignored)}; {honoured}", file=sys.stderr)
    if (name in STAGES and not is_tool) or name == "check":
        from pipeline.tracking.git import warn_of_shallow_clone

        warn_of_shallow_clone()
    if name in STAGES and not is_tool:
        if rest:
            print(f"error: {name} takes no arguments, got {' '.join(rest)}", file=sys.stderr)
            return 2
        from pipeline.run import run_stage

        return run_stage(name)
    if is_tool:
        return importlib.import_module(MODULES[name]).main(rest)
    wanted = name in ("", "-h", "--help")
    print(usage(), file=sys.stdout if wanted and name else sys.stderr)
    if not wanted:
        print(f"\nerror: unknown command {name}", file=sys.stderr)
    return 0 if name in ("-h", "--help") else 2


if __name__ == "__main__":
    with readers_may_leave():
        sys.exit(main())
