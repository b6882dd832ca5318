"""What alignment studies say: early alignment against what is solved in the end, and who pulls on whom.

The data sets are those of `jpo_book.studies.combine_variants` for the studies of
`jpo_book.studies.run_alignment`, with the dimensions data_seed, group_size,
network_seed, recorded and problem.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import interval, resampled
from jpo_lib.theory.alignment import noise_alignment

EARLY = 0.25  # the part of the training that counts as early
LARGEST = 0.999  # correlations above this have no finite atanh worth the name
ORDER = ("data_seed", "group_size", "network_seed", "problem")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, and how many points or pairs it rests on."""

    value: float
    low: float
    high: float
    count: int

    @property
    def sign(self) -> int:
        """+1 or −1 where the interval lies on one side of zero,
        0 where it does not or where nothing is known."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        return (
            "not known"
            if np.isnan(self.value)
            else f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})".replace("-", "−")
        )


def not_solved(runs: xr.Dataset) -> xr.DataArray:
    """Which problems have a loss above their threshold when a step is recorded."""
    return runs.recorded_loss >= runs.threshold


def early(runs: xr.Dataset, name: str = "alignment", fraction: float = EARLY) -> xr.DataArray:
    """Mean over the steps recorded in the first part of the training, for each run and problem."""
    step = runs.step.values.reshape(-1, runs.sizes["recorded"])[0]
    return runs[name].isel(recorded=np.flatnonzero(step <= fraction * step[-1])).mean("recorded")


def mean_over_problems(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Mean of a quantity, and its 95 % interval m +- 1.96 s / sqrt(count), s the deviation between problems.
    Missing values do not count.

    Networks of several seeds share their problems, so a problem is averaged over the networks first.

    Arguments:
        values: with the dimensions data_seed, network_seed, problem, and others that are kept.
    Returns:
        mean, lower and upper end.
    """
    one = values.mean("network_seed").stack(one=("data_seed", "problem"))
    middle = one.mean("one")
    half = 1.96 * one.std("one", ddof=1) / np.sqrt(one.count("one"))
    return middle, middle - half, middle + half


def estimate_of_mean(values: xr.DataArray) -> Estimate:
    """`mean_over_problems` of a quantity without further dimensions;
    not known for fewer than two problems."""
    count = int(values.mean("network_seed").notnull().sum())
    if count < 2:
        return Estimate(float("nan"), -1.0, 1.0, count)
    value, low, high = map(float, mean_over_problems(values))
    return Estimate(value, low, high, count)


def late_unsolved(runs: xr.Dataset, name: str) -> xr.DataArray:
    """A quantity of the problems not solved yet,
    averaged over the second half of the training; else missing."""
    step = runs.step.values.reshape(-1, runs.sizes["recorded"])[0]
    return (
        runs[name]
        .where(not_solved(runs))
        .isel(recorded=np.flatnonzero(step >= 0.5 * step[-1]))
        .mean("recorded")
    )


