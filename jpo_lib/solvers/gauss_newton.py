"""Gauss–Newton with inner conjugate gradients: incremental 4D-Var, as forecasting centres run it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jpo_lib.problem import InverseProblem, Status, check_integer, check_positive
from jpo_lib.solvers.bfgs import BFGS, BFGSState, _begin_search, _choose
from jpo_lib.solvers.evaluation import Program, check_residuals, least_squares_evaluation


class ConjugateGradients(NamedTuple):
    """State of the inner iteration for J' J p = -g."""

    step: jax.Array  # p so far
    rest: jax.Array  # -g - J' J p
    direction: jax.Array  # zero outside of the inner iteration
    num_products: jax.Array


class GaussNewtonState(NamedTuple):
    x: jax.Array
    status: jax.Array
    inside: jax.Array  # whether the next answer is a product J' J v of the inner iteration
    inner: ConjugateGradients
    outer: BFGSState


@dataclasses.dataclass(frozen=True)
class GaussNewton(BFGS):
    """x <- x + a p,  J' J p = -J' r, for a loss |r(x)|^2 / 2 with residuals r and their derivative J.

    The linear system is solved by conjugate gradients, without a matrix: each of their iterations is a run of
    the tangent-linear simulation, J v, and one of its adjoint, J' (J v). They stop early, which also keeps p
    short in directions that the data do not determine. The step length a, 1 where that will do, is found by
    the line search of `BFGS`.

    Evaluations are counted in the unit of all solvers: a product J' J v, a tangent-linear and an adjoint run,
    counts as one evaluation of loss and gradient, which is a run of the simulation and one of its adjoint.

    Arguments:
        max_steps: number of accepted steps of the outer iteration; 200 d by default.
        max_evaluations: evaluations and products together, per problem.
        gradient_tolerance, stop_when_solved: as for `BFGS`.
        max_inner: most products for each outer step.
        inner_tolerance: the inner iteration stops when |J' r + J' J p| is below this times |J' r|,
            dimensionless.
    Raises:
        ValueError: if a number is out of range, or the problem has no residuals.

    Source: Courtier, Thépaut & Hollingsworth (1994), doi:10.1002/qj.49712051912; Nocedal & Wright (2006),
    Numerical Optimization, chapters 7 and 10, doi:10.1007/978-0-387-40065-5.
    """

    max_inner: int = 10
    inner_tolerance: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_integer("max_inner", self.max_inner, 1)
        check_positive(inner_tolerance=self.inner_tolerance)

    def evaluation(self, problem: InverseProblem) -> Program:
        check_residuals(problem)
        return least_squares_evaluation(problem)

    def asked(self, state: GaussNewtonState):
        return state.x, state.inner.direction

    # The states are others than those of BFGS.
    def begin(self, x0, environment) -> GaussNewtonState:  # pyright: ignore[reportIncompatibleMethodOverride]
        outer = super().begin(x0, environment)
        nothing = jnp.zeros_like(x0)
        inner = ConjugateGradients(nothing, nothing, nothing, jnp.int32(0))
        return GaussNewtonState(x0, outer.status, jnp.zeros((), bool), inner, outer)

    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state: GaussNewtonState, loss, gradient, environment
    ) -> GaussNewtonState:
        return _choose(
            state.inside, self._inside(state, gradient), self._outside(state, loss, gradient, environment)
        )

    def _outside(self, state, loss, gradient, environment) -> GaussNewtonState:
        """Take one evaluation in the line search; where that has ended, begin the inner iteration."""
        outer = super().update(state.outer, loss, gradient, environment)
        arrived = ~state.outer.started | (outer.num_steps > state.outer.num_steps)
        downhill = -outer.gradient
        inner = ConjugateGradients(jnp.zeros_like(downhill), downhill, downhill, jnp.int32(0))
        x = jnp.where(arrived, outer.x_base, outer.x)
        return GaussNewtonState(x, outer.status, arrived, _choose(arrived, inner, state.inner), outer)

    def _inside(self, state, product) -> GaussNewtonState:
        """Take one product in the inner iteration; where that has ended, begin the line search."""
        inner, outer = state.inner, state.outer
        curvature = jnp.dot(inner.direction, product)
        square = jnp.dot(inner.rest, inner.rest)
        curved = curvature > 0.0
        length = jnp.where(curved, square / jnp.where(curved, curvature, 1.0), 0.0)
        step, rest = inner.step + length * inner.direction, inner.rest - length * product
        ratio = jnp.dot(rest, rest) / jnp.where(square > 0.0, square, 1.0)
        num_products = inner.num_products + 1
        small = jnp.linalg.norm(rest) <= self.inner_tolerance * jnp.linalg.norm(outer.gradient)
        ended = ~curved | small | (num_products >= self.max_inner)

        direction = jnp.where(jnp.dot(step, outer.gradient) < 0.0, step, outer.direction)
        slope = jnp.dot(direction, outer.gradient)
        search = _begin_search(outer.loss, slope, jnp.ones_like(slope))
        aimed = outer._replace(direction=direction, search=search, x=outer.x_base + direction)
        return GaussNewtonState(
            jnp.where(ended, aimed.x, state.x),
            jnp.full_like(state.status, Status.RUNNING),
            ~ended,
            ConjugateGradients(
                step, rest, jnp.where(ended, 0.0, rest + ratio * inner.direction), num_products
            ),
            _choose(ended, aimed, outer),
        )

    def _first_inverse_hessian(self, x0):
        return ()

    def _aim(self, inverse_hessian, move, change, gradient):
        return inverse_hessian, -gradient
