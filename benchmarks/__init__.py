"""What is said of the pipeline's speed, as commands: ``python -m benchmarks --help``."""
