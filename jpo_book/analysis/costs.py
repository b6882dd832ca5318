"""What a solution costs: evaluations of the loss and its gradient per problem, with one accounting for all methods.

The accounting is that of `jpo_lib.metrics`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import resampled_interval
from jpo_lib.metrics import cost_to_solve


def costs_of_runs(study: xr.Dataset, fraction: float, training: xr.DataArray | float = 0.0) -> xr.DataArray:
    """`cost_to_solve` of every run of a method: one value for each seed and n.

    Arguments:
        study: solved_at and num_evaluations of one method, with the dimension "problem".
        fraction: p.
        training: T_i with the dimensions of the study, or 0.
    """
    return xr.apply_ufunc(
        lambda *arrays: cost_to_solve(*arrays, fraction),
        study.solved_at,
        study.num_evaluations,
        xr.zeros_like(study.num_evaluations) + training,
        input_core_dims=[["problem"]] * 3,
        vectorize=True,
        output_dtypes=[float],
    )


def refined_method(joint: xr.Dataset) -> str:
    """The refinement that a problem recommends: with restarts where the study has them, one run of BFGS otherwise."""
    return "JointRestarted" if "JointRestarted" in joint.solver else "JointRefined"


def joint_costs(joint: xr.Dataset, fraction: float, method: str | None = None) -> xr.DataArray:
    """Costs of joint optimization with refinement, (data_seed, group_size, network_seed); its training counts in full."""
    method = method or refined_method(joint)
    return costs_of_runs(
        joint.sel(solver=method, drop=True), fraction, joint.num_evaluations.sel(solver="Joint", drop=True)
    )


def crossing(
    joint: xr.Dataset,
    opponent: xr.Dataset,
    fraction: float,
    method: str | None = None,
    num_resamples: int = 500,
) -> dict[str, float]:
    """n*: the smallest tested n from which on JPO solves a fraction p at no more cost than the opponent.

    Costs are averaged over data and network seeds; an n for which a run never solves the fraction does not count.
    The interval comes from drawing seeds and problems again with replacement.

    Returns:
        {"value", "low", "high", "largest"}; infinity stands for "not with any n that was tested", NaN for "undefined", when
        neither side solves the fraction with all seeds. "largest" is the largest n that was tested.
    """
    training = joint.num_evaluations.sel(solver="Joint", drop=True)
    refined = joint.sel(solver=method or refined_method(joint), drop=True)
    sizes = joint.group_size.values
    arrays = {
        name: values.transpose("group_size", "data_seed", "network_seed", "problem").values
        for name, values in (
            ("at", refined.solved_at),
            ("total", refined.num_evaluations),
            ("training", training),
        )
    }
    rival = {
        name: opponent[name].transpose("data_seed", "problem").values
        for name in ("solved_at", "num_evaluations")
    }

    def smallest(data, network, problems) -> float:
        limit = np.mean(
            [
                cost_to_solve(
                    rival["solved_at"][d][problems], rival["num_evaluations"][d][problems], 0.0, fraction
                )
                for d in data
            ]
        )
        cheap = []
        for k in range(len(sizes)):
            own = np.mean(
                [
                    cost_to_solve(
                        *(arrays[name][k, d, s][problems] for name in ("at", "total", "training")), fraction
                    )
                    for d in data
                    for s in network
                ]
            )
            cheap.append(bool(own <= limit) or bool(np.isfinite(own) and np.isnan(limit)))
        expensive = np.flatnonzero(~np.array(cheap))
        first = 0 if len(expensive) == 0 else expensive[-1] + 1
        return float(sizes[first]) if first < len(sizes) else np.inf

    own, theirs = joint_costs(joint, fraction, method), costs_of_runs(opponent, fraction)
    if not own.notnull().all(("data_seed", "network_seed")).any() and bool(theirs.isnull().any()):
        return {"value": np.nan, "low": np.nan, "high": np.nan, "largest": float(sizes[-1])}
    drawn = arrays["at"].shape[1:]
    low, high = resampled_interval(smallest, drawn, num_resamples, method="nearest")
    return {
        "value": smallest(range(drawn[0]), range(drawn[1]), slice(None)),
        "low": low,
        "high": high,
        "largest": float(sizes[-1]),
    }
