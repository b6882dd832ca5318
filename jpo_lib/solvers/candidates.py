"""Try many points by their losses alone, then descend from the best of them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problem import Dataset, InverseProblem, Result, check_integer, random_stream, random_streams
from jpo_lib.solvers.devices import check_shares, on_host, placed
from jpo_lib.solvers.evaluation import Evaluation, forward_evaluation, simulation
from jpo_lib.solvers.lanes import LaneSolver
from jpo_lib.solvers.lbfgs import quasi_newton
from jpo_lib.solvers.multi_start import MultiStart
from jpo_lib.solvers.solver import Solver, left_open, of_first_seed, stacked


class FromCandidates(Solver):
    """A solver of single problems that starts from the best of many candidates, and from the next best ones
    where it fails. Subclasses say how many candidates there are and which."""

    num_starts: int
    solver: LaneSolver
    counted: ClassVar[str]  # the name of the number of candidates
    takes = ()

    def __post_init__(self):
        check_integer(self.counted, getattr(self, self.counted), 1)
        check_integer("num_starts", self.num_starts, 1)

    def completed(self, problem, num_problems=None):
        solver = quasi_newton(problem, max_evaluations=60) if self.solver is None else self.solver
        return dataclasses.replace(self, solver=solver.completed(problem, num_problems))

    def candidates(self, problem: InverseProblem, data: Dataset, seed: int, mesh) -> tuple[Any, Any, float]:
        """Candidates (N or 1, K, d), their losses (N, K), and the runs of the simulation for each problem."""
        raise NotImplementedError

    def run(self, problem: InverseProblem, data: Dataset, seeds, x0, restarts, mesh) -> Result:
        check_shares(mesh, data.num_problems, "problems")
        return stacked([self._one(problem, data, seed, mesh) for seed in seeds], self)

    def _one(self, problem: InverseProblem, data: Dataset, seed: int, mesh) -> Result:
        points, losses, spent = self.candidates(problem, data, seed, mesh)
        order = np.argsort(losses, axis=1, kind="stable")[:, : self.num_starts, None]
        starts = np.take_along_axis(np.broadcast_to(points, (len(order), *points.shape[1:])), order, axis=1)
        budget = self.num_starts * self.solver.max_evaluations
        solver = MultiStart(self.solver, self.num_starts, max_evaluations=budget)
        rest = starts[:, 1:] if starts.shape[1] > 1 else None
        result = of_first_seed(solver.run(problem, data, (seed,), starts[None, :, 0], rest, mesh))
        return dataclasses.replace(result, num_simulations=result.num_simulations + spent)


def _run_in_rows(program: Evaluation, *arguments, mesh):
    arguments = placed(arguments, mesh)
    return on_host(program.compiled(*arguments)[0](*arguments))


@functools.lru_cache(maxsize=64)
def _draws(draw, count: int):
    """Keys (B,) -> `count` points from each, (B, count, d)."""
    return jax.jit(jax.vmap(lambda key: jax.vmap(draw)(jax.random.split(key, count))))


def _for_each(problem: InverseProblem, data: Dataset, draw, count: int, seed: int, stream: str, mesh):
    """Candidates of its own for each problem, each simulated."""
    points = np.asarray(_draws(draw, count)(random_streams(seed, stream, data.num_problems)))
    program = forward_evaluation(problem)
    columns = [_run_in_rows(program, points[:, k], data.context, data.y, mesh=mesh) for k in range(count)]
    return points, np.stack(columns, axis=1), float(count)


@dataclasses.dataclass(frozen=True)
class BestOf(FromCandidates):
    """x <- descent from argmin_k L(F(x_k, c), y) + R(x_k),  x_1, ..., x_K drawn as restarts are; from the
    next best candidate where that fails.

    Each candidate costs each problem a run of the simulation without a gradient: num_simulations is K. The
    descents are those of `MultiStart`, and are counted as there.

    Arguments:
        num_candidates: K.
        num_starts: largest number of descents per problem; after the K candidates, from random points.
        solver: what descends; `BFGS(max_evaluations=60)` when None, from 100 unknowns on `LBFGS`.
    Raises:
        ValueError: if a number is out of range.

    Source: Rinnooy Kan & Timmer (1987), doi:10.1007/BF02592070, who reduce a sample before they descend.
    """

    num_candidates: int = 64
    num_starts: int = 4
    solver: LaneSolver = left_open()
    counted: ClassVar = "num_candidates"

    def candidates(self, problem, data, seed, mesh):
        count = self.num_candidates
        return _for_each(problem, data, problem.draw_restart, count, seed, "candidates", mesh)


@dataclasses.dataclass(frozen=True)
class LookUp(FromCandidates):
    """x <- descent from argmin_k L(F(x_k), y) + R(x_k) over a table of pairs (x_k, F(x_k)), x_k ~ p(x); from
    the next nearest entry where that fails.

    One table of K pairs serves all N problems: num_simulations is K / N, and no look-up simulates anything.
    Where problems have a context, each needs the table of its own, of K runs. The outputs have no noise: the
    distance to them is then the loss itself.

    Arguments:
        table_size: K.
        num_starts: largest number of descents per problem; after the K candidates, from random points.
        solver: what descends; `BFGS(max_evaluations=60)` when None, from 100 unknowns on `LBFGS`.
    Raises:
        ValueError: if a number is out of range.

    Source: nearest neighbours: Cover & Hart (1967), doi:10.1109/TIT.1967.1053964.
    """

    table_size: int = 256
    num_starts: int = 12
    solver: LaneSolver = left_open()
    counted: ClassVar = "table_size"

    def candidates(self, problem, data, seed, mesh):
        if problem.sample_context is not None or data.context is not None:
            return _for_each(problem, data, problem.sample_x, self.table_size, seed, "table", mesh)
        points = _draws(problem.sample_x, self.table_size)(random_stream(seed, "table")[None])
        outputs = _run_in_rows(simulation(problem), np.asarray(points[0]), None, mesh=None)
        losses = _distances(problem)(points[0], outputs, data.y)
        return np.asarray(points), np.asarray(losses), self.table_size / data.num_problems


@functools.lru_cache(maxsize=64)
def _distances(problem: InverseProblem):
    """x (K, d), outputs (K, ...), y (N, ...) -> losses (N, K), one problem after the other."""

    def distances(x, outputs, y):
        losses = jax.lax.map(lambda y: jax.vmap(problem.loss_of, (0, 0, None))(x, outputs, y), y)
        return jnp.where(jnp.isfinite(losses), losses, jnp.inf)

    return jax.jit(distances)
