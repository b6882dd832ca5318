"""What all solvers are, and `solve`, the one door to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problem import Dataset, InverseProblem, Result, check_array, check_dataset, check_integer
from jpo_lib.solvers.devices import mesh_for

ARRAYS = ("x", "loss", "loss_history", "num_evaluations", "num_simulations", "solved", "status")
SomeSolver = TypeVar("SomeSolver", bound="Solver")


def left_open() -> Any:
    """A hyperparameter that is None until `complete` fills it in; its type is the one that it has then."""
    return dataclasses.field(default=None)


@dataclasses.dataclass(frozen=True)
class Solver:
    """A solver is its hyperparameters. One that is None is open: the problem recommends a value, or else the
    solver has one."""

    fallbacks: ClassVar[Mapping[str, Any]] = {}  # of open hyperparameters where the problem recommends none
    takes: ClassVar[tuple[str, ...]] = ("x0",)  # which starting points `solve` may be given

    def recommended(self, problem: InverseProblem) -> Mapping[str, Any]:
        """What a problem recommends for this solver."""
        return problem.recommended.solvers.get(type(self).__name__, {})

    def completed(self: SomeSolver, problem: InverseProblem, num_problems: int | None = None) -> SomeSolver:
        """The solver with all its hyperparameters filled in for N problems of a family."""
        del num_problems
        values = {**self.fallbacks, **self.recommended(problem)}
        return dataclasses.replace(
            self, **{name: value for name, value in values.items() if getattr(self, name) is None}
        )

    def run(
        self, problem: InverseProblem, data: Dataset, seeds: tuple[int, ...], x0, restarts, mesh
    ) -> Result:
        """Solve all problems once for each of S seeds, from x0 (S, N, d); arrays of the result have the
        leading axis of seeds. See `solve`."""
        raise NotImplementedError


def complete(problem: InverseProblem, solver: SomeSolver, num_problems: int | None = None) -> SomeSolver:
    """The solver that `solve` runs: with the problem's recommended hyperparameters where it leaves them open.

    Arguments:
        problem: the family of problems.
        solver: a solver object.
        num_problems: N; a recommended batch that does not divide a group is enlarged to the next number that
            does.
    """
    return solver.completed(problem, num_problems)


def solve(
    problem: InverseProblem,
    data: Dataset,
    solver: Solver,
    *,
    seed: int | Sequence[int] = 0,
    x0: Any = None,
    restarts: Any = None,
    devices=None,
) -> Result:
    """Solve min_x L(F(x, c_i), y_i) for all problems i of a data set.

    Refinement is composition: `solve(problem, data, BFGS(), x0=joint.x)` starts BFGS from the solutions of a
    joint optimization. Every solver returns the best point that it evaluated.

    Arguments:
        problem: the family of problems.
        data: the problems, from `problem.sample_dataset` or `problem.dataset`.
        solver: a solver object, for example `BFGS()` or `JointOptimization(group_size=256)`. Hyperparameters
            that it leaves open are those that the problem recommends.
        seed: seed of everything random in the solver. A sequence of S seeds solves S times; the arrays of the
            result then have a leading axis S.
        x0: starting points (N, d), or (S, N, d) with a sequence of seeds, instead of data.x0; unit of x.
            Solvers that train a network take none.
        restarts: starting points (N, K, d), or (S, N, K, d), of the first K restarts of `MultiStart`, instead
            of random ones; unit of x.
        devices: how many of JAX's devices share the problems, or a sequence of them, also on several
            machines; None for the default device. Their number must divide that of the problems. Networks: it
            must divide the number of groups (on a GPU that of groups times seeds), or else the problems of a
            batch. Results differ by round-off only.
    Returns:
        a `Result`.
    Raises:
        ValueError: if data, seed, solver, starting points or devices do not fit.
    """
    if not isinstance(solver, Solver):
        raise ValueError(f"solver: expected one of jpo_lib.SOLVERS, got {solver!r}; pass one such as BFGS().")
    with problem.precision():
        check_dataset(problem, data)
        several = isinstance(seed, (Sequence, np.ndarray))
        seeds = tuple(check_integer("seed", s, 0) for s in (seed if several else [seed]))
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"seed: expected one or more, no seed twice, got {list(seeds)}; change them.")
        for name, values, axes in (("x0", x0, 2), ("restarts", restarts, 3)):
            if values is None:
                continue
            if name not in solver.takes:
                kind = type(solver).__name__
                raise ValueError(f"{name}: expected None for {kind}, got an array; leave it out.")
            if not several and np.ndim(values) > axes:
                needed = f"shape with {axes} axes for a single seed"
                raise ValueError(f"{name}: expected {needed}, got {np.shape(values)}; pass several seeds.")
        solver = complete(problem, solver, data.num_problems)
        shape, dtype = data.x0.shape, data.x0.dtype
        x0 = for_all_seeds("x0", data.x0 if x0 is None else x0, shape, len(seeds), dtype)
        result = solver.run(problem, data, seeds, x0, restarts, mesh_for(devices))
        result = dataclasses.replace(result, forward_cost=problem.forward_cost)
        return result if several else of_first_seed(result)


def of_first_seed(result: Result) -> Result:
    """Drop the axis of seeds, when a single seed was asked for."""
    first = {name: getattr(result, name)[0] for name in ARRAYS}
    extras = {
        name: value
        if name == "recorded_steps"  # the same for all seeds
        else jax.tree.map(lambda leaf: leaf[0] if eqx.is_array_like(leaf) else leaf, value)
        for name, value in result.extras.items()
    }
    (seed,) = result.seeds
    return dataclasses.replace(result, **first, extras=extras, seed=seed)


def for_all_seeds(name: str, values, shape: tuple[int, ...], num_seeds: int, dtype):
    """Starting points given once, or for each of S seeds, as an array (S, ...)."""
    values, for_each = jnp.asarray(values, dtype), (num_seeds, *shape)
    check_array(name, values, for_each if values.ndim > len(shape) else shape, finite=False)
    return jnp.broadcast_to(values, for_each)


def of_one_length(histories: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Loss histories (N, K) of different lengths K as long as the longest: a problem that has ended keeps its
    best loss."""
    longest = max(history.shape[1] for history in histories)
    return [np.pad(history, ((0, 0), (0, longest - history.shape[1])), mode="edge") for history in histories]


def stacked(results: Sequence[Result], solver: Solver) -> Result:
    """The results of single seeds as one, with a leading axis of seeds."""
    arrays = {name: [getattr(result, name) for result in results] for name in ARRAYS}
    arrays["loss_history"] = of_one_length(arrays["loss_history"])
    stacks: dict[str, Any] = {name: np.stack(values) for name, values in arrays.items()}
    return Result(
        **stacks,
        compile_seconds=sum(result.compile_seconds for result in results),
        run_seconds=sum(result.run_seconds for result in results),
        solver=repr(solver),
        seed=tuple(seed for result in results for seed in result.seeds),
        extras={name: np.stack([result.extras[name] for result in results]) for name in results[0].extras},
        forward_cost=results[0].forward_cost,
    )
