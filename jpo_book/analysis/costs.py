"""What a solution costs: evaluations of the loss and its gradient per problem,
with one accounting for all methods.

The accounting is that of `jpo_lib.metrics`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import interval, resampled
from jpo_lib.metrics import cost_to_solve


def costs_of_runs(study: xr.Dataset, fraction: float, training: xr.DataArray | float = 0.0) -> xr.DataArray:
    """`cost_to_solve` of every run of a method: one value for each seed and n.

    Arguments:
        study: solved_at and num_evaluations of one method, with the dimension "problem".
        fraction: p.
        training: T_i with the dimensions of the study, or 0.
    """
    return xr.apply_ufunc(
        lambda at, total, trained: cost_to_solve(at, total, trained, fraction),
        study.solved_at,
        study.num_evaluations,
        xr.zeros_like(study.num_evaluations) + training,
        input_core_dims=[["problem"]] * 3,
        vectorize=True,
        output_dtypes=[float],
    )


def refined_method(joint: xr.Dataset) -> str:
    """The refinement that a problem recommends:
    with restarts where the study has them, else one run of BFGS."""
    return "JointRestarted" if "JointRestarted" in joint.solver else "JointRefined"


def refined_and_training(joint: xr.Dataset, method: str | None = None) -> tuple[xr.Dataset, xr.DataArray]:
    """Results of joint optimization with refinement, and the evaluations of its training."""
    refined = joint.sel(solver=method or refined_method(joint), drop=True)
    return refined, joint.num_evaluations.sel(solver="Joint", drop=True)


def joint_costs(joint: xr.Dataset, fraction: float, method: str | None = None) -> xr.DataArray:
    """Costs of joint optimization with refinement, (data_seed, group_size, network_seed);
    training counts in full."""
    refined, training = refined_and_training(joint, method)
    return costs_of_runs(refined, fraction, training)


def cost_of_draw(
    study: xr.Dataset, fraction: float, training: xr.DataArray | float = 0.0
) -> Callable[..., float]:
    """The mean cost over seeds as a function of indices (data seeds, network seeds, problems),
    to be drawn again.

    Arguments:
        study: solved_at and num_evaluations (data_seed, network_seed, problem) of one method; one without
            networks ignores their indices.
        fraction, training: as in `costs_of_runs`.
    """
    alone = "network_seed" not in study.num_evaluations.dims
    if alone:
        study = study[["solved_at", "num_evaluations"]].expand_dims("network_seed")
    parts = (study.solved_at, study.num_evaluations, xr.zeros_like(study.num_evaluations) + training)
    at, total, trained = (p.transpose("data_seed", "network_seed", "problem").values for p in parts)

    def cost(data, networks, problems) -> float:
        costs = [
            cost_to_solve(at[run][problems], total[run][problems], trained[run][problems], fraction)
            for run in itertools.product(data, (0,) if alone else networks)
        ]
        return float(np.mean(costs))

    return cost


def everything(study: xr.Dataset) -> tuple[range, range, slice]:
    """The indices of `cost_of_draw` for the sample itself."""
    return range(study.sizes["data_seed"]), range(study.sizes["network_seed"]), slice(None)


def resampled_costs(statistic: Callable[..., float], joint: xr.Dataset, num_resamples: int):
    """95 % interval of a statistic of costs, which may be infinite: seeds and problems are drawn again."""
    sizes = [joint.sizes[name] for name in ("data_seed", "network_seed", "problem")]
    return interval(resampled(statistic, sizes, num_resamples), method="nearest")


def crossing(
    joint: xr.Dataset,
    opponent: xr.Dataset,
    fraction: float,
    method: str | None = None,
    num_resamples: int = 500,
) -> dict[str, float]:
    """n*: the smallest tested n from which on JPO solves a fraction p at no more cost than the opponent.

    Costs are averaged over data and network seeds; an n for which a run never solves the fraction does not
    count. The interval comes from drawing seeds and problems again with replacement.

    Returns:
        {"value", "low", "high", "largest"}; infinity stands for "not with any n that was tested", NaN for
        "undefined", when neither side solves the fraction with all seeds.
        "largest" is the largest n that was tested.
    """
    refined, training = refined_and_training(joint, method)
    sizes = joint.group_size.values
    rival = cost_of_draw(opponent, fraction)
    own = [
        cost_of_draw(refined.sel(group_size=n), fraction, training.sel(group_size=n, drop=True))
        for n in sizes
    ]

    def smallest(*drawn) -> float:
        limit, costs = rival(*drawn), np.array([cost(*drawn) for cost in own])
        expensive = np.flatnonzero(~((costs <= limit) | (np.isfinite(costs) & np.isnan(limit))))
        first = 0 if len(expensive) == 0 else expensive[-1] + 1
        return float(sizes[first]) if first < len(sizes) else np.inf

    costs, theirs = joint_costs(joint, fraction, method), costs_of_runs(opponent, fraction)
    if not costs.notnull().all(("data_seed", "network_seed")).any() and bool(theirs.isnull().any()):
        value = low = high = np.nan
    else:
        value = smallest(*everything(joint))
        low, high = resampled_costs(smallest, joint, num_resamples)
    return {"value": value, "low": low, "high": high, "largest": float(sizes[-1])}
