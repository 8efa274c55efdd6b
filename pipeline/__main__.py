"""The one door: ``python -m pipeline COMMAND ...``; without a command it lists them."""

import importlib
import sys

COMMANDS = {
    "check": ("pipeline.params", "check params.yaml; --schema prints every key and its bounds"),
    "prepare": ("pipeline.stages.prepare", "stage: the data set as arrays"),
    "train": ("pipeline.stages.train", "stage: train the model"),
    "encode": ("pipeline.stages.encode", "stage: encode every image"),
    "classifier": ("pipeline.stages.classifier", "stage: train the evaluation classifier"),
    "evaluate": ("pipeline.stages.evaluate", "stage: measure the model"),
    "visualize": ("pipeline.stages.visualize", "stage: plot the figures"),
    "compare": ("pipeline.tools.compare", "a table of experiments, summarised over seeds"),
    "champion": ("pipeline.tracking.champion", "list the registered versions; --set N"),
    "reproduce": ("pipeline.tools.reproduce", "make a registered version again and compare"),
    "preset": ("pipeline.tools.presets", "print a preset as arguments of dvc exp run"),
    "store": ("pipeline.tracking.store", "--moved: rewrite paths of a moved repository"),
}


def main() -> int:
    """Runs a command; returns its exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        width = max(map(len, COMMANDS))
        print("usage: python -m pipeline COMMAND ...\n", file=sys.stderr)
        for command, (_, words) in COMMANDS.items():
            print(f"  {command:{width}}  {words}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[name][0])
    sys.argv[:2] = [f"python -m pipeline {name}"]
    return module.main()


if __name__ == "__main__":
    sys.exit(main())
