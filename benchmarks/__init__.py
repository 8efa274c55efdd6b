"""Measures the pipeline's speed and memory: ``python -m benchmarks --help``."""

import pipeline  # noqa: F401  (sets the environment, as for the stages, before torch is imported)
