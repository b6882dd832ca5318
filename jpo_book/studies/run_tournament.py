"""One method of the tournament on one data set: what it solves, and what that costs.

A method is plain data: where it starts, and how it goes on from there until a problem is solved,

    {"start": START, "solver": SOLVER}

SOLVER is a solver of `jpo_lib` by its name: {"name": "MultiStart", "num_starts": 24, "solver": {"name":
"BFGS", ...}}. START is "problem" (its own starts, the usual case), "classical" (what a domain expert
reads off the data), "untrained" (answers of untrained networks, for the first start and for restarts),
"surrogate" (the neural adjoint), or a solver that trains a network, {"name": "JointOptimization", ...}; with
"heads" that many networks, see `jpo_lib.solvers.heads`, and with "pairs_per_problem" as many simulated pairs
for each of n problems. With "spread" the first restarts, after the other heads, lie around the answers of the
network; see `refinement_starts`.

This module and what it imports decide the numbers of a study; their source is part of a study's identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from jpo_book.studies.named_networks import named_network
from jpo_book.studies.run_solvers import untrained_answers
from jpo_book.studies.surrogate import surrogate_answers
from jpo_lib.networks.dense import middle_and_spread
from jpo_lib.problem import Dataset, InverseProblem, Result
from jpo_lib.solvers import SOLVERS, solve
from jpo_lib.solvers.heads import answers_of_heads
from jpo_lib.solvers.refinement import continued, first_problems, refinement_starts
from jpo_lib.solvers.solver import stacked

NUM_PERTURBED = 2  # starts around the answer of a network; further ones are drawn from the prior
NUM_UNTRAINED = 64  # starts from untrained networks; further ones are drawn from the prior


def solver_of(problem: InverseProblem, spec: Mapping[str, Any]) -> Any:
    """The solver that plain data describe."""
    options = dict(spec)
    if "network" in options:
        options["network"] = named_network(problem, options["network"])
    if "solver" in options:
        options["solver"] = solver_of(problem, options["solver"])
    return SOLVERS[options.pop("name")](**options)


def merged(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Options with changes, also inside of options that are mappings themselves."""
    inner = {
        name: merged(options[name], value)
        for name, value in changes.items()
        if isinstance(value, Mapping) and isinstance(options.get(name), Mapping)
    }
    return {**options, **changes, **inner}


def run_tournament_cell(problem: InverseProblem, cell) -> tuple[xr.Dataset, dict[str, float]]:
    """Run a method with each of some settings on some data sets, once for each network seed; methods without
    a network take the data seed.

    Arguments:
        problem: the family of problems.
        cell: of a study; its options are a method, with "num_data_seeds", and "grid", the settings.
    Returns:
        solved, loss, num_evaluations and num_simulations (setting, data_seed, network_seed, problem), until a
        problem was solved or given up, its share of training and tables included; training_evaluations and
        training_simulations, the part of them that was spent before the first descent from a network's
        answer; error, the root mean square over the unknowns of x - x_true in half
        widths of the prior. And the seconds of the parts.
    """
    options = dict(cell.options)
    grid, num_data_seeds = options.pop("grid"), options.pop("num_data_seeds")
    settings, seconds = [], {"compile": 0.0, "run": 0.0}
    for changes in grid:
        rows = []
        for data_seed in range(cell.data_seed, cell.data_seed + num_data_seeds):
            study, result = _one_data_set(problem, cell, merged(options, changes), data_seed)
            rows.append(study)
            seconds["compile"] += result.compile_seconds
            seconds["run"] += result.run_seconds
        settings.append(
            xr.concat(rows, xr.DataArray([row.data_seed.item() for row in rows], dims="data_seed"))
        )
    seconds = {name: round(value, 4) for name, value in seconds.items()}
    return xr.concat(settings, "setting"), seconds  # pyright: ignore[reportReturnType]


