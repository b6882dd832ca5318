"""From the answers of a joint optimization to exact solutions, at the least cost."""

from __future__ import annotations

import dataclasses

import numpy as np

from jpo_lib.problem import Dataset, InverseProblem, Result, check_integer, check_positive
from jpo_lib.solvers.lbfgs import quasi_newton
from jpo_lib.solvers.multi_start import MultiStart
from jpo_lib.solvers.solver import ARRAYS, solve


def refinement_starts(
    problem: InverseProblem, joint: Result, num_restarts: int, *, spread: float = 0.05, seed: int = 0
) -> np.ndarray:
    """Where to start again when a run from joint.x fails: from the network's final output, then from
    perturbed copies.

    A copy is x + s w z with the width w of the prior box, spread s and standard normal z, clipped to the box.
    Without a box w is twice the spread of the problem's scale, and nothing is clipped.
    It also takes the place of a final output that is joint.x itself.

    Arguments:
        problem: the family of problems; needs bounds or a scale.
        joint: result of a joint optimization.
        num_restarts: K, number of points per problem.
        spread: s, dimensionless.
        seed: of the perturbations.
    Returns:
        points (..., N, K, d), unit of x, for `solve(..., restarts=)`.
    Raises:
        ValueError: if the problem has neither, the result comes from another solver, or a number is out of
        range.
    """
    check_integer("num_restarts", num_restarts, 1)
    check_integer("seed", seed, 0)
    check_positive(spread=spread)
    if problem.bounds is not None:
        lower, upper = (np.asarray(bound) for bound in problem.bounds)
        width = upper - lower
    elif problem.scale is not None:
        lower, upper, width = -np.inf, np.inf, 2 * np.asarray(problem.scale[1])
    else:
        name = problem.name
        raise ValueError(
            f"problem: expected bounds or a scale, got {name!r} without; pass restarts to solve."
        )
    if "x_final" not in joint.extras:
        kind = joint.solver.partition("(")[0]
        raise ValueError(f"joint: expected the result of a JointOptimization, got that of {kind}; run one.")
    shape = (*joint.x.shape[:-1], num_restarts, joint.x.shape[-1])
    noise = np.random.default_rng([seed, 2]).standard_normal(shape)
    points = np.clip(joint.x[..., None, :] + spread * width * noise, lower, upper)
    final = joint.extras["x_final"]
    new = np.any(final != joint.x, axis=-1, keepdims=True)
    points[..., 0, :] = np.where(new, final, points[..., 0, :])
    return points.astype(joint.x.dtype)


def refine(
    problem: InverseProblem,
    data: Dataset,
    joint: Result,
    *,
    max_evaluations: int | None = None,
    num_starts: int | None = None,
    spread: float = 0.05,
    seed: int = 0,
    devices=None,
) -> Result:
    """BFGS, from 100 unknowns on LBFGS, from joint.x until a problem is solved; where a run fails, again from
    `refinement_starts`. In short:

        solve(problem, data, MultiStart(BFGS(max_evaluations=25), num_starts=3), x0=joint.x,
        restarts=refinement_starts(...))

    Arguments:
        problem, data: as for `solve`.
        joint: result of a joint optimization on these data, for one seed or several.
        max_evaluations: cap of each run; a run that has not arrived by then rarely does. What the problem
            recommends when None, or else 25.
        num_starts: runs per problem, the one from joint.x included; what the problem recommends when None, or
            else 3.
        spread, seed: see `refinement_starts`.
        devices: see `solve`.
    Returns:
        a `Result` of the refinement alone; `continued(joint, refined)` adds what the training cost.
    Raises:
        ValueError: see `solve` and `refinement_starts`.
    """
    recommended = {"max_evaluations": 25, "num_starts": 3, **(problem.recommended.refinement or {})}
    max_evaluations = recommended["max_evaluations"] if max_evaluations is None else max_evaluations
    num_starts = recommended["num_starts"] if num_starts is None else num_starts
    restarts = None
    if num_starts > 1:
        restarts = refinement_starts(problem, joint, num_starts - 1, spread=spread, seed=seed)
    solver = MultiStart(quasi_newton(problem, max_evaluations=max_evaluations), num_starts=num_starts)
    return solve(problem, data, solver, x0=joint.x, restarts=restarts, seed=joint.seed, devices=devices)


def continued(first: Result, second: Result) -> Result:
    """(x, L) = the better of both, runs = those of the first + those of the second: one result for a
    solver that continues where another ended.

    Arguments:
        first: `Result` of the solver that began, for N problems, or for S seeds of them.
        second: `Result` of the solver that went on from first.x, on the same problems and seeds.
    Returns:
        a `Result` whose histories are joined.
    """
    keep = first.loss <= second.loss
    longest = second.loss_history.shape[-1]
    before, after = first.loss_history, second.loss_history
    # The second solver begins on each problem after as many runs as the first one spent on that problem.
    spent = np.ceil(first.num_runs[..., None]).astype(int)
    width = max(before.shape[-1], int(spent.max())) + longest
    history = np.full((*before.shape[:-1], width), np.inf, before.dtype)
    history[..., : before.shape[-1]] = before
    position = spent + np.arange(longest)
    np.put_along_axis(history, position, np.minimum(after, np.inf), axis=-1)
    return dataclasses.replace(
        second,
        x=np.where(keep[..., None], first.x, second.x),
        loss=np.where(keep, first.loss, second.loss),
        solved=first.solved | second.solved,
        num_evaluations=first.num_evaluations + second.num_evaluations,
        num_simulations=first.num_simulations + second.num_simulations,
        loss_history=np.minimum.accumulate(history, axis=-1),
    )


def first_problems(result: Result, count: int) -> Result:
    """The result for the first `count` problems."""
    lead = (slice(None),) * (result.loss.ndim - 1) + (slice(count),)
    arrays = {name: getattr(result, name)[lead] for name in ARRAYS}
    extras = {
        name: result.extras[name][lead]
        for name in ("x_initial", "x_final", "num_diverged")
        if name in result.extras
    }
    return dataclasses.replace(result, **arrays, extras={**result.extras, **extras})
