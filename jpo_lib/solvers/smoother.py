"""An iterative ensemble smoother: Gauss–Newton whose derivatives are regressions over an ensemble of
simulations."""

from __future__ import annotations

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_integer, check_positive
from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Result, Status, random_stream
from jpo_lib.solvers.devices import check_shares, on_host, placed
from jpo_lib.solvers.evaluation import Evaluation, check_residuals
from jpo_lib.solvers.solver import Solver, stacked

NUM_DRAWS = 256  # from the prior, for the deviation of each unknown
DAMPINGS = (1e-6, 1e-4, 1e-2, 1.0)  # in units of the mean squared sensitivity; all are tried


@functools.lru_cache(maxsize=64)
def _programs(problem: InverseProblem, num_members: int) -> tuple[Evaluation, Evaluation]:
    """Losses and residuals at the starting points, and one iteration from known ones."""

    def residuals(x, context, y):
        values = problem.residuals(x, problem.simulate(x, context), y)  # pyright: ignore[reportOptionalCall]
        loss = 0.5 * jnp.sum(jnp.square(values))
        return jnp.where(jnp.isfinite(loss), loss, jnp.inf), values

    def iterate(point, context, y):
        x, loss, kept, key, deviation, spread = point
        key = jax.random.wrap_key_data(key)
        drawn = deviation * jax.random.normal(key, (num_members, x.size), x.dtype)
        perturbations = drawn - jnp.mean(drawn, axis=0)
        run = jax.vmap(residuals, (0, None, None))
        _, values = run(x + spread * perturbations, context, y)
        sensitivities = (values - jnp.mean(values, axis=0)) / spread
        eigenvalues, vectors = jnp.linalg.eigh(sensitivities @ sensitivities.T)
        pull = vectors.T @ (sensitivities @ kept)
        damping = jnp.asarray(DAMPINGS, x.dtype)[:, None] * jnp.mean(eigenvalues)
        weights = -(pull / (jnp.maximum(eigenvalues, 0.0) + damping)) @ vectors.T
        candidates = x + weights @ perturbations
        losses, tried = run(jnp.where(jnp.isfinite(candidates), candidates, x), context, y)
        best = jnp.argmin(losses)
        better = losses[best] < loss
        return (
            jnp.where(better, candidates[best], x),
            jnp.where(better, losses[best], loss),
            jnp.where(better, tried[best], kept),
        )

    return Evaluation(problem, jax.vmap(residuals)), Evaluation(problem, jax.vmap(iterate))


@functools.lru_cache(maxsize=64)
def _deviation(problem: InverseProblem, dtype) -> np.ndarray:
    """The standard deviation of each unknown under the prior, shape (d,)."""
    keys = jax.random.split(random_stream(0, "deviation"), NUM_DRAWS)
    return np.std(jax.jit(jax.vmap(problem.sample_x))(keys), axis=0).astype(dtype)


@dataclasses.dataclass(frozen=True)
class EnsembleSmoother(Solver):
    """x <- x + A' w,  w = argmin |r(x) + S' w|^2 / 2 + l |w|^2 / 2, for a loss |r(x)|^2 / 2 with residuals r.

    The rows of A are perturbations of the N members around x, drawn anew in each iteration, and those of S
    the changes of the residuals that they cause: the derivative of the simulation is replaced by a regression
    over an ensemble, so that no gradient is needed. Perturbations have the prior's deviation times a spread,
    which shrinks from iteration to iteration. The damping l takes four values, and the best of the four
    points is kept if it is better than x. With no more than d members a step stays in the space that they
    span.

    All runs of the simulation are without a gradient: N + 4 in each iteration and one at the start, in
    num_simulations. Among the loss's values only those of kept points and of x enter loss_history.

    Arguments:
        num_members: N, at least 2.
        max_iterations: number of iterations.
        spread: of the first ensemble, in deviations of the prior, dimensionless.
        shrink: factor of the spread from each iteration to the next, dimensionless, at most 1.
        stop_when_solved: stop as soon as the loss is below the problem's threshold.
    Raises:
        ValueError: if a number is out of range, or the problem has no residuals.

    Source: Chen & Oliver (2013), doi:10.1007/s10596-013-9351-5; Bocquet & Sakov (2014), doi:10.1002/qj.2236.
    """

    num_members: int = 40
    max_iterations: int = 10
    spread: float = 0.1
    shrink: float = 0.5
    stop_when_solved: bool = True

    def __post_init__(self):
        check_integer("num_members", self.num_members, 2)
        check_integer("max_iterations", self.max_iterations, 1)
        check_positive(spread=self.spread, shrink=self.shrink)
        if self.shrink > 1.0:
            raise ValueError(f"shrink: expected at most 1, got {self.shrink!r}; a spread does not grow.")

    def run(self, problem: InverseProblem, data: Dataset, seeds, x0, restarts, mesh) -> Result:
        check_residuals(problem)
        check_shares(mesh, data.num_problems, "problems")
        return stacked([self._one(problem, data, *pair, mesh) for pair in zip(seeds, x0, strict=True)], self)

    def _one(self, problem: InverseProblem, data: Dataset, seed: int, x, mesh) -> Result:
        """All problems for one seed."""
        count, begun = data.num_problems, time.perf_counter()
        threshold = np.asarray(data.threshold)
        stream = random_stream(seed, "ensemble")
        deviation = jnp.broadcast_to(_deviation(problem, x.dtype), x.shape)
        known = placed((data.context, data.y), mesh)
        first, iterate = _programs(problem, self.num_members)
        start, seconds = first.compiled(placed(x, mesh), *known)
        loss, values = on_host(start(placed(x, mesh), *known))
        x, spread = np.array(x), np.full(count, self.spread, x.dtype)
        active = np.isfinite(loss) & ~(self.stop_when_solved & (loss < threshold))
        status = np.where(np.isfinite(loss), Status.BUDGET_SPENT, Status.DIVERGED)
        spent, runs = np.ones(count, np.int32), self.num_members + len(DAMPINGS)
        history = np.full((count, 1 + runs * self.max_iterations), np.inf, loss.dtype)
        history[:, 0] = loss
        with progress_bar(f"EnsembleSmoother on {problem.name}", total=self.max_iterations) as report:
            for number in range(self.max_iterations):
                if not active.any():
                    break
                report(number)
                keys = jax.random.split(jax.random.fold_in(stream, number), count)
                point = placed((x, loss, values, jax.random.key_data(keys), deviation, spread), mesh)
                step, more = iterate.compiled(point, *known)
                seconds += more
                new = on_host(step(point, *known))
                x, loss, values = (
                    np.where(active.reshape(-1, *[1] * (old.ndim - 1)), one, old)
                    for one, old in zip(new, (x, loss, values))
                )
                spent += runs * active
                history[np.arange(count), spent - 1] = loss
                spread = spread * self.shrink
                active &= ~(self.stop_when_solved & (loss < threshold))
        solved = loss < threshold
        return Result(
            x=x,
            loss=loss,
            loss_history=np.minimum.accumulate(history[:, : spent.max()], axis=1),
            num_evaluations=np.zeros_like(spent),
            num_simulations=spent,
            solved=solved,
            status=np.where(solved & self.stop_when_solved, Status.SOLVED, status),
            compile_seconds=seconds,
            run_seconds=time.perf_counter() - begun - seconds,
            solver="",
            seed=seed,
        )