def _one_data_set(problem: InverseProblem, cell, method, data_seed: int) -> tuple[xr.Dataset, Result]:
    seeds = list(cell.network_seeds) or [data_seed]
    everything = problem.sample_dataset(max(cell.num_problems, cell.group_size or 1), data_seed)
    data = everything[: cell.num_problems]
    result, first = run_method(problem, everything, data, method, cell.group_size, seeds)
    counts = ("num_evaluations", "num_simulations")
    columns = {name: getattr(result, name) for name in ("solved", "loss", *counts)}
    columns["loss"] = np.where(np.isfinite(columns["loss"]), columns["loss"], np.inf)
    for name in counts:
        training = np.zeros_like(columns[name]) if first is None else getattr(first, name)
        columns[name.replace("num", "training")] = training
    way = problem.difference(np.asarray(result.x, float), np.asarray(data.x_true, float))
    spread = np.asarray(middle_and_spread(problem)["spread"])
    columns["error"] = np.sqrt(np.mean(np.square(way / spread), axis=-1))
    study = xr.Dataset(
        {
            name: (
                ("network_seed", "problem"),
                values.astype(np.float32 if values.dtype.kind == "f" else values.dtype),
            )
            for name, values in columns.items()
        },
        coords={"network_seed": list(cell.network_seeds) or [0], "data_seed": data_seed},
    )
    return study, result


def run_method(
    problem: InverseProblem,
    everything: Dataset,
    data: Dataset,
    method: Mapping[str, Any],
    group_size: int | None,
    seeds: list[int],
) -> tuple[Result, Result | None]:
    """The result for `data`, and that of the training in it, where there is one."""
    solver, start = solver_of(problem, method["solver"]), method.get("start", "problem")
    if isinstance(start, Mapping):
        first = _trained(problem, everything, start, group_size, seeds, data.num_problems)
        near = [first.extras["others"]] if start.get("heads", 1) > 1 else []
        if "spread" in method:
            near.append(refinement_starts(problem, first, NUM_PERTURBED, spread=method["spread"]))
        restarts = np.concatenate(near, axis=-2) if near else None
        refined = solve(problem, data, solver, x0=first.x, restarts=restarts, seed=seeds)
        both = continued(first, refined)
        both = dataclasses.replace(
            both,
            compile_seconds=first.compile_seconds + refined.compile_seconds,
            run_seconds=first.run_seconds + refined.run_seconds,
        )
        return both, first
    if start == "untrained":
        x = np.stack([np.asarray(untrained_answers(problem, data, NUM_UNTRAINED, seed)) for seed in seeds])
        return solve(problem, data, solver, x0=x[:, :, 0], restarts=x[:, :, 1:], seed=seeds), None
    if start == "surrogate":
        x = np.stack(
            [surrogate_answers(problem, data, group_size, seed, **method["surrogate"]) for seed in seeds]  # pyright: ignore[reportArgumentType]
        )
        result = solve(problem, data, solver, x0=x, seed=seeds)
        # As many pairs as problems share the surrogate: one for each.
        return dataclasses.replace(result, num_simulations=result.num_simulations + 1), None
    if start == "classical":
        with problem.precision():
            x = np.asarray(jax.vmap(problem.starts.classical)(data.y, data.context))  # pyright: ignore[reportArgumentType]
        return solve(problem, data, solver, x0=x, seed=seeds), None
    return solve(problem, data, solver, seed=seeds), None


def _trained(problem, everything, spec, group_size, seeds, num_problems) -> Result:
    """The answers of trained networks. With "first", the weights begin as those of another solver."""
    spec = dict(spec)
    before, heads, pairs = (spec.pop(name, None) for name in ("first", "heads", "pairs_per_problem"))
    if pairs is not None:
        spec["num_pairs"] = pairs * group_size
    solver = dataclasses.replace(solver_of(problem, spec), group_size=group_size)
    if heads is not None:
        return answers_of_heads(problem, everything, solver, heads, seeds, num_problems)
    if before is None:
        return first_problems(solve(problem, everything, solver, seed=seeds), num_problems)
    begin = dataclasses.replace(solver_of(problem, before), group_size=group_size)
    results = []
    for seed in seeds:
        begun = solve(problem, everything, begin, seed=seed)
        warm = dataclasses.replace(solver, network=begun.network.start())
        ended = first_problems(solve(problem, everything, warm, seed=seed), num_problems)
        spent = ended.num_simulations + begun.num_simulations[:num_problems]
        kept = {"x_final": ended.extras["x_final"]}
        results.append(dataclasses.replace(ended, num_simulations=spent, extras=kept))
    return stacked(results, solver)
