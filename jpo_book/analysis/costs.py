"""What a solution costs: evaluations of the loss and its gradient per problem,
with one accounting for all methods.

The accounting is that of `jpo_lib.metrics`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import ORDER, Estimate, estimate, ordered, shared, weights
from jpo_lib.metrics import spent

NUM_RESAMPLES = 1000


def refined_method(joint: xr.Dataset) -> str:
    """The refinement that a problem recommends:
    with restarts where the study has them, else one run of BFGS."""
    return "JointRestarted" if "JointRestarted" in joint.solver else "JointRefined"


def refined_and_training(joint: xr.Dataset, method: str | None = None) -> tuple[xr.Dataset, xr.DataArray]:
    """Results of joint optimization with refinement, and the evaluations of its training."""
    refined = joint.sel(solver=method or refined_method(joint), drop=True)
    return refined, joint.num_evaluations.sel(solver="Joint", drop=True)


def cost_draws(
    study: xr.Dataset, fraction: float, training: xr.DataArray | float, runs: np.ndarray, problems: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of `jpo_lib.metrics.cost_to_solve` over runs, in each draw.

    Arguments:
        study: solved_at and num_evaluations (data_seed, network_seed, problem) of one method; one without
            networks is the same for all of them.
        fraction: p.
        training: T_i with the dimensions of the study, or 0.
        runs, problems: from `jpo_book.analysis.resample.weights`.
    Returns:
        the cost (draws,), and whether all runs of the draw solve the fraction. Where they do not, the cost is
        what was spent: the method was cut there, and its cost is more than that.
    """
    trained = xr.zeros_like(study.num_evaluations) + training
    at, total, trained = map(ordered, (study.solved_at, study.num_evaluations, trained))
    runs = shared(runs, at)
    cost, reached = np.zeros(len(runs)), np.ones(len(runs), bool)
    for data, network in np.ndindex(at.shape[:2]):
        one, own = (data, network), runs[:, data, network]
        when = np.where(at[one] > 0, at[one], np.inf)
        order = np.argsort(when, kind="stable")
        drawn = problems[:, data, order]
        # The budget at which the fraction is solved, weighted as drawn; infinite if it never is.
        first = (np.cumsum(drawn, axis=1) >= fraction - 1e-9).argmax(axis=1)
        budget = when[order][first]
        paid = spent(at[one], total[one], trained[one])[order]
        cost += own * (drawn * np.minimum(paid, budget[:, None])).sum(1)
        reached &= np.isfinite(budget) | (own == 0)
    return cost, reached


def cost(study: xr.Dataset, fraction: float, training: xr.DataArray | float = 0.0) -> Estimate:
    """The cost of solving a fraction, arguments as in `cost_draws`; known from below where a run does not."""
    draws = weights(*ordered(study.num_evaluations).shape, NUM_RESAMPLES)
    costs, reached = cost_draws(study, fraction, training, *draws)
    return estimate(costs, np.where(reached, costs, np.inf))


def of_each_size(joint: xr.Dataset, method: str | None = None) -> list[tuple[xr.Dataset, xr.DataArray]]:
    """`refined_and_training` for each n."""
    refined, training = refined_and_training(joint, method)
    return [
        (refined.isel(group_size=k, drop=True), training.isel(group_size=k, drop=True))
        for k in range(joint.sizes["group_size"])
    ]


def falls_below(sizes: np.ndarray, costs: np.ndarray, limit: float) -> tuple[float, float]:
    """The n at which a curve of costs reaches a limit for good, log cost linear in log n.

    Two ends, which differ where it is only known to lie between two sizes, or beyond the first one (0) or the
    last one (infinity).

    Arguments:
        sizes: n, shape (m,), ascending.
        costs: shape (m,); infinite where the problems are not solved.
        limit: may be infinite.
    """
    dear = np.flatnonzero((costs > limit) | np.isinf(costs))
    if not dear.size:
        return 0.0, float(sizes[0])
    if dear[-1] == len(sizes) - 1:
        return float(sizes[-1]), np.inf
    pair = slice(dear[-1], dear[-1] + 2)
    if not np.isfinite([*costs[pair], limit]).all():
        return float(sizes[pair][0]), float(sizes[pair][1])
    middle = float(np.exp(np.interp(-np.log(limit), -np.log(costs[pair]), np.log(sizes[pair]))))
    return middle, middle


def crossing(joint: xr.Dataset, opponent: xr.Dataset, fraction: float, method: str | None = None) -> Estimate:
    """n*: from which n on JPO solves a fraction p at no more cost than the opponent; see `falls_below`.

    The whole curve of costs is drawn again. An opponent that was cut before it solved the fraction costs more
    than what it spent: n* is then at most where that is reached.

    Returns:
        the estimate, in problems; NaN for "undefined", when neither side solves the fraction with all seeds.
    """
    sizes = joint.group_size.values.astype(float)
    draws = weights(*(joint.sizes[name] for name in ORDER), NUM_RESAMPLES)
    limits, known = cost_draws(opponent, fraction, 0.0, *draws)
    found = (cost_draws(one, fraction, training, *draws) for one, training in of_each_size(joint, method))
    return crossing_of(sizes, [np.where(reached, costs, np.inf) for costs, reached in found], limits, known)


def crossing_of(sizes: np.ndarray, costs, limits: np.ndarray, known: np.ndarray) -> Estimate:
    """Where a curve of costs falls below those of an opponent, in each draw.

    Arguments:
        sizes: n, shape (m,), ascending.
        costs: of JPO, shape (m, draws); infinite where it does not solve so many problems.
        limits: of the opponent, shape (draws,).
        known: whether it solves so many; else its cost is more than that.
    """
    curves = np.transpose(costs)
    if not known[0] and np.isinf(curves[0]).all():
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    lower, upper = (
        np.array([falls_below(sizes, *pair)[end] for pair in zip(curves, bounds, strict=True)])
        for end, bounds in enumerate((np.where(known, limits, np.inf), limits))
    )
    return estimate(lower, upper)
