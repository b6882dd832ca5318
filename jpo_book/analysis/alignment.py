"""What alignment studies say: early alignment against what is solved in the end, and who pulls on whom.

The data sets are those of `jpo_book.studies.combine_variants` for the studies of
`jpo_book.studies.run_alignment`, with the dimensions data_seed, group_size,
network_seed, recorded and problem.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import Estimate, drawn_networks, estimate, mean, weights
from jpo_lib.theory.alignment import noise_alignment

EARLY = 0.25  # the part of the training that counts as early
ORDER = ("data_seed", "group_size", "network_seed", "problem")


def not_solved(runs: xr.Dataset) -> xr.DataArray:
    """Which problems have a loss above their threshold when a step is recorded."""
    return runs.recorded_loss >= runs.threshold


def early(runs: xr.Dataset, name: str = "alignment") -> xr.DataArray:
    """Mean over the steps recorded in the first part of the training, for each run and problem."""
    step = runs.step.values.reshape(-1, runs.sizes["recorded"])[0]
    return runs[name].isel(recorded=np.flatnonzero(step <= EARLY * step[-1])).mean("recorded")


def estimate_of_mean(values: xr.DataArray) -> Estimate:
    """`mean` of a quantity (data_seed, network_seed, problem) of which some are missing;
    not known for fewer than two problems."""
    count = int(values.mean("network_seed").notnull().sum())
    return mean(values) if count > 1 else Estimate(np.nan, -1.0, 1.0, np.nan)


def late_unsolved(runs: xr.Dataset, name: str) -> xr.DataArray:
    """A quantity of the problems not solved yet,
    averaged over the second half of the training; else missing."""
    step = runs.step.values.reshape(-1, runs.sizes["recorded"])[0]
    late = runs[name].where(not_solved(runs)).isel(recorded=np.flatnonzero(step >= 0.5 * step[-1]))
    return late.mean("recorded")


def _arrays(runs: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Early alignment and whether a problem is solved after refinement,
    (data seed, n, network seed, problem)."""
    solved = runs.solved.sel(solver="JointRefined", drop=True)
    return early(runs, name).transpose(*ORDER).values, solved.transpose(*ORDER).values.astype(bool)


def _estimate(draws: np.ndarray, count: int) -> Estimate:
    """The estimate of a statistic in [-1, 1].

    Drawing again adds noise, which pulls correlations towards zero. The interval holds the percentiles, and
    their mirror images at the value, which take that back.
    """
    found = estimate(draws, count=count)
    if np.isnan(found.value):
        return Estimate(np.nan, -1.0, 1.0, np.nan, count)
    ends = np.array([found.low, found.high])
    ends = np.clip([*ends, *(2 * found.value - ends)], -1, 1)
    return Estimate(found.value, float(ends.min()), float(ends.max()), found.value, count)


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
        got = f"shapes {first.shape}, {second.shape} and {groups.shape}"
        raise ValueError(f"rank_correlation: expected equally many points, 2 or more, got {got}; pair them.")
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
    points, count = [], 0
    for number, runs in enumerate(experiments.values()):
        pair = np.stack(_arrays(runs, name)).astype(float)  # (2, data seed, n, network seed, problem)
        _, num_data, sizes, num_networks, num_problems = pair.shape
        count += num_data * sizes * num_networks
        of_runs, problems = weights(num_data, num_networks, num_problems, num_resamples, seed=number)
        rates = np.einsum("kdp,adnmp->kdmna", problems, pair, optimize=True)
        # As many copies of each run as were drawn; the sample itself has one of each.
        drawn = np.where(np.arange(len(of_runs)) == 0, num_networks, drawn_networks(num_networks))
        copies = np.rint(of_runs * num_data * drawn[:, None, None]).astype(int)
        points.append([np.repeat(r.reshape(-1, sizes, 2), c.ravel(), axis=0) for r, c in zip(rates, copies)])

    def correlation(each):
        first, second = np.concatenate([one.reshape(-1, 2) for one in each]).T
        groups = np.repeat(np.arange(len(each)), [one.size // 2 for one in each])
        return rank_correlation(first, second, groups if within else None)

    return _estimate(np.array([correlation(each) for each in zip(*points)]), count)


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
    values, solved = _arrays(runs, name)
    of_runs, problems = weights(*np.array(values.shape)[[0, 2, 3]], num_resamples)
    pairs = solved[..., :, None] & ~solved[..., None, :]
    order = np.where(pairs, np.sign(values[..., :, None] - values[..., None, :]), 0)
    won, all_of_them = (
        np.einsum("kdm,kdp,kdq,dnmpq->k", of_runs, problems, problems, one, optimize=True)
        for one in (order, pairs.astype(float))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return _estimate(won / all_of_them, int(pairs.sum()))


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
        found = root_scalar(lambda lam: float(noise_alignment(lam, dimension)) - target, bracket=(0.0, 1e4))
        return found.root

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
