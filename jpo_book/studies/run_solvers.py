"""What a study computes: all solvers on the same problems, with every evaluation counted.

This module and what it imports decide the numbers of a study; their source is part of a study's identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from jpo_book.studies.named_networks import named_network
from jpo_lib.networks.dense import network_for
from jpo_lib.problem import Dataset, InverseProblem, Result, random_stream
from jpo_lib.solvers import BFGS, Adam, GradientDescent, JointOptimization, MultiStart, complete, solve
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.refinement import continued, first_problems, refine

CLASSICAL_METHODS = (
    "BFGS",
    "GradientDescent",
    "Adam",
    "MultiStart",
    "ClassicalStart",
)  # and those only on request: see `run_classical`
LARGE_VARIABLES = ("x", "x_initial", "loss_history", "evaluation")
RECORDED = 60  # points of a loss history that are kept


def recorded_evaluations(longest: int) -> np.ndarray:
    """Numbers of evaluations at which losses are kept: 1, 2, 3, ... and then evenly on a logarithmic axis."""
    return np.unique(np.round(np.geomspace(1, max(longest, 2), RECORDED)).astype(int))


def _sampled(history: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """History at the recorded numbers of evaluations; a solver that stopped keeps its best loss."""
    return history[..., np.minimum(recorded, history.shape[-1]) - 1]


def solved_at(history: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """How many evaluations each problem took until its loss was below the threshold first; 0 if that never
    happened."""
    below = history < threshold[:, None]
    return np.where(below.any(axis=-1), below.argmax(axis=-1) + 1, 0).astype(np.int32)


def _combined(results: Mapping[str, Result], dims: Sequence[str], data: Dataset) -> xr.Dataset:
    """Results of several methods as one data set with the leading dimension "solver"."""
    recorded = recorded_evaluations(max(r.loss_history.shape[-1] for r in results.values()))
    stacked = {
        "x": (("solver", *dims, "parameter"), np.stack([r.x for r in results.values()])),
        "loss_history": (
            ("solver", *dims, "evaluation"),
            np.stack([_sampled(r.loss_history, recorded) for r in results.values()]),
        ),
        "solved_at": (
            ("solver", *dims),
            np.stack([solved_at(r.loss_history, np.asarray(data.threshold)) for r in results.values()]),
        ),
    }
    for name in ("loss", "num_evaluations", "solved", "status"):
        stacked[name] = (("solver", *dims), np.stack([getattr(r, name) for r in results.values()]))
    return xr.Dataset(stacked, coords={"solver": list(results), "evaluation": recorded})


def _add_data(study: xr.Dataset, data: Dataset, problem: InverseProblem) -> xr.Dataset:
    with problem.precision():
        arguments = data.x_true, data.context, data.y
        loss_at_truth = evaluation(problem).compiled(*arguments)[0](*arguments)[0]
    return study.assign(
        x_true=(("problem", "parameter"), np.asarray(data.x_true)),
        x0=(("problem", "parameter"), np.asarray(data.x0)),
        threshold=("problem", np.asarray(data.threshold)),
        loss_at_truth=("problem", np.asarray(loss_at_truth)),
    )


def run_classical_cell(problem: InverseProblem, cell) -> tuple[xr.Dataset, dict[str, float]]:
    """`run_classical` for a cell of a study."""
    return run_classical(problem, cell.num_problems, cell.data_seed, **cell.options)


def run_joint_cell(problem: InverseProblem, cell) -> tuple[xr.Dataset, dict[str, float]]:
    """`run_joint` for a cell of a study. With the option `compact` the file leaves out solutions and
    histories, most of its size."""
    options = dict(cell.options)
    compact = options.pop("compact", False)
    results, seconds = run_joint(
        problem, cell.num_problems, cell.data_seed, cell.group_size, cell.network_seeds, options
    )
    return results.drop_vars(LARGE_VARIABLES) if compact else results, seconds


def run_classical(
    problem: InverseProblem, num_problems: int, data_seed: int, methods: Sequence[str] = CLASSICAL_METHODS
) -> tuple[xr.Dataset, dict[str, float]]:
    """Solvers of single problems on one data set.

    "ClassicalStart" is BFGS from the start that a domain expert reads off the data; problems without one lack
    it. "MultiStartAdam" restarts Adam as "MultiStart" does BFGS. "NetworkMultiStart" is "MultiStart" whose
    first and further starts are the answers of untrained networks: what the architecture gives to someone who
    restarts and never trains. Returns the results (solver, problem, ...) and the seconds of each method.
    """
    data = problem.sample_dataset(num_problems, data_seed)
    solvers = {
        "BFGS": BFGS(),
        "GradientDescent": GradientDescent(),
        "Adam": Adam(),
        "MultiStart": MultiStart(),
        "MultiStartAdam": MultiStart(Adam(max_evaluations=60)),
    }
    results = {
        name: solve(problem, data, solver, seed=data_seed)
        for name, solver in solvers.items()
        if name in methods
    }
    if "ClassicalStart" in methods and problem.starts.classical is not None:
        with problem.precision():
            start = jax.vmap(problem.starts.classical)(data.y, data.context)
        results["ClassicalStart"] = solve(problem, data, BFGS(), x0=start, seed=data_seed)
    if "NetworkMultiStart" in methods:
        starts = untrained_answers(problem, data, complete(problem, MultiStart()).num_starts, data_seed)
        results["NetworkMultiStart"] = solve(
            problem, data, solvers["MultiStart"], x0=starts[:, 0], restarts=starts[:, 1:], seed=data_seed
        )
    return _add_data(_combined(results, ("problem",), data), data, problem), _seconds(results)


def untrained_answers(problem: InverseProblem, data: Dataset, num_networks: int, seed: int) -> jax.Array:
    """What K untrained networks with different weights answer to each problem, shape (N, K, d), unit of x."""
    make_network = network_for(problem)

    @jax.jit
    def answers(keys, *inputs):
        return jax.vmap(lambda key: jax.vmap(make_network(key))(*inputs), out_axes=1)(keys)

    with problem.precision():
        keys = jax.random.split(random_stream(seed, "networks"), num_networks)
        x = answers(keys, data.y, data.context, data.identifiers)
        if complete(problem, JointOptimization()).clip_to_bounds and problem.bounds:
            x = jax.numpy.clip(x, *(jax.numpy.asarray(bound, x.dtype) for bound in problem.bounds))
        return x.astype(data.x0.dtype)


def run_joint(
    problem: InverseProblem,
    num_problems: int,
    data_seed: int,
    group_size: int,
    network_seeds: Sequence[int],
    options: Mapping[str, Any],
) -> tuple[xr.Dataset, dict[str, float]]:
    """Joint optimization with groups of n problems on one data set, for several network seeds.

    "Joint" is the network's best output, "JointRefined" BFGS from there, "JointRestarted" the refinement with
    restarts of problems that recommend one (the evaluations of both include the training), and "NetworkStart"
    BFGS from the output of the untrained network: what the architecture gives without training. A group may
    be larger than the number of problems: the network then learns from further problems of the same data set,
    and only the first `num_problems` are refined and reported, so that all n are compared on the same
    problems. Options are those of JointOptimization; a network is named by plain data, see `named_network`.
    Returns the results (solver, network_seed, problem, ...) and the seconds of each method.
    """
    everything = problem.sample_dataset(max(num_problems, group_size), data_seed)
    data = everything[:num_problems]
    seeds = list(network_seeds)
    options = with_network(problem, options)
    joint = first_problems(
        solve(problem, everything, JointOptimization(group_size=group_size, **options), seed=seeds),
        num_problems,
    )
    refinements = {"JointRefined": solve(problem, data, BFGS(), x0=joint.x, seed=seeds)}
    if problem.recommended.refinement is not None:
        refinements["JointRestarted"] = refine(problem, data, joint)
    results = {
        "Joint": joint,
        **{name: continued(joint, refinement) for name, refinement in refinements.items()},
        "NetworkStart": solve(problem, data, BFGS(), x0=joint.extras["x_initial"], seed=seeds),
    }
    study = _combined(results, ("network_seed", "problem"), data).assign_coords(network_seed=seeds)
    study["x_initial"] = (("network_seed", "problem", "parameter"), joint.extras["x_initial"])
    return _add_data(study, data, problem), _seconds({**results, **refinements})


def with_network(problem: InverseProblem, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a solver that trains networks, with a network named by plain data replaced by the function
    that makes it."""
    return (
        {**options, "network": named_network(problem, options["network"])}
        if "network" in options
        else dict(options)
    )


def _seconds(results: Mapping[str, Result]) -> dict[str, float]:
    return {
        f"{name}.{part}": round(getattr(result, f"{part}_seconds"), 4)
        for name, result in results.items()
        for part in ("compile", "run")
    }
