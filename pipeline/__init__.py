"""The wiring: five stages over the library ``vaegan``, tracked by MLflow and run by DVC.

Importing it sets, where the user has not, what has to stand in the environment before
torch and MLflow are imported: no telemetry, no unpickling, no look at package
indexes, figures without a screen, and cuBLAS's deterministic workspace. It also has Python
look for garbage less often: importing torch and MLflow makes a million objects that stay, and
going through them again and again is a fifth of the time a stage takes to start.
"""

import gc
import os

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server that is gone is found out within seconds, not after five minutes of trying again.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
    "MPLBACKEND": "Agg",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

gc.set_threshold(100_000, *gc.get_threshold()[1:])  # new objects; Python's own value is 700
