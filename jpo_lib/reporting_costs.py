"""Costs and crossing points as text for the pages of the book, so that nobody types them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_lib.costs import costs_of_runs, joint_costs, refined_method
from jpo_lib.reporting import percent


def crossing_words(point: dict[str, float], bound: str = "value") -> str:
    """One of the numbers of `jpo_lib.costs.crossing` as text: "256", "more than 65536", or "undefined"."""
    value = point[bound]
    return "undefined" if np.isnan(value) else f"more than {point['largest']:.0f}" if np.isinf(value) else f"{value:.0f}"


def crossing_with_interval(point: dict[str, float]) -> str:
    """A crossing point with its interval as text."""
    middle, low, high = (crossing_words(point, bound) for bound in ("value", "low", "high"))
    return middle if middle == "undefined" else f"{middle} ({low})" if low == high else f"{middle} ({low} to {high})"


def spacing(sizes) -> str:
    """How far apart the tested n lie, as text: "a factor of 4", or "factors of 4 to 64" where the gaps differ."""
    sizes = np.unique(np.asarray(sizes, float))
    if sizes.size < 2:
        return "(only one was tested)"
    ratios = sizes[1:] / sizes[:-1]
    low, high = ratios.min(), ratios.max()
    return f"a factor of {low:g}" if np.isclose(low, high) else f"factors of {low:g} to {high:g}"


def _cost(costs: xr.DataArray) -> str:
    """Mean over seeds as text; it needs all of them."""
    return f"{float(costs.mean()):.1f}" if bool(costs.notnull().all()) else "(never so many solved)"


def cost_summary(short: str, classical: xr.Dataset, joint: xr.Dataset, level: float) -> dict[str, object]:
    """What a page says about the costs of one experiment, by names that begin with `short`.

    Arguments:
        short: beginning of the names.
        classical, joint: the study, from `jpo_lib.study.combine`.
        level: fraction of problems to be solved.
    """
    own = joint_costs(joint, level)
    largest = joint.isel(group_size=-1)
    training = largest.num_evaluations.sel(solver="Joint").mean()
    refined = largest.sel(solver=refined_method(joint))
    values = {
        "n-min": int(joint.group_size[0]), "n-max": int(joint.group_size[-1]), "spacing": spacing(joint.group_size),
        "num-problems": joint.sizes["problem"],
        "cost-min": _cost(own.isel(group_size=0)), "cost-max": _cost(own.isel(group_size=-1)),
        "visits": f"{float(training):.1f}", "refinement": f"{float(refined.num_evaluations.mean() - training):.1f}",
        "solved": percent(float(refined.solved.mean())),
        "untrained": percent(float(joint.solved.sel(solver="NetworkStart").mean())),
        "untrained-cost": f"{float(joint.num_evaluations.sel(solver='NetworkStart').mean()):.1f}",
    }
    for method, name in (("MultiStart", "restarts"), ("NetworkMultiStart", "networks")):
        if method in classical.solver:
            chosen = classical.sel(solver=method, drop=True)
            values |= {name: _cost(costs_of_runs(chosen, level)), f"{name}-solved": percent(float(chosen.solved.mean()))}
        else:
            values |= {name: "(not computed)", f"{name}-solved": "(not computed)"}
    return {f"{short}-{name}": value for name, value in values.items()}
