"""The ways that optimizers take: the points at which they arrive, one after the other."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problem import Dataset, InverseProblem, Status
from jpo_lib.solvers import complete
from jpo_lib.solvers.bfgs import BFGS
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.lanes import Environment


class Descent(NamedTuple):
    """What a classical solver did on N problems in K evaluations.

    Attributes:
        points: where it had arrived after each evaluation, shape (K, N, d), unit of x; the last accepted
            point for BFGS.
        evaluated: the points that were evaluated, shape (K, N, d), unit of x.
        losses: loss of the points that were evaluated, shape (K, N).
        num_evaluations: shape (N,).
        status: shape (N,).
    """

    points: np.ndarray
    evaluated: np.ndarray
    losses: np.ndarray
    num_evaluations: np.ndarray
    status: np.ndarray

    def best(self, i: int) -> tuple[np.ndarray, float]:
        """The point (d,) of problem i with the lowest loss, and that loss."""
        k = int(np.nanargmin(self.losses[: self.num_evaluations[i], i]))
        return self.evaluated[k, i], float(self.losses[k, i])

    def way(self, i: int) -> np.ndarray:
        """The points (k, d) at which problem i arrived, the best one last."""
        return np.concatenate([self.points[: self.num_evaluations[i], i], self.best(i)[0][None]])


def follow(problem: InverseProblem, data: Dataset, method, x0=None) -> Descent:
    """Run a method as `solve` does, evaluation by evaluation, and keep the points on its way.

    Arguments:
        problem, data: what to solve.
        method: BFGS, GradientDescent or Adam.
        x0: starting points (N, d) instead of data.x0, unit of x.
    """
    method = complete(problem, method)
    environment = Environment(data.threshold, jnp.zeros((len(data), 0, problem.dimension)))
    with problem.precision():
        state = jax.vmap(method.begin)(jnp.asarray(data.x0 if x0 is None else x0, data.x0.dtype), environment)
        evaluate, _ = evaluation(problem).compiled(state.x, data.context, data.y)

        @jax.jit
        def update(state, loss, gradient):
            new = jax.vmap(method.update)(state, loss, gradient, environment)
            running = state.status == Status.RUNNING
            return jax.tree.map(
                lambda a, b: jnp.where(running.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, state
            )

        points, evaluated, losses, counts = [], [], [], np.zeros(len(data), int)
        for _ in range(method.max_evaluations):
            running = np.asarray(state.status) == Status.RUNNING
            if not running.any():
                break
            counts += running
            loss, gradient = evaluate(state.x, data.context, data.y)
            evaluated.append(np.asarray(state.x))
            state = update(state, loss, gradient)
            points.append(np.asarray(state.x_base) if isinstance(method, BFGS) else evaluated[-1])
            losses.append(np.asarray(loss))
    return Descent(np.stack(points), np.stack(evaluated), np.stack(losses), counts, np.asarray(state.status))


def thinned(points, largest: int = 60, digits: int = 4) -> list:
    """At most so many points of a way (K, d), evenly spaced along its length, ends included; neighbours that
    are equal are one."""
    points = np.asarray(points, np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    wanted = np.linspace(0.0, length[-1], largest)
    chosen = np.unique(
        np.concatenate([[0], np.searchsorted(length, wanted), [len(points) - 1]]).clip(0, len(points) - 1)
    )
    kept = np.round(points[chosen], digits) + 0.0
    new = np.concatenate([[True], np.any(np.diff(kept, axis=0) != 0, axis=1)])
    return kept[new].tolist()
