"""Confidence intervals of a mean by bootstrap."""

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000


def bootstrap_interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Percentile interval, 95 %, of the mean of values (N,), from 1,000 bootstrap resamples.

    If few distinct values occur, such as right and wrong, the resamples are counts of each from a
    multinomial distribution, which is equivalent and faster.
    """
    distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    if len(distinct) * 10 < len(values):
        resampled = rng.multinomial(len(values), counts / len(values), size=RESAMPLES)
        means = resampled @ distinct / len(values)
    else:
        rows = (rng.integers(len(values), size=len(values)) for _ in range(RESAMPLES))
        means = np.array([values[row].mean() for row in rows])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