def _arrays(runs: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Early alignment and whether a problem is solved after refinement,
    (data seed, n, network seed, problem)."""
    solved = runs.solved.sel(solver="JointRefined", drop=True)
    return early(runs, name).transpose(*ORDER).values, solved.transpose(*ORDER).values.astype(bool)


def _estimate(statistic, data, count: int, num_resamples: int) -> Estimate:
    """A statistic in [-1, 1] of a list of (alignment, solved),
    with the interval from drawing seeds and problems again.

    Both are drawn the same for all n. Drawing again adds noise and so pulls correlations towards zero. The
    basic bootstrap takes that back: with z = atanh(statistic) and quantiles q of z over the resamples, the
    interval is tanh(2 z - q_.975) to tanh(2 z - q_.025).
    """
    value = statistic(data)
    if np.isnan(value):
        return Estimate(value, -1.0, 1.0, count)

    def of_draw(*drawn):
        return statistic(
            [
                [np.take_along_axis(values[:, :, seeds], problems, axis=-1) for values in arrays]
                for arrays, seeds, problems in zip(data, drawn[::2], drawn[1::2], strict=True)
            ]
        )

    sizes = [
        size
        for (num_data, _, num_seeds, num_problems) in (arrays[0].shape for arrays in data)
        for size in (num_seeds, (num_data, 1, 1, num_problems))
    ]
    again = resampled(of_draw, sizes, num_resamples, seed=18)
    z, again = (np.arctanh(np.clip(v, -LARGEST, LARGEST)) for v in (value, again[~np.isnan(again)]))
    high, low = np.tanh(2 * z - np.array(interval(again))) if again.size else (1.0, -1.0)
    return Estimate(float(value), float(min(low, value)), float(max(high, value)), count)


def rank_correlation(first, second, groups=None) -> float:
    """Spearman's rho: the correlation of ranks. With groups, of ranks within each group, from its mean rank.

    Arguments:
        first, second: numbers, shape (m,); equal ones share their mean rank.
        groups: label of each point, shape (m,); all in one group when None.
    Returns:
        rho in [-1, 1]; NaN where the first or the second numbers do not differ.
    Raises:
        ValueError: if the shapes differ or there are fewer than two points.

    Source: Spearman (1904), Am. J. Psychol. 15, doi:10.2307/1412159.
    """
    from scipy.stats import rankdata

    first, second = np.asarray(first, float), np.asarray(second, float)
    groups = np.zeros(first.shape) if groups is None else np.asarray(groups)
    if first.ndim != 1 or first.shape != second.shape or first.shape != groups.shape or first.size < 2:
        raise ValueError(
            f"rank_correlation: expected equally many points, at least two, got shapes "
            f"{first.shape}, {second.shape} and {groups.shape}; pass one pair of numbers for each point."
        )
    # Round-off in a mean must not decide which of two equal numbers is the larger.
    ranks = np.zeros((2, first.size))
    for group in np.unique(groups):
        here = groups == group
        for row, values in zip(ranks, (first, second), strict=True):
            ranked = rankdata(np.round(values[here], 9))
            row[here] = (ranked - ranked.mean()) / here.sum()
    norms = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else float("nan")


def predicts_solved_rate(
    experiments: Mapping[str, xr.Dataset], within: bool, name: str = "alignment", num_resamples: int = 300
) -> Estimate:
    """Rank correlation of a run's mean early alignment with its solved rate after refinement; a point for
    each run and n.

    Arguments:
        experiments: alignment studies by name.
        within: rank the points of each experiment by themselves,
            so that differences between experiments do not count.
        name: "alignment", or another quantity that was recorded.
        num_resamples: for the interval, in which network seeds and problems are drawn again.
    """

    def statistic(data):
        first, second = ([pair[k].mean(axis=-1).ravel() for pair in data] for k in (0, 1))
        groups = np.repeat(np.arange(len(first)), [len(points) for points in first])
        return rank_correlation(np.concatenate(first), np.concatenate(second), groups if within else None)

    data = [_arrays(runs, name) for runs in experiments.values()]
    return _estimate(statistic, data, sum(arrays[0][..., 0].size for arrays in data), num_resamples)


def ordered_pairs(values, solved) -> tuple[float, int]:
    """Sum over pairs of a solved and an unsolved problem of the same run: +1 where the solved one has the
    larger value, -1 where it has the smaller; and the number of pairs.
    Arguments (..., N), one run for each leading index."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=-1)
    yes = solved.sum(axis=-1)
    no = solved.shape[-1] - yes
    wins = (ranks * solved).sum(axis=-1) - yes * (
        yes + 1
    ) / 2  # pairs won, ties count half (Mann & Whitney 1947)
    return float((2 * wins - yes * no).sum()), int((yes * no).sum())


def predicts_solved_problems(runs: xr.Dataset, name: str = "alignment", num_resamples: int = 300) -> Estimate:
    """P(a_s > a_u) - P(a_s < a_u) over pairs of problems of the same run,
    s solved in the end and u not; a: early alignment.

    1 where alignment tells exactly which problems of a run will be solved, 0 where it tells nothing. Since
    both problems are from the same run, neither n nor the seed can bring it about.

    Arguments:
        runs: an alignment study.
        name, num_resamples: as in `predicts_solved_rate`.
    Returns:
        the estimate with the number of pairs; NaN where every run solved all problems, or none.

    Source: Somers (1962), Am. Sociol. Rev. 27, doi:10.2307/2090408.
    """

    def statistic(data):
        total, pairs = ordered_pairs(*data[0])
        return total / pairs if pairs else float("nan")

    arrays = _arrays(runs, name)
    return _estimate(statistic, [arrays], ordered_pairs(*arrays)[1], num_resamples)


def worth_in_examples(step: float, own: float, dimension: int) -> float:
    """n with A_d(sqrt(n) lambda) = step, where A_d(lambda) = own:
    how many examples Theorem 1 would have to average.

    Arguments:
        step: alignment of the step that is judged, dimensionless.
        own: alignment of a problem's own gradient, dimensionless.
        dimension: d, number of unknowns.
    Returns:
        n, below 1 where the step is worse aligned than the own gradient; 0 for a step that is not aligned at
        all, NaN where the own gradient is not.
    """
    from scipy.optimize import root_scalar

    def signal_to_noise(alignment):
        target = min(alignment, 1 - 1e-6)
        return root_scalar(
            lambda lam: float(noise_alignment(lam, dimension)) - target, bracket=(0.0, 1e4), method="brentq"
        ).root

    if not own > 0:
        return float("nan")
    return (signal_to_noise(step) / signal_to_noise(own)) ** 2 if step > 0 else 0.0


def coupling(kernel) -> np.ndarray:
    """C_ij = k_ij / sqrt(k_ii k_jj),  k_ij = tr K_ij: the cosine between the Jacobians of two problems.

    Arguments:
        kernel: k, shape (..., N, N), unit x^2.
    Returns:
        C, shape (..., N, N), dimensionless, with a unit diagonal; 0 beside a problem that no weight can move.
    """
    kernel = np.asarray(kernel, float)
    size = np.sqrt(np.einsum("...ii->...i", kernel))
    scale = size[..., :, None] * size[..., None, :]
    matrix = np.where(scale > 0, kernel / np.where(scale > 0, scale, 1.0), 0.0)
    return np.where(np.eye(kernel.shape[-1], dtype=bool), 1.0, matrix)


def mean_coupling(matrix) -> np.ndarray:
    """Mean of C_ij over i != j, shape (...) for matrices (..., N, N); 0 for one problem."""
    size = matrix.shape[-1]
    return (matrix.sum(axis=(-2, -1)) - np.einsum("...ii->...", matrix)) / max(size * (size - 1), 1)


def effective_rank(matrix) -> np.ndarray:
    """exp(-sum_k p_k log p_k),  p_k = lambda_k / sum lambda: how many directions the matrix (..., N, N) uses,
    1 to N.

    Source: Roy & Vetterli (2007), EUSIPCO, "The effective rank: a measure of effective dimensionality".
    """
    values = np.maximum(np.linalg.eigvalsh(matrix), 0.0)
    share = values / values.sum(axis=-1, keepdims=True)
    return np.exp(-np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1))
