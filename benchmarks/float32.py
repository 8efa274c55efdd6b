"""Training on a processor without bfloat16 instructions: step, plain implementation, quality.

Those three benchmarks in float32. On a processor that has bfloat16 instructions, oneDNN is limited
to AVX-512, as on one that lacks them, in both implementations.
"""

import os

from benchmarks import plain, quality, step
from benchmarks.measure import Result

LIMIT = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}  # read when the first convolution is computed
PLAIN_IMAGES, SECONDS = 4.0, 150.0


def run() -> list[Result]:
    """Measures with the default's configuration."""
    os.environ.update(LIMIT)
    against = [
        Result(row.name, row.value, row.unit, row.target and (">=", PLAIN_IMAGES))
        for row in plain.run("float32")
    ]
    trained = quality.results(quality.train_measured("cpu", "float32"), SECONDS)
    return step.run("float32") + against + trained
