"""Says how long the first run takes on this machine: ``make repro`` prints it before it begins."""

import sys

from pipeline.artifacts.paths import MODEL
from pipeline.params import load_params
from vaegan.devices import resolve_device, resolve_precision

# Minutes of the default on MNIST, of all stages together; README.md has them from here.
MINUTES = {"bfloat16": "8 to 14 minutes", "float32": "20 to 40 minutes", "GPU": "a few minutes"}


def estimate() -> str:
    """Names the time that the default takes, by what the processor offers."""
    device = resolve_device(load_params().train.device)
    precision = resolve_precision("auto", device)
    kind = precision if device.type == "cpu" else "GPU"
    machine = {
        "bfloat16": "two CPU cores with bfloat16 instructions, as this machine has them",
        "float32": "two CPU cores without bfloat16 instructions, which this machine lacks",
        "GPU": "a GPU like this machine's",
    }
    return f"first run: the default on MNIST takes about {MINUTES[kind]} on {machine[kind]}"


def main() -> int:
    """Prints the estimate before a first run; returns 0."""
    if not MODEL.exists():
        try:
            print(estimate())
        except ValueError as error:  # the stage check reports it, too
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
