"""What a solution costs: evaluations of the loss and its gradient per problem, with one accounting for all methods.

Every method gets the same budget k for each problem. A problem that is solved spends nothing more; only training
goes on, since a network learns from all problems of its group, solved or not. With t_i the evaluations after which
problem i was solved first, T_i those of its training (zero for classical solvers) and m_i all that it used, problem i
spends

    s_i(k) = min(k, max(t_i, T_i))  if it is solved,    s_i(k) = min(k, m_i)  if not.

The cost of solving a fraction p is the mean of s_i(k) for the smallest k at which a fraction p is solved.
"""

from __future__ import annotations

import numpy as np
import xarray as xr


def spent(solved_at, num_evaluations, training) -> np.ndarray:
    """What each problem spends when no budget is set: max(t_i, T_i) if it is solved, m_i if not. Arguments as in `cost_to_solve`."""
    solved_at = np.asarray(solved_at)
    return np.where(solved_at > 0, np.maximum(solved_at, training), num_evaluations)


def cost_to_solve(solved_at, num_evaluations, training, fraction: float) -> float:
    """Mean evaluations per problem until a fraction of the problems is solved; NaN where that never happens.

    Arguments:
        solved_at: t_i, shape (N,), evaluations; 0 for problems that were never solved.
        num_evaluations: m_i, shape (N,).
        training: T_i, shape (N,) or a number.
        fraction: p, between 0 and 1.
    Raises:
        ValueError: if the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: expected a number above 0 and at most 1, got {fraction!r}; 0.9 asks for nine problems in ten.")
    solved_at, num_evaluations = np.asarray(solved_at), np.asarray(num_evaluations)
    solved = solved_at > 0
    needed = int(np.ceil(fraction * solved_at.size - 1e-9))
    if solved.sum() < needed:
        return float("nan")
    budget = np.sort(solved_at[solved])[needed - 1]
    return float(np.minimum(spent(solved_at, num_evaluations, training), budget).mean())


def costs_of_runs(study: xr.Dataset, fraction: float, training: xr.DataArray | float = 0.0) -> xr.DataArray:
    """`cost_to_solve` of every run of a method: one value for each seed and n.

    Arguments:
        study: solved_at and num_evaluations of one method, with the dimension "problem".
        fraction: p.
        training: T_i with the dimensions of the study, or 0.
    """
    return xr.apply_ufunc(
        lambda *arrays: cost_to_solve(*arrays, fraction), study.solved_at, study.num_evaluations, xr.zeros_like(study.num_evaluations) + training,
        input_core_dims=[["problem"]] * 3, vectorize=True, output_dtypes=[float],
    )


def refined_method(joint: xr.Dataset) -> str:
    """The refinement that a problem recommends: with restarts where the study has them, one run of BFGS otherwise."""
    return "JointRestarted" if "JointRestarted" in joint.solver else "JointRefined"


def joint_costs(joint: xr.Dataset, fraction: float, method: str | None = None) -> xr.DataArray:
    """Costs of joint optimization with refinement, (data_seed, group_size, network_seed); its training counts in full."""
    method = method or refined_method(joint)
    return costs_of_runs(joint.sel(solver=method, drop=True), fraction, joint.num_evaluations.sel(solver="Joint", drop=True))


def crossing(joint: xr.Dataset, opponent: xr.Dataset, fraction: float, method: str | None = None, num_resamples: int = 500) -> dict[str, float]:
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
        for name, values in (("at", refined.solved_at), ("total", refined.num_evaluations), ("training", training))
    }
    rival = {name: opponent[name].transpose("data_seed", "problem").values for name in ("solved_at", "num_evaluations")}

    def smallest(data, network, problems) -> float:
        limit = np.mean([cost_to_solve(rival["solved_at"][d][problems], rival["num_evaluations"][d][problems], 0.0, fraction) for d in data])
        cheap = []
        for k in range(len(sizes)):
            own = np.mean([cost_to_solve(*(arrays[name][k, d, s][problems] for name in ("at", "total", "training")), fraction)
                           for d in data for s in network])
            cheap.append(bool(own <= limit) or bool(np.isfinite(own) and np.isnan(limit)))
        expensive = np.flatnonzero(~np.array(cheap))
        first = 0 if len(expensive) == 0 else expensive[-1] + 1
        return float(sizes[first]) if first < len(sizes) else np.inf

    own, theirs = joint_costs(joint, fraction, method), costs_of_runs(opponent, fraction)
    if not own.notnull().all(("data_seed", "network_seed")).any() and bool(theirs.isnull().any()):
        return {"value": np.nan, "low": np.nan, "high": np.nan, "largest": float(sizes[-1])}
    num_data, num_network, num_problems = (arrays["at"].shape[k] for k in (1, 2, 3))
    generator = np.random.default_rng(0)
    draws = [
        smallest(generator.integers(num_data, size=num_data), generator.integers(num_network, size=num_network),
                 generator.integers(num_problems, size=num_problems))
        for _ in range(num_resamples)
    ]
    low, high = np.percentile(draws, [2.5, 97.5], method="nearest")
    return {"value": smallest(range(num_data), range(num_network), slice(None)), "low": float(low), "high": float(high), "largest": float(sizes[-1])}
