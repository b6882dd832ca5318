"""Growing windows: first the beginning of the observed time, then all of it, and from a new start where that
fails."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from jpo_lib.problem import Dataset, InverseProblem, Result, Status, check_integer, random_streams
from jpo_lib.solvers.devices import check_shares
from jpo_lib.solvers.lanes import PACK_FACTOR, SMALLEST_BATCH
from jpo_lib.solvers.lbfgs import quasi_newton
from jpo_lib.solvers.solver import Solver, left_open, stacked


class _Window(NamedTuple):
    """A problem and its data as far as a window reaches, and what one of its evaluations costs."""

    problem: InverseProblem
    data: Dataset
    cost: float


@dataclasses.dataclass(frozen=True)
class GrowingWindows(Solver):
    """x <- the solution for the first k entries of the target, from x, for k = k_1 < k_2 < ... < K.

    The landscape becomes rugged little by little: a short window of a chaotic motion has few local minima and
    a wide valley, whose bottom is a good start for the next window. A window is left when its own problem is
    solved or its run has ended. A problem that the whole window leaves unsolved starts again from a random
    point, drawn as `MultiStart` draws it. The thresholds of the windows are known where data.x_true is;
    without it each window is left when its run ends.

    An evaluation in a window of k of K entries counts as k / K evaluations, so that counts are no whole
    numbers.

    Arguments:
        solver: what descends in each window, from a point; `BFGS(max_evaluations=40)` when None, from 100
            unknowns on `LBFGS`.
        windows: lengths k of the windows before the whole one, growing; numbers of entries. One of half of
            them when None.
        num_starts: largest number of starts per problem, each with all windows.
        max_evaluations: no start is begun when this many evaluations are spent.
    Raises:
        ValueError: if a number is out of range, or the problem has no windows.
    Result: loss_history is infinite as long as only windows have been evaluated.

    Source: Pires, Vautard & Talagrand (1996), doi:10.1034/j.1600-0870.1996.00006.x.
    """

    solver: Any = left_open()
    windows: tuple[int, ...] | None = None
    num_starts: int = 24
    max_evaluations: int = 1000

    def __post_init__(self):
        for name in ("num_starts", "max_evaluations"):
            check_integer(name, getattr(self, name), 1)
        for window in self.windows or ():
            check_integer("windows", window, 1)
        if list(self.windows or ()) != sorted(set(self.windows or ())):
            raise ValueError(f"windows: expected growing numbers, got {self.windows}; sort them.")
        if self.solver is not None and not hasattr(self.solver, "stop_when_solved"):
            kind = type(self.solver).__name__
            raise ValueError(f"solver: expected a solver of single problems, got {kind}; BFGS() is one.")

    def completed(self, problem, num_problems=None):
        solver = quasi_newton(problem, max_evaluations=40) if self.solver is None else self.solver
        solver = dataclasses.replace(solver.completed(problem, num_problems), stop_when_solved=True)
        return dataclasses.replace(self, solver=solver)

    def run(self, problem: InverseProblem, data, seeds, x0, restarts, mesh) -> Result:
        check_shares(mesh, data.num_problems, "problems")
        windows = self._windows(problem, data)
        return stacked([self._one(windows, *pair, mesh) for pair in zip(seeds, x0, strict=True)], self)

    def _windows(self, problem: InverseProblem, data: Dataset) -> list[_Window]:
        length = data.y.shape[1] if data.y.ndim > 1 else 1
        sizes = (length // 2,) if self.windows is None else self.windows
        if problem.window is None or max((0, *sizes)) >= length:
            kind = f"a problem with windows of less than its {length} entries"
            raise ValueError(f"windows: expected {kind}, got {problem.name!r} and {sizes}; shorten them.")
        found = []
        for size in sizes:
            family = problem.window(size)
            part = family.dataset(data.y[:, :size], data.x0, data.context, x_true=data.x_true)
            found.append(_Window(family, part, size / length))
        return [*found, _Window(problem, data, 1.0)]

    def _one(self, windows: list[_Window], seed: int, start, mesh) -> Result:
        """All problems for one seed."""
        begun, compile_seconds = time.perf_counter(), 0.0
        problem, data = windows[-1].problem, windows[-1].data
        count, threshold = data.num_problems, np.asarray(data.threshold)
        keys = random_streams(seed, "restarts", count)

        @jax.jit
        def again(keys, number):
            return jax.vmap(lambda key: problem.draw_restart(jax.random.fold_in(key, number)))(keys)

        best, loss, spent = np.array(start), np.full(count, np.inf, start.dtype), np.zeros(count)
        seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # problems, costs, losses
        for number in range(self.num_starts):
            rows = np.flatnonzero(~(loss < threshold) & (spent < self.max_evaluations))
            if not len(rows):
                break
            index = _filled(rows, count, SMALLEST_BATCH if mesh is None else count)
            x = np.asarray(start if number == 0 else again(keys, number - 1))[index]
            for family, known, cost in windows:
                result = self.solver.run(family, known[index], (seed,), x[None], None, mesh)
                compile_seconds += result.compile_seconds
                x, used = result.x[0], result.num_evaluations[0, : len(rows)]
                if family is problem:
                    history = result.loss_history[0, : len(rows)]
                    costs = spent[rows, None] + np.minimum(np.arange(1, history.shape[1] + 1), used[:, None])
                    seen.append((np.broadcast_to(rows[:, None], history.shape), costs, history))
                    better = result.loss[0, : len(rows)] < loss[rows]
                    best[rows[better]] = x[: len(rows)][better]
                    loss[rows] = np.minimum(loss[rows], result.loss[0, : len(rows)])
                spent[rows] += cost * used
        history = np.full((count, int(np.ceil(spent.max()))), np.inf, loss.dtype)
        for rows, costs, losses in seen:
            np.minimum.at(history, (rows, np.ceil(costs).astype(int) - 1), losses)
        return Result(
            x=best,
            loss=loss,
            loss_history=np.minimum.accumulate(history, axis=1),
            num_evaluations=spent,
            solved=loss < threshold,
            status=np.where(loss < threshold, Status.SOLVED, Status.BUDGET_SPENT),
            compile_seconds=compile_seconds,
            run_seconds=time.perf_counter() - begun - compile_seconds,
            solver="",
            seed=seed,
        )


def _filled(rows: np.ndarray, most: int, smallest: int = SMALLEST_BATCH) -> np.ndarray:
    """The rows, repeated until they fill one of few sizes of batches."""
    size = smallest
    while size < len(rows):
        size *= PACK_FACTOR
    return np.resize(rows, min(size, most))
