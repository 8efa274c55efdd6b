"""Confidence intervals of a mean by bootstrap."""

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000


def bootstrap_interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile interval of 95 % of the mean of values (N,), from 1,000 resamples.

    Values of which many are the same, as rights and wrongs, are resampled by how often each of
    them occurs, which is the same distribution.
    """
    found, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    if len(found) * 10 < len(values):
        drawn = rng.multinomial(len(values), counts / len(values), size=RESAMPLES)
        means = drawn @ found / len(values)
    else:
        rows = (rng.integers(len(values), size=len(values)) for _ in range(RESAMPLES))
        means = np.array([values[row].mean() for row in rows])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
