"""Intervals from drawing again with replacement."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def resampled_interval(
    statistic: Callable[..., float], sizes: Sequence[int], num_resamples: int, method: str = "linear"
) -> tuple[float, float]:
    """95 % interval of a statistic: everything that was drawn is drawn again with replacement.

    Arguments:
        statistic: function of one array of indices for each of the sizes.
        sizes: how many there are of each, such as data sets, networks and problems.
        num_resamples: number of draws.
        method: of NumPy's percentiles; "nearest" where values may be infinite.
    Returns:
        the 2.5 and 97.5 percentiles, unit of the statistic.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, doi:10.1201/9780429246593.
    """
    generator = np.random.default_rng(0)
    draws = [
        statistic(*(generator.integers(size, size=size) for size in sizes)) for _ in range(num_resamples)
    ]
    low, high = np.percentile(draws, [2.5, 97.5], method=method)
    return float(low), float(high)


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean, num_resamples: int = 2000
) -> tuple[float, float]:
    """95 % interval of a mean over runs and problems: both are drawn again with replacement.

    Arguments:
        values: shape (runs, problems); a run is one pair of data seed and network seed.
        statistic: function of such an array.
        num_resamples: number of draws.
    Returns:
        the 2.5 and 97.5 percentiles, unit of the statistic.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, doi:10.1201/9780429246593.
    """
    return resampled_interval(
        lambda runs, problems: statistic(values[np.ix_(runs, problems)]), values.shape, num_resamples
    )
