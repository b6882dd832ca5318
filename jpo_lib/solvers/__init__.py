"""Solvers as small hyperparameter objects, and `solve`, the one door to all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problem import (
    Dataset,
    InverseProblem,
    Result,
    check_array,
    check_dataset,
    check_integer,
    random_stream,
)
from jpo_lib.solvers.bfgs import BFGS
from jpo_lib.solvers.devices import check_shares, mesh_for
from jpo_lib.solvers.first_order import Adam, GradientDescent
from jpo_lib.solvers.joint import JointOptimization, run_joint
from jpo_lib.solvers.lanes import run_lanes
from jpo_lib.solvers.multi_start import MultiStart
from jpo_lib.solvers.supervised import Supervised, run_supervised
from jpo_lib.solvers.training import NetworkTraining

SOLVERS = {
    cls.__name__: cls for cls in (BFGS, GradientDescent, Adam, MultiStart, JointOptimization, Supervised)
}

__all__ = ["SOLVERS", "solve", *SOLVERS]


def complete(problem: InverseProblem, solver, num_problems: int | None = None):
    """The solver with the problem's recommended hyperparameters where it leaves them open.

    A recommended batch that does not divide the group is enlarged to the next number that does.
    """
    if isinstance(solver, MultiStart):
        return dataclasses.replace(solver, solver=complete(problem, solver.solver))
    if not hasattr(solver, "with_defaults"):
        return solver
    defaults = problem.defaults.get(type(solver).__name__, {})
    if isinstance(
        solver, Supervised
    ):  # the same network, steps and rates; gradients are other ones, and clipped otherwise
        joint = problem.defaults.get("JointOptimization", {})
        defaults = {**{name: value for name, value in joint.items() if name != "clip_problem"}, **defaults}
    filled = solver.with_defaults(defaults)
    if (
        isinstance(filled, NetworkTraining)
        and solver.batch_size is None
        and filled.batch_size is not None
        and num_problems is not None
    ):
        size = filled.training_size(filled.group_size or num_problems)
        batch = next(n for n in range(min(filled.batch_size, size), size + 1) if size % n == 0)
        filled = dataclasses.replace(filled, batch_size=batch)
    return filled


def solve(
    problem: InverseProblem,
    data: Dataset,
    solver,
    *,
    seed: int | Sequence[int] = 0,
    x0=None,
    restarts=None,
    devices=None,
) -> Result:
    """Solve min_x L(F(x, c_i), y_i) for all problems i of a data set.

    Refinement is composition: `solve(problem, data, BFGS(), x0=joint.x)` starts BFGS from the solutions of a
    joint optimization. Every solver returns the best point that it evaluated.

    Arguments:
        problem: the family of problems.
        data: the problems, from `problem.sample_dataset` or `problem.dataset`.
        solver: a solver object, for example `BFGS()` or `JointOptimization(group_size=256)`.
        seed: seed of everything random in the solver. A sequence of S seeds solves S times; the arrays of the
            result then have a leading axis S.
        x0: starting points (N, d), or (S, N, d) with a sequence of seeds, instead of data.x0; unit of x. Solvers that train a
            network take none.
        restarts: starting points (N, K, d), or (S, N, K, d), of the first K restarts of `MultiStart`, instead of random
            ones; unit of x.
        devices: how many of JAX's devices share the problems, or a sequence of them, also on several machines; None for
            the default device. Their number must divide that of the problems. Networks: it must divide the number of groups
            (on a GPU that of groups times seeds), or else the problems of a batch. Results differ by round-off only.
    Returns:
        a `Result`.
    Raises:
        ValueError: if data, seed, solver, starting points or devices do not fit.
    """
    if not isinstance(solver, tuple(SOLVERS.values())):
        raise ValueError(
            f"solver: expected one of {', '.join(SOLVERS)}, got {solver!r}; pass an object such as BFGS()."
        )
    with problem.precision():
        return _solve(problem, data, solver, seed, x0, restarts, mesh_for(devices))


def _solve(problem: InverseProblem, data: Dataset, solver, seed, x0, restarts, mesh) -> Result:
    check_dataset(problem, data)
    several = isinstance(seed, (Sequence, np.ndarray))
    seeds = tuple(check_integer("seed", s, 0) for s in (seed if several else [seed]))
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"seed: expected at least one seed and no seed twice, got {list(seeds)}; pass different seeds."
        )
    solver = complete(problem, solver, data.num_problems)
    count, dimension = data.num_problems, problem.dimension
    if restarts is not None and not isinstance(solver, MultiStart):
        raise ValueError(
            f"restarts: expected None for {type(solver).__name__}, got an array; only MultiStart starts again."
        )

    if isinstance(solver, NetworkTraining):
        if x0 is not None:
            raise ValueError(
                f"x0: expected None for {type(solver).__name__}, got an array; its network makes the starting points."
            )
        run = run_supervised if isinstance(solver, Supervised) else run_joint
        return _tidy(run(problem, data, solver, seeds, mesh), several)

    def points(name, values, shape):
        """Starting points for all seeds, shape (S, N, ...)."""
        values = jnp.asarray(values, data.x0.dtype)
        if several and values.ndim == len(shape):
            values = jnp.broadcast_to(values, (len(seeds), *values.shape))
        check_array(name, values, (len(seeds), *shape) if several else shape, finite=False)
        return values.reshape(-1, *shape)

    starts = points("x0", data.x0 if x0 is None else x0, (count, dimension))
    if restarts is not None:
        if np.ndim(restarts) < 3 or not 1 <= np.shape(restarts)[-2] < solver.num_starts:
            raise ValueError(
                f"restarts: expected shape (N, K, {dimension}) with 1 <= K < num_starts = {solver.num_starts}, "
                f"got {np.shape(restarts)}; give fewer points or allow more starts."
            )
        restarts = points("restarts", restarts, (count, np.shape(restarts)[-2], dimension))

    # On an accelerator seeds become further lanes of one batch; a CPU gains nothing from that, and compiles one shape less.
    check_shares(mesh, count, "problems")
    together = 1 if jax.default_backend() == "cpu" else len(seeds)
    outcomes = []
    for first in range(0, len(seeds), together):
        sweep = slice(first, first + together)
        lanes = (
            jax.tree.map(lambda leaf: jnp.tile(leaf, (together, *[1] * (leaf.ndim - 1))), data)
            if together > 1
            else data
        )
        lanes = dataclasses.replace(lanes, x0=starts[sweep].reshape(-1, dimension))
        keys = jnp.concatenate(
            [
                jax.vmap(jax.random.fold_in, (None, 0))(random_stream(s, "restarts"), jnp.arange(count))
                for s in seeds[sweep]
            ]
        )
        given = None if restarts is None else restarts[sweep].reshape(-1, *restarts.shape[2:])
        outcomes.append(
            run_lanes(problem, solver, lanes, keys, given, f"{type(solver).__name__} on {problem.name}", mesh)
        )

    def joined(name):
        values = np.concatenate([getattr(outcome, name) for outcome in outcomes])
        return values.reshape(len(seeds), count, *values.shape[1:])

    longest = max(outcome.loss_history.shape[1] for outcome in outcomes)
    for outcome in outcomes:  # a problem that has ended keeps its best loss
        outcome.loss_history = np.pad(
            outcome.loss_history, ((0, 0), (0, longest - outcome.loss_history.shape[1])), mode="edge"
        )
    loss = joined("loss")
    result = Result(
        x=joined("x"),
        loss=loss,
        loss_history=joined("loss_history"),
        num_evaluations=joined("num_evaluations"),
        solved=loss < np.asarray(data.threshold),
        status=joined("status"),
        solver=repr(solver),
        seed=seeds,
        compile_seconds=sum(o.compile_seconds for o in outcomes),
        run_seconds=sum(o.run_seconds for o in outcomes),
    )
    return _tidy(result, several)


def _tidy(result: Result, several: bool) -> Result:
    """Drop the axis of seeds when a single seed was asked for."""
    if several:
        return result
    first = {
        name: getattr(result, name)[0]
        for name in ("x", "loss", "loss_history", "num_evaluations", "solved", "status")
    }
    extras = {
        name: value
        if name == "recorded_steps"
        else jax.tree.map(lambda leaf: leaf[0] if eqx.is_array_like(leaf) else leaf, value)
        for name, value in result.extras.items()
    }  # the steps at which something was recorded are the same for all seeds
    return dataclasses.replace(result, **first, extras=extras, seed=result.seed[0])
