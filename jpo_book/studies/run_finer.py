"""Methods of the tournament on targets that their own simulator did not make.

Targets that come from the discretization that also solves, and without noise, are an *inverse crime* (Colton
& Kress 1992): the truth is then an exact solution, which it never is in practice. Here the same problems are
solved twice. Once the targets are those of `InverseProblem.sample_dataset`. Once they come from another
simulation, with a finer grid and time step, restricted spectrally, or one that shares nothing with that of
the solvers; and Gaussian noise is added:

    y = R F'(x*, P c) + sigma xi,   xi ~ N(0, 1)

The solvers know F and sigma, but not F'. A problem then counts as solved when L(F(x, c), y) is at most 1.05
L(F(x*, c), y): the answer explains the target as well as the truth does. The source of this module is part
of the identity of its studies.

Source: Colton & Kress (1992), Inverse Acoustic and Electromagnetic Scattering Theory, section 5.1; Kaipio &
Somersalo (2007), doi:10.1016/j.cam.2005.09.027.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import scipy.signal
import xarray as xr

from jpo_book.studies.run_tournament import merged, run_method
from jpo_book.verification.billiards import small_steps
from jpo_lib.networks.dense import middle_and_spread
from jpo_lib.problem import Dataset, InverseProblem, random_stream

SPREAD_SEED = 900  # of the outputs whose spread is the unit of the noise
SOLVED = 1.05  # of the loss at the truth


def run_finer_cell(problem: InverseProblem, cell) -> tuple[xr.Dataset, dict[str, float]]:
    """Run a method on the same problems with either kind of targets.

    Arguments:
        problem: the family of problems, with the simulator of the solvers.
        cell: of a study; its options are those of a tournament with one setting, and "targets": "noise",
            sigma in units of the problem's own noise, or of the spread of its outputs where it has none, and
            "settings" of the other simulation or "time_step", see `other_outputs`.
    Returns:
        solved, cost, its part training_cost before the first descent from a network's answer, in evaluations,
        and error, the root mean square over the unknowns of x - x_true in half widths of the prior (targets,
        data_seed, network_seed, problem); noise, sigma, and spread, unit of the output; difference
        (data_seed), the root mean square of R F' - F at the truth, same unit. And no
        times of parts.
    """
    options = dict(cell.options)
    (setting,), targets, count = (options.pop(name) for name in ("grid", "targets", "num_data_seeds"))
    method, spread, rows = merged(options, setting), output_spread(problem), []
    noise = targets["noise"] * (problem.settings.get("noise") or spread)
    assumed, data_seeds = with_noise(problem, noise), list(range(cell.data_seed, cell.data_seed + count))
    for data_seed in data_seeds:
        same = problem.sample_dataset(max(cell.num_problems, cell.group_size or 1), data_seed)
        outputs = other_outputs(problem, same, cell, targets)
        own = np.asarray(_simulated(problem, same.x_true, same.context))
        pairs = ((problem, same), (assumed, with_targets(assumed, same, outputs, noise)))
        kinds = [_outcome(family, data, cell, method, data_seed) for family, data in pairs]
        difference = float(np.sqrt(np.mean(np.square(outputs - own))))
        rows.append(xr.concat(kinds, "targets").assign(difference=difference))
    results = xr.concat(rows, "data_seed").assign(noise=noise, spread=spread)  # pyright: ignore[reportAttributeAccessIssue]
    seeds = {"data_seed": data_seeds, "network_seed": list(cell.network_seeds) or [0]}
    return results.assign_coords(targets=["same", "finer"], **seeds), {}


@functools.lru_cache(maxsize=8)
def with_noise(problem: InverseProblem, deviation: float) -> InverseProblem:
    """The problem as one knows it who measures with Gaussian noise: L(F(x, c), y) <= 1.05 L(F(x*, c), y)
    solves it.

    Arguments:
        problem: the family of problems.
        deviation: sigma, unit of the output.
    """
    return dataclasses.replace(
        problem,
        observe=lambda key, output: output + deviation * jax.random.normal(key, output.shape, output.dtype),
        threshold=lambda output, y: SOLVED * problem.loss(output, y),
    )


def output_spread(problem: InverseProblem) -> float:
    """The standard deviation of the outputs over the prior, root mean square over their entries."""
    data = problem.sample_dataset(64, SPREAD_SEED)
    outputs = np.asarray(_simulated(problem, data.x_true, data.context), float)
    return float(np.sqrt(np.mean(np.var(outputs, axis=0))))


def other_outputs(problem: InverseProblem, data: Dataset, cell, targets: Mapping[str, Any]) -> np.ndarray:
    """R F'(x*, P c) of each problem, from a simulation that is not that of the solvers.

    Arguments:
        problem: the family of problems.
        data: N problems with their true parameters.
        cell: knows the family of F'.
        targets: "settings" of F' that differ, such as a finer grid; P and R are then the spectral
            interpolation of the context and restriction of the output. Or "time_step": billiards in small
            steps of this size, which notice a contact up to one step late.
    """
    if "time_step" in targets:
        places = np.repeat(np.array(problem.settings["positions"])[None], data.num_problems, axis=0)
        shots = np.zeros_like(places)
        shots[:, 0] = data.x_true
        table = {"restitution": problem.settings["restitution"], "table": (np.inf, np.inf)}
        rest = small_steps(places, shots, targets["time_step"], cushion_restitution=1.0, **table)
        return rest[:, problem.settings["target_ball"]]
    other = cell.family(**targets["settings"])
    fine, coarse = (p.settings["num_points"] for p in (other, problem))
    context = None if data.context is None else resampled(np.asarray(data.context), fine)
    return resampled(np.asarray(_simulated(other, data.x_true, context)), coarse)


def resampled(values: np.ndarray, num_points: int) -> np.ndarray:
    """The trigonometric polynomials through values (N, ...) on periodic grids, restricted to the waves that a
    grid of num_points carries in each direction, at its points."""
    for axis in range(1, values.ndim):
        if values.shape[axis] != num_points:
            values = scipy.signal.resample(values, num_points, axis=axis)  # pyright: ignore[reportAssignmentType]
    return values


def with_targets(problem: InverseProblem, data: Dataset, outputs: np.ndarray, deviation: float) -> Dataset:
    """The same problems with the targets outputs + sigma xi, and with the thresholds of `problem` for them.

    Arguments:
        problem: the family of problems.
        data: N problems with their true parameters.
        outputs: of another simulation, shape (N, ...).
        deviation: sigma, unit of the output.
    """
    with problem.precision():
        dtype, key = np.asarray(data.y).dtype, random_stream(data.seed, "noise of other targets")
        noise = jax.vmap(
            lambda index: jax.random.normal(jax.random.fold_in(key, index), data.y.shape[1:], dtype)
        )
        y = outputs.astype(dtype) + deviation * noise(np.arange(data.num_problems))
        judged = problem.dataset(y, data.x0, data.context, x_true=data.x_true)
    return dataclasses.replace(data, y=judged.y, threshold=judged.threshold)


def _simulated(problem: InverseProblem, x, context):
    with problem.precision():
        return _simulator(problem)(x, context)


@functools.lru_cache(maxsize=8)
def _simulator(problem: InverseProblem):
    return jax.jit(jax.vmap(problem.simulate))


def _outcome(problem, everything: Dataset, cell, method, data_seed: int) -> xr.Dataset:
    """What the method does with the reported ones of the problems."""
    data, seeds = everything[: cell.num_problems], list(cell.network_seeds) or [data_seed]
    result, first = run_method(problem, everything, data, method, cell.group_size, seeds)
    way = problem.difference(np.asarray(result.x, float), np.asarray(data.x_true, float))
    columns = {
        "solved": result.solved,
        "cost": result.cost,
        "training_cost": np.zeros_like(result.cost) if first is None else first.cost,
        "error": np.sqrt(np.mean(np.square(way / np.asarray(middle_and_spread(problem)["spread"])), -1)),
    }
    dims = ("network_seed", "problem")
    return xr.Dataset({name: (dims, np.asarray(values)) for name, values in columns.items()})
