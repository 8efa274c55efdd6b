"""What every stage's command does: check the parameters, work, say in one line what is wrong."""

import os
import signal
import sys
from collections.abc import Callable

from pipeline.params import Params, load_params

FAULTS = (ValueError, OSError, FloatingPointError)  # of the user's files, values and disk


def run_stage(stage: Callable[[Params], None]) -> int:
    """Runs a stage on the checked parameters and gives its exit status.

    Parameters are checked before anything is touched. Faults of the user's files, values,
    disk and tracking store end in one line on standard error; ``VAEGAN_TRACEBACK=1`` shows where.

    Args:
        stage: Takes the parameters.

    Returns:
        0, or 1 after a message; 130 after Ctrl-C.
    """
    try:
        stage(load_params())
    except KeyboardInterrupt:
        print("stopped; dvc repro goes on from here", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        if os.environ.get("VAEGAN_TRACEBACK") or not (isinstance(error, FAULTS) or _mlflows(error)):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _mlflows(error: Exception) -> bool:
    """Whether MLflow raised it; asked by name, for a stage that does not track starts faster."""
    return any(kind.__name__ == "MlflowException" for kind in type(error).__mro__)
