"""Intervals of everything that the book reports: what was drawn is drawn again with replacement.

Problems are drawn again within their data set. Network seeds are drawn again once for all data sets:
networks that begin alike end alike on other data, so that ten runs of two data sets and five networks are
not ten. Data sets are drawn again where there are at least four.

A draw takes fewer networks than there are. The mean of k of m values, drawn with replacement, has the
standard error s sqrt((m - 1) / (m k)). Student's interval reaches t s / sqrt(m) to each side, and that of a
normal distribution z standard errors. The two agree for k = (m - 1) (z / t)^2. That of five networks reaches
as far as the networks themselves.

Sources: Owen (2007), The pigeonhole bootstrap, doi:10.1214/07-AOAS122; Bickel, Götze & van Zwet (1997),
Resampling fewer than n observations, Stat. Sinica 7.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import xarray as xr

from jpo_lib.metrics import outcome, wilson_interval

ORDER = ("data_seed", "network_seed", "problem")
LEAST_DATA_SETS = 4  # fewer are taken as they are


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: of the sample; the lower end where it is only known to lie in a range, such as the cost of what
            was never solved.
        low, high: the interval.
        upper: the upper end of that range; else the value itself.
        count: how many points or pairs it rests on, where that is told.
    """

    value: float
    low: float
    high: float
    upper: float
    count: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def sign(self) -> int:
        """+1 or −1 where the interval lies on one side of zero, 0 where it does not or nothing is known."""
        return int(self.low > 0) - int(self.high < 0)

    def columns(self, name: str) -> dict[str, float]:
        """The value and the ends of the interval under names of columns."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def __str__(self) -> str:
        text = f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})".replace("-", "−")
        return "not known" if np.isnan(self.value) else text


def drawn_networks(count: int) -> int:
    """How many of so many networks a draw takes."""
    from scipy.special import stdtrit  # imported here: SciPy's load time

    return 1 if count == 1 else max(1, round((count - 1) * (1.959964 / stdtrit(count - 1, 0.975)) ** 2))


@functools.lru_cache(maxsize=8)
def weights(
    num_data: int, num_networks: int, num_problems: int, num_resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """How much each run and each problem weighs in each draw; row 0 is the sample itself.

    Arguments:
        num_data, num_networks, num_problems: how many there are.
        num_resamples, seed: of the draws.
    Returns:
        of runs (1 + num_resamples, data sets, networks), all of which sum to one, and of problems
        (1 + num_resamples, data sets, problems), which sum to one in each data set.
    """
    generator = np.random.default_rng(seed)

    def drawn(number, size):
        return generator.multinomial(number, np.full(size, 1 / size))

    shape = (num_resamples, num_data)
    data = np.ones(shape, int)
    if num_data >= LEAST_DATA_SETS:
        data = drawn(np.full(num_resamples, num_data), num_data)
    networks = drawn(np.full(num_resamples, drawn_networks(num_networks)), num_networks)
    # A data set that was drawn twice has problems drawn twice.
    problems = drawn(num_problems * np.maximum(data, 1), num_problems)

    def shares(counts):
        whole = np.concatenate([np.ones((1, *counts.shape[1:])), counts])
        return whole / whole.sum(axis=-1, keepdims=True)

    return shares(data)[:, :, None] * shares(networks)[:, None], shares(problems)


def ordered(values: xr.DataArray) -> np.ndarray:
    """Values as an array (data set, network, problem); an axis that they lack has length one."""
    return values.expand_dims([d for d in ORDER if d not in values.dims]).transpose(*ORDER).values


def compared(study: xr.Dataset, reference: xr.Dataset) -> xr.DataArray:
    """`jpo_lib.metrics.outcome` of each problem: +1 better than the reference, 0 a tie, -1 worse."""
    arrays = xr.broadcast(study.loss, study.solved, reference.loss, reference.solved)
    return arrays[0].copy(data=outcome(*arrays))


def shared(runs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weights of runs for values (..., data set, network, problem): a method without networks has one for
    all."""
    return runs.sum(axis=-1, keepdims=True) if values.shape[-2] == 1 else runs


def means(values: np.ndarray, runs: np.ndarray, problems: np.ndarray) -> np.ndarray:
    """Mean in each draw, (..., draws), of values (..., data set, network, problem)."""
    operands = shared(runs, values), problems, np.asarray(values, float)
    return np.einsum("kdm,kdp,...dmp->...k", *operands, optimize=True)


def estimate(lower: np.ndarray, upper: np.ndarray | None = None, count: int = 0) -> Estimate:
    """The number of row 0, with the 2.5 and 97.5 percentiles of the other draws.

    Arguments:
        lower, upper: what each draw gives, shape (1 + draws,): two ends where it is only known to lie in a
            range. NaN where it gives nothing.
        count: for the estimate.
    """
    upper = lower if upper is None else upper
    if np.isnan(lower[0]):
        return Estimate(np.nan, -np.inf, np.inf, np.nan, count)
    low = np.nanpercentile(lower[1:], 2.5, method="lower")
    high = np.nanpercentile(upper[1:], 97.5, method="higher")
    return Estimate(float(lower[0]), float(low), float(high), float(upper[0]), count)


def mean(values: xr.DataArray) -> Estimate:
    """Mean over data_seed, network_seed and problem, whichever of them there are; missing values do not
    count."""
    array = ordered(values)
    draws, known = weights(*array.shape), np.isfinite(array)
    with np.errstate(invalid="ignore"):
        return estimate(means(np.where(known, array, 0.0), *draws) / means(known, *draws))


def rate(happened: xr.DataArray) -> Estimate:
    """`mean` of what happened or not. The interval holds that of Wilson, with each problem of each data set
    as one trial: where all problems agree, drawing again shows no doubt."""
    found = mean(happened)
    total = happened.sizes.get("data_seed", 1) * happened.sizes["problem"]
    low, high = wilson_interval(found.value * total, total)
    return dataclasses.replace(found, low=min(found.low, float(low)), high=max(found.high, float(high)))
