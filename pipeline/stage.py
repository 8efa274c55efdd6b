"""What every stage's command does: check the parameters, work, say in one line what is wrong."""

import os
import sys
from collections.abc import Callable

from mlflow.exceptions import MlflowException

from pipeline.params import Params, load_params


def run_stage(stage: Callable[[Params], None]) -> int:
    """Runs a stage on the checked parameters and gives its exit status.

    Parameters are checked before anything is touched. Faults of the user's files, values,
    disk and tracking store end in one line on standard error; ``VAEGAN_TRACEBACK=1`` shows where.

    Args:
        stage: Takes the parameters.

    Returns:
        0, or 1 after a message.
    """
    try:
        stage(load_params())
    except (ValueError, OSError, FloatingPointError, MlflowException) as error:
        if os.environ.get("VAEGAN_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
