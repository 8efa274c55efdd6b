"""The wiring: seven stages over the library ``vaegan``, tracked by MLflow and run by DVC.

Importing it sets environment variables that torch and MLflow read when they are imported: no
telemetry, no unpickling, no queries to package indexes, figures without a display, and cuBLAS's
deterministic workspace. A value that the user has set is kept.

Importing it also makes Python collect garbage less often: importing torch and MLflow creates a
million permanent objects, and scanning them repeatedly takes a fifth of a stage's start-up time.
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
    # An unreachable server is detected within seconds, not after five minutes of retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
    "MPLBACKEND": "Agg",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",  # what Apple's GPU lacks is computed on the CPU
}
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

gc.set_threshold(100_000, *gc.get_threshold()[1:])  # Python's default is 700
