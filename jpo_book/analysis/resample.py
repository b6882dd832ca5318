"""Intervals from drawing again with replacement.

Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, doi:10.1201/9780429246593.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import xarray as xr


def resampled(
    statistic: Callable[..., float], sizes: Sequence[int | tuple[int, ...]], num_resamples: int, seed: int = 0
) -> np.ndarray:
    """A statistic of samples in which everything that was drawn is drawn again with replacement.

    Arguments:
        statistic: function of one array of indices for each of the sizes.
        sizes: how many there are of each, such as data sets, networks and problems; with a shape (..., m), m
            indices are drawn for each leading position.
        num_resamples: number of draws.
        seed: of the draws.
    Returns:
        the values, shape (num_resamples,), unit of the statistic.
    """
    generator = np.random.default_rng(seed)
    shapes = [np.atleast_1d(size) for size in sizes]
    return np.array(
        [
            statistic(*(generator.integers(shape[-1], size=shape) for shape in shapes))
            for _ in range(num_resamples)
        ]
    )


def weights(generator: np.random.Generator, count: int, num_resamples: int) -> np.ndarray:
    """`resampled` for means, in one product: weights of `count` members, shape (1 + num_resamples, count).

    Row 0 is the sample itself; the others count how often each member was drawn again.
    """
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=num_resamples)
    return np.vstack([np.ones(count), drawn]) / count


def interval(draws: np.ndarray, method: Literal["linear", "nearest"] = "linear") -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of draws; method "nearest" where values may be infinite."""
    low, high = np.percentile(draws, [2.5, 97.5], method=method)
    return float(low), float(high)


def interval_of_mean(values: np.ndarray, num_resamples: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean over runs and problems: both are drawn again with replacement.

    Arguments:
        values: shape (runs, problems); a run is one pair of data seed and network seed.
        num_resamples: number of draws.
    """
    return interval(
        resampled(lambda runs, problems: values[np.ix_(runs, problems)].mean(), values.shape, num_resamples)
    )


def by_run(values: xr.DataArray) -> np.ndarray:
    """Values (data_seed, network_seed, problem) as an array (runs, problems)."""
    return values.transpose("data_seed", "network_seed", "problem").values.reshape(
        -1, values.sizes["problem"]
    )
