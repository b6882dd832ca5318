"""Restarts: the fair opponent of joint optimization."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_counts
from jpo_lib.problem import Status
from jpo_lib.solvers.lanes import LaneSolver
from jpo_lib.solvers.lbfgs import quasi_newton
from jpo_lib.solvers.solver import left_open


class MultiStartState(NamedTuple):
    x: jax.Array
    status: jax.Array
    num_starts: jax.Array
    inner: Any
    work: jax.Array


@dataclasses.dataclass(frozen=True)
class MultiStart(LaneSolver):
    """Run a solver from x0, then from random starts, until the problem is solved or the budget is spent.

    The first start is the problem's x0, the next ones are those given to `solve(..., restarts=)`, if any, and
    further ones are drawn from the problem's distribution of restarts. Every evaluation of every run counts.
    A problem that is solved stops at once, and one that finishes a run without success begins the next in the
    same trip, so that no problem waits for another.

    Hyperparameters that are None are those that the problem recommends. A recommendation is for runs of
    `BFGS(max_evaluations=60)`, the solver where none is given (from 100 unknowns on `LBFGS`); with another
    one what is open is 24 starts and 1000 evaluations.

    Arguments:
        solver: the solver of single runs.
        num_starts: largest number of runs per problem.
        max_evaluations: largest number of evaluations per problem, all runs together.
        run_evaluations: cap of each run; the solver's max_evaluations where the problem recommends none.
        stop_when_solved: stop a problem once its loss is below its threshold.
    Raises:
        ValueError: if a number is out of range.
    """

    fallbacks: ClassVar = {"num_starts": 24, "max_evaluations": 1000}
    takes: ClassVar = ("x0", "restarts")

    solver: LaneSolver = left_open()
    num_starts: int = left_open()
    max_evaluations: int = left_open()
    run_evaluations: int | None = None
    stop_when_solved: bool = True

    def __post_init__(self):
        runs, evaluations = self.num_starts, self.max_evaluations
        check_counts(num_starts=runs, max_evaluations=evaluations, run_evaluations=self.run_evaluations)
        if not isinstance(self.solver, LaneSolver | None) or isinstance(self.solver, MultiStart):
            kind = type(self.solver).__name__
            raise ValueError(f"solver: expected a solver of single problems, got {kind}; BFGS() is one.")

    def recommended(self, problem):
        if self.solver is not None:
            return {}
        return {"solver": quasi_newton(problem, max_evaluations=60), **super().recommended(problem)}

    def completed(self, problem, num_problems=None):
        filled = super().completed(problem)
        return dataclasses.replace(filled, solver=filled.solver.completed(problem))

    def run(self, problem, data, seeds, x0, restarts, mesh):
        shape = np.shape(restarts)
        if restarts is not None and (len(shape) < 3 or not 1 <= shape[-2] < self.num_starts):
            limit = f"shape (N, K, d) with 1 <= K < num_starts = {self.num_starts}"
            raise ValueError(f"restarts: expected {limit}, got {shape}; give fewer points.")
        return super().run(problem, data, seeds, x0, restarts, mesh)

    def evaluation(self, problem):
        return self.solver.evaluation(problem)

    def asked(self, state: MultiStartState):
        return self.solver.asked(state.inner)

    def answer(self, state: MultiStartState):
        return self.solver.answer(state.inner)

    def work(self, state: MultiStartState):
        return state.work

    def begin(self, x0, environment) -> MultiStartState:
        inner = self.solver.begin(x0, environment)
        zero = jnp.int32(0)
        return MultiStartState(
            inner.x, jnp.int32(Status.RUNNING), jnp.stack([zero + 1, zero]), inner, jnp.stack([zero, zero])
        )

    def update(self, state: MultiStartState, loss, gradient, environment) -> MultiStartState:
        runs, spent = state.num_starts[0], state.num_starts[1] + 1
        inner = self.solver.update(state.inner, loss, gradient, environment)
        work = self.solver.work(inner)
        finished = (inner.status != Status.RUNNING) | (
            spent >= (self.run_evaluations or self.solver.max_evaluations)
        )
        fresh = self.solver.begin(environment.starts[jnp.minimum(runs, self.num_starts - 1) - 1], environment)
        inner = jax.tree.map(lambda a, b: jnp.where(finished, a, b), fresh, inner)
        status = jnp.where(finished & (runs >= self.num_starts), Status.BUDGET_SPENT, Status.RUNNING)
        counters = jnp.stack([runs + finished, jnp.where(finished, 0, spent)])
        return MultiStartState(inner.x, status.astype(jnp.int32), counters, inner, work)
