"""BFGS with the line search of Moré and Thuente, as a state machine for one lane.

The algorithm follows the choices of SciPy's `minimize(method="BFGS")` (first step, Wolfe constants, no
scaling of the first inverse Hessian), so that both go the same way from the same start. It departs in three
places, in which it can only do better: a step into a region where the loss is not finite is shortened; a line
search that fails keeps the best point that it saw if that is lower; and an update that would spoil the
positive definite inverse Hessian is skipped.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jpo_lib._checks import check_counts, check_integer, check_positive
from jpo_lib.problem import Status
from jpo_lib.solvers.lanes import LaneSolver

ARMIJO, CURVATURE = 1e-4, 0.9  # the constants of the strong Wolfe conditions
MAX_TRIALS = 40  # evaluations per line search
SMALL, LARGE = 1e-30, 1e30  # bounds of the step
# Unknowns up to which the update is written as a product of matrices, O(d^3), whose round-off the results of
# the book have.
LARGEST_PRODUCT = 16


def _choose(condition, first, second):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


class Point(NamedTuple):
    """A step along the search direction with the loss and its slope there."""

    step: jax.Array
    loss: jax.Array
    slope: jax.Array


class LineSearch(NamedTuple):
    """State of one line search.

    low is the best point so far and high the other end of the interval; `bracketed` says that a minimizer
    lies between them. `auxiliary` is the first stage, which works on the loss minus the Armijo line.
    """

    step: jax.Array
    low: Point
    high: Point
    start: Point
    bracketed: jax.Array
    auxiliary: jax.Array
    width: jax.Array
    previous_width: jax.Array
    step_min: jax.Array
    step_max: jax.Array
    limit: jax.Array
    trials: jax.Array


def _cubic(a: Point, b: Point):
    """theta, gamma of the cubic that interpolates losses and slopes at a and b (Moré & Thuente 1994, section
    4)."""
    width = jnp.where(b.step == a.step, 1.0, b.step - a.step)
    theta = 3.0 * (a.loss - b.loss) / width + a.slope + b.slope
    scale = jnp.maximum(jnp.maximum(jnp.abs(theta), jnp.abs(a.slope)), jnp.maximum(jnp.abs(b.slope), 1e-37))
    square = jnp.square(theta / scale) - (a.slope / scale) * (b.slope / scale)
    return theta, scale * jnp.sqrt(jnp.maximum(0.0, square))


def _divide(numerator, denominator):
    return numerator / jnp.where(denominator == 0.0, 1e-37, denominator)


def _trial_step(low: Point, high: Point, new: Point, bracketed, step_min, step_max):
    """The next trial step and the updated interval (Moré & Thuente 1994, section 4: four cases)."""
    ahead = new.step > low.step
    span = new.step - low.step
    theta, gamma = _cubic(low, new)
    secant = new.step + _divide(new.slope, new.slope - low.slope) * (-span)

    # Case 1: the loss is higher. A minimizer is bracketed; take the cubic or the mean of cubic and quadratic.
    gamma_1 = jnp.where(ahead, gamma, -gamma)
    ratio = _divide((gamma_1 - low.slope) + theta, ((gamma_1 - low.slope) + gamma_1) + new.slope)
    cubic = low.step + ratio * span
    quadratic = low.step + 0.5 * _divide(low.slope, _divide(low.loss - new.loss, span) + low.slope) * span
    step_1 = jnp.where(
        jnp.abs(cubic - low.step) <= jnp.abs(quadratic - low.step), cubic, cubic + 0.5 * (quadratic - cubic)
    )

    # Case 2: lower loss, slopes of opposite sign. Bracketed too; take the step farther from the new point.
    gamma_2 = jnp.where(ahead, -gamma, gamma)
    ratio = _divide((gamma_2 - new.slope) + theta, ((gamma_2 - new.slope) + gamma_2) + low.slope)
    cubic = new.step - ratio * span
    step_2 = jnp.where(jnp.abs(cubic - new.step) > jnp.abs(secant - new.step), cubic, secant)

    # Case 3: lower loss, same sign, flatter slope. The cubic may have no minimizer in this direction.
    ratio = _divide((gamma_2 - new.slope) + theta, (gamma_2 + (low.slope - new.slope)) + gamma_2)
    end = jnp.where(ahead, step_max, step_min)
    cubic = jnp.where((ratio < 0.0) & (gamma_2 != 0.0), new.step - ratio * span, end)
    closer = jnp.abs(cubic - new.step) < jnp.abs(secant - new.step)
    inside = jnp.where(closer, cubic, secant)
    bound = new.step + 0.66 * (high.step - new.step)
    inside = jnp.where(ahead, jnp.minimum(bound, inside), jnp.maximum(bound, inside))
    outside = jnp.clip(jnp.where(closer, secant, cubic), step_min, step_max)
    step_3 = jnp.where(bracketed, inside, outside)

    # Case 4: lower loss, same sign, slope not flatter. Look towards the other end, or as far as allowed.
    theta, gamma = _cubic(high, new)
    gamma = jnp.where(new.step > high.step, -gamma, gamma)
    ratio = _divide((gamma - new.slope) + theta, ((gamma - new.slope) + gamma) + high.slope)
    step_4 = jnp.where(bracketed, new.step + ratio * (high.step - new.step), end)

    higher = new.loss > low.loss
    opposite = new.slope * jnp.sign(low.slope) < 0.0
    flatter = jnp.abs(new.slope) < jnp.abs(low.slope)
    step = jnp.where(higher, step_1, jnp.where(opposite, step_2, jnp.where(flatter, step_3, step_4)))
    new_high = _choose(higher, new, _choose(opposite, low, high))
    new_low = _choose(higher, low, new)
    return step, new_low, new_high, bracketed | higher | opposite


def _begin_search(loss, slope, first_step) -> LineSearch:
    zero = jnp.zeros_like(loss)
    start = Point(zero, loss, slope)
    return LineSearch(
        step=first_step,
        low=start,
        high=start,
        start=start,
        bracketed=jnp.zeros((), bool),
        auxiliary=jnp.ones((), bool),
        width=zero + LARGE,
        previous_width=zero + 2 * LARGE,
        step_min=zero,
        step_max=5.0 * first_step,
        limit=zero + LARGE,
        trials=jnp.zeros((), jnp.int32),
    )


def _search_update(search: LineSearch, loss, slope):
    """Take one evaluation at search.step. Returns (search with the next step, accepted, failed)."""
    epsilon = jnp.finfo(loss.dtype).eps
    new = Point(search.step, loss, slope)
    armijo_slope = ARMIJO * search.start.slope
    armijo = search.start.loss + search.step * armijo_slope
    auxiliary = search.auxiliary & ~((loss <= armijo) & (slope >= 0.0))
    accepted = (loss <= armijo) & (jnp.abs(slope) <= -CURVATURE * search.start.slope)
    at_end = (new.step <= search.step_min) | (new.step >= search.step_max)
    narrow = search.step_max - search.step_min <= epsilon * search.step_max
    failed = search.bracketed & (at_end | narrow)
    failed |= (search.step >= search.limit) & (loss <= armijo) & (slope <= armijo_slope)
    failed |= search.trials + 1 >= MAX_TRIALS

    # In the first stage a lower point that is above the Armijo line is judged by the loss minus that line.
    tilt = jnp.where(auxiliary & (loss <= search.low.loss) & (loss > armijo), armijo_slope, 0.0)

    def lean(point, sign):
        return Point(point.step, point.loss - sign * point.step * tilt, point.slope - sign * tilt)

    points = lean(search.low, 1), lean(search.high, 1), lean(new, 1)
    step, low, high, bracketed = _trial_step(*points, search.bracketed, search.step_min, search.step_max)
    low, high = lean(low, -1), lean(high, -1)

    # An interval that does not shrink by a third in two steps is halved.
    length = jnp.abs(high.step - low.step)
    halved = bracketed & (length >= 0.66 * search.previous_width)
    step = jnp.where(halved, low.step + 0.5 * (high.step - low.step), step)
    previous_width = jnp.where(bracketed, search.width, search.previous_width)
    width = jnp.where(bracketed, length, search.width)
    step_min = jnp.where(bracketed, jnp.minimum(low.step, high.step), step + 1.1 * (step - low.step))
    step_max = jnp.where(bracketed, jnp.maximum(low.step, high.step), step + 4.0 * (step - low.step))
    step = jnp.clip(step, SMALL, search.limit)
    stuck = (step <= step_min) | (step >= step_max) | (step_max - step_min <= epsilon * step_max)
    step = jnp.where(bracketed & stuck, low.step, step)
    trials = search.trials + 1
    regular = search._replace(
        step=step,
        low=low,
        high=high,
        bracketed=bracketed,
        auxiliary=auxiliary,
        width=width,
        previous_width=previous_width,
        step_min=step_min,
        step_max=step_max,
        trials=trials,
    )
    # No finite loss there: come back most of the way and never go as far again.
    retreat = search.low.step + 0.1 * (search.step - search.low.step)
    shortened = search._replace(step=retreat, step_max=search.step, limit=search.step, trials=trials)
    finite = jnp.isfinite(loss)
    failed = jnp.where(finite, failed & ~accepted, trials >= MAX_TRIALS)
    return _choose(finite, regular, shortened), accepted & finite, failed


class BFGSState(NamedTuple):
    x: jax.Array
    status: jax.Array
    num_steps: jax.Array
    started: jax.Array
    x_base: jax.Array
    loss: jax.Array
    gradient: jax.Array
    direction: jax.Array
    inverse_hessian: Any  # a matrix, or what stands for one
    search: LineSearch
    low_gradient: jax.Array


@dataclasses.dataclass(frozen=True)
class BFGS(LaneSolver):
    """Quasi-Newton descent: x <- x + a p, p = -H grad L(x), with H a running estimate of the inverse Hessian.

    The step length a fulfils the strong Wolfe conditions (constants 1e-4 and 0.9).

    Arguments:
        max_steps: number of accepted steps; 200 d by default, d the number of parameters.
        max_evaluations: evaluations of the loss and its gradient per problem.
        gradient_tolerance: stop when the largest component of the gradient is below this, unit loss / unit x.
        stop_when_solved: stop as soon as the loss is below the problem's threshold.
    Raises:
        ValueError: if a number is out of range.

    Source: Nocedal & Wright (2006), Numerical Optimization, chapter 6, doi:10.1007/978-0-387-40065-5;
    line search: Moré & Thuente (1994), doi:10.1145/192115.192132.
    """

    max_steps: int | None = None
    max_evaluations: int = 500
    gradient_tolerance: float = 1e-5
    stop_when_solved: bool = False
    _always_guesses = True

    def __post_init__(self):
        check_integer("max_evaluations", self.max_evaluations, 1)
        check_counts(max_steps=self.max_steps)
        check_positive(gradient_tolerance=self.gradient_tolerance)

    def begin(self, x0, environment) -> BFGSState:
        zero = jnp.zeros((), x0.dtype)
        return BFGSState(
            x=x0,
            status=jnp.int32(Status.RUNNING),
            num_steps=jnp.int32(0),
            started=jnp.zeros((), bool),
            x_base=x0,
            loss=zero,
            gradient=jnp.zeros_like(x0),
            direction=jnp.zeros_like(x0),
            inverse_hessian=self._first_inverse_hessian(x0),
            search=_begin_search(zero, zero, zero),
            low_gradient=jnp.zeros_like(x0),
        )

    def _first_inverse_hessian(self, x0) -> Any:
        return jnp.eye(x0.size, dtype=x0.dtype)

    def update(self, state: BFGSState, loss, gradient, environment) -> BFGSState:
        # The first evaluation is treated as an accepted step of length zero, so that one copy of the code
        # serves both.
        first = ~state.started
        search, accepted, failed = _search_update(state.search, loss, jnp.dot(gradient, state.direction))
        low_gradient = jnp.where(search.low.step == state.search.step, gradient, state.low_gradient)
        # A failed search falls back on the lowest point that it saw.
        rescued = failed & (search.low.loss < state.search.start.loss)
        arrived = first | accepted | rescued
        step = jnp.where(first, 0.0, jnp.where(accepted, state.search.step, search.low.step))
        at_trial = first | accepted
        new_loss = jnp.where(at_trial, loss, search.low.loss)
        new_gradient = jnp.where(at_trial, gradient, low_gradient)

        moved = self._move(state, first, step, new_loss, new_gradient)
        status = jnp.where(failed, Status.LINE_SEARCH_FAILED, state.status).astype(jnp.int32)
        searching = state._replace(
            search=search,
            x=state.x_base + search.step * state.direction,
            low_gradient=low_gradient,
            status=status,
        )
        return _choose(arrived, moved, searching)

    def _aim(self, inverse_hessian, move, change, gradient):
        """The inverse Hessian with what the last move and the change of the gradient along it say, and the
        next direction."""
        identity = jnp.eye(gradient.size, dtype=gradient.dtype)
        curvature = jnp.dot(change, move)
        rho = 1.0 / jnp.where(curvature > 0.0, curvature, 1.0)
        if gradient.size > LARGEST_PRODUCT:  # O(d^2)
            bent = inverse_hessian @ change
            both = jnp.outer(move, bent)
            both = both + both.T - (1.0 + rho * jnp.dot(change, bent)) * jnp.outer(move, move)
            updated = inverse_hessian - rho * both
        else:
            left = identity - rho * jnp.outer(move, change)
            updated = left @ inverse_hessian @ left.T + rho * jnp.outer(move, move)
        usable = (curvature > 0.0) & jnp.all(jnp.isfinite(updated))
        inverse_hessian = jnp.where(usable, updated, inverse_hessian)

        # The next direction; steepest descent if round-off has spoilt the estimate.
        direction = -inverse_hessian @ gradient
        uphill = ~(jnp.dot(gradient, direction) < 0.0)
        inverse_hessian = jnp.where(uphill, identity, inverse_hessian)
        return inverse_hessian, jnp.where(uphill, -gradient, direction)

    def _move(self, state, first, step, loss, gradient):
        """Arrive at a new point: stop there, or aim the next line search."""
        epsilon = jnp.finfo(loss.dtype).eps
        move = step * state.direction
        x = state.x_base + move
        inverse_hessian, direction = self._aim(
            state.inverse_hessian, move, gradient - state.gradient, gradient
        )
        slope = jnp.dot(gradient, direction)
        # SciPy's guess of the loss before the start makes the first step about one unit of x long.
        previous_loss = jnp.where(first, loss + 0.5 * jnp.linalg.norm(gradient), state.loss)
        guess = 2.02 * _divide(loss - previous_loss, slope)
        cautious = guess > 0.0 if self._always_guesses else first
        first_step = jnp.where(cautious, jnp.minimum(1.0, guess), 1.0)

        # Stopping rules; later ones take precedence.
        num_steps = state.num_steps + ~first
        max_steps = 200 * x.size if self.max_steps is None else self.max_steps
        status = jnp.where(num_steps >= max_steps, Status.BUDGET_SPENT, Status.RUNNING)
        # When even the full step promises less than round-off of the loss, there is nothing left to gain.
        tiny = ~first & (jnp.linalg.norm(move) <= epsilon * jnp.linalg.norm(x))
        status = jnp.where(tiny | (-slope <= epsilon * jnp.abs(loss)), Status.STALLED, status)
        status = jnp.where(jnp.max(jnp.abs(gradient)) <= self.gradient_tolerance, Status.CONVERGED, status)
        status = jnp.where(first & jnp.all(gradient == 0.0), Status.ZERO_GRADIENT, status)
        status = jnp.where(jnp.isfinite(loss), status, Status.DIVERGED)
        return BFGSState(
            x=x + first_step * direction,
            status=status.astype(jnp.int32),
            num_steps=num_steps,
            started=jnp.ones((), bool),
            x_base=x,
            loss=loss,
            gradient=gradient,
            direction=direction,
            inverse_hessian=inverse_hessian,
            search=_begin_search(loss, slope, first_step),
            low_gradient=gradient,
        )
