"""The evaluation: one metric per file, arrays in, numbers out; ``metrics.METRICS`` lists all."""
