import pipeline  # noqa: F401  (sets the environment before any test imports torch or MLflow)
