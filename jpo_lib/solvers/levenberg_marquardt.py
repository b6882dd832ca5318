"""Levenberg–Marquardt: damped Gauss–Newton with the whole Jacobian, for few unknowns."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jpo_lib.problem import InverseProblem, Status, check_counts, check_integer, check_positive
from jpo_lib.solvers.evaluation import Program, check_residuals, jacobian_evaluation
from jpo_lib.solvers.lanes import LaneSolver

FIRST_DAMPING = 1e-3  # relative to the squared length of each column of J
LEAST_GAIN = 1e-4  # of the decrease that the linear model promises; less is no progress


class LevenbergMarquardtState(NamedTuple):
    x: jax.Array
    status: jax.Array
    work: jax.Array
    num_steps: jax.Array
    started: jax.Array
    x_base: jax.Array
    loss: jax.Array
    gradient: jax.Array  # J' r at x_base
    hessian: jax.Array  # J' J at x_base
    scale: jax.Array  # the largest squared length of each column of J so far
    damping: jax.Array
    growth: jax.Array


@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt(LaneSolver):
    """x <- x + p,  (J' J + l D) p = -J' r, for a loss |r(x)|^2 / 2 with residuals r and their derivative J.

    D holds the largest squared lengths of the columns of J so far, so that the unit of an unknown does not
    matter. The damping l falls when the loss falls as the linear model promises, and grows from trial to
    trial when it does not.

    Each trial is a run of the simulation without a gradient. The start, and each point that is kept and does
    not solve the problem, need J: d columns by forward derivatives, which count as d evaluations.

    Arguments:
        max_steps: number of accepted steps; 200 d when None.
        max_evaluations: number of trials per problem, the starting point included. All budgets of trips, also
            those of `MultiStart`, count trials.
        gradient_tolerance: stop when the largest component of J' r is below this, unit loss / unit x.
        stop_when_solved: stop as soon as the loss is below the problem's threshold.
    Raises:
        ValueError: if a number is out of range, or the problem has no residuals.

    Source: Marquardt (1963), doi:10.1137/0111030; scaling: Moré (1978), doi:10.1007/BFb0067700; damping:
    Madsen, Nielsen & Tingleff (2004), Methods for Non-Linear Least Squares Problems.
    """

    max_steps: int | None = None
    max_evaluations: int = 100
    gradient_tolerance: float = 1e-5
    stop_when_solved: bool = True

    def __post_init__(self):
        check_integer("max_evaluations", self.max_evaluations, 1)
        check_counts(max_steps=self.max_steps)
        check_positive(gradient_tolerance=self.gradient_tolerance)

    def evaluation(self, problem: InverseProblem) -> Program:
        check_residuals(problem)
        return jacobian_evaluation(problem)

    def answer(self, state: LevenbergMarquardtState):
        return state.gradient, state.hessian

    def work(self, state: LevenbergMarquardtState):
        return state.work

    def begin(self, x0, environment) -> LevenbergMarquardtState:
        zero, nothing = jnp.zeros((), x0.dtype), jnp.zeros_like(x0)
        return LevenbergMarquardtState(
            x=x0,
            status=jnp.int32(Status.RUNNING),
            work=jnp.zeros(2, jnp.int32),
            num_steps=jnp.int32(0),
            started=jnp.zeros((), bool),
            x_base=x0,
            loss=zero,
            gradient=nothing,
            hessian=jnp.outer(nothing, nothing),
            scale=nothing,
            damping=zero + FIRST_DAMPING,
            growth=zero + 2.0,
        )

    def update(self, state: LevenbergMarquardtState, loss, gradient, environment) -> LevenbergMarquardtState:
        new_gradient, new_hessian = gradient
        first, finite = ~state.started, jnp.isfinite(loss)
        step = state.x - state.x_base
        promised = -jnp.dot(step, state.gradient) - 0.5 * jnp.dot(step, state.hessian @ step)
        gain = (state.loss - loss) / jnp.where(promised > 0.0, promised, 1.0)
        kept = first | (finite & (gain > LEAST_GAIN) & (promised > 0.0))
        base, value, slope, hessian = jax.tree.map(
            lambda new, old: jnp.where(kept, new, old),
            (state.x, loss, new_gradient, new_hessian),
            (state.x_base, state.loss, state.gradient, state.hessian),
        )
        # A promise that is kept divides the damping by three; broken ones multiply it by 2, 4, 8, ...
        eased = state.damping * jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
        eased = jnp.where(first, state.damping, eased)
        damping = jnp.where(kept, eased, state.damping * state.growth)
        growth = jnp.where(kept, 2.0, 2.0 * state.growth)

        scale = jnp.maximum(state.scale, jnp.diagonal(hessian))
        weight = damping * jnp.where(scale > 0.0, scale, 1.0)
        step = -jnp.linalg.solve(hessian + jnp.diag(weight), slope)
        step = jnp.where(jnp.all(jnp.isfinite(step)), step, -slope / jnp.max(weight))

        num_steps = state.num_steps + (kept & ~first)
        largest, epsilon = jnp.max(jnp.abs(slope)), jnp.finfo(loss.dtype).eps
        max_steps = 200 * step.size if self.max_steps is None else self.max_steps
        small = jnp.linalg.norm(step) <= epsilon * jnp.linalg.norm(base)
        # Later ones take precedence.
        status = jnp.where(num_steps >= max_steps, Status.BUDGET_SPENT, Status.RUNNING)
        status = jnp.where(small | ~jnp.isfinite(damping), Status.STALLED, status)
        status = jnp.where(kept & (largest <= self.gradient_tolerance), Status.CONVERGED, status)
        status = jnp.where(first & (largest == 0.0), Status.ZERO_GRADIENT, status)
        derived = kept & ~(self.stop_when_solved & (loss < environment.threshold))
        return LevenbergMarquardtState(
            x=base + step,
            status=status.astype(jnp.int32),
            work=jnp.stack([jnp.where(derived, step.size, 0), ~(first & derived)]).astype(jnp.int32),
            num_steps=num_steps,
            started=jnp.ones((), bool),
            x_base=base,
            loss=value,
            gradient=slope,
            hessian=hessian,
            scale=scale,
            damping=damping,
            growth=growth,
        )
