"""Lorenz-96: the state of a chaotic system from incomplete, noisy observations, with forty unknowns.

Variables on a ring move as values of the weather along a circle of latitude do. Some of them are observed, at
a few times and with noise; unknown is the whole state at the first of these times. That is variational data
assimilation (4D-Var) with the usual background term, in a strong-constraint form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_integer, check_positive, check_steps
from jpo_lib.networks.lorenz96 import ResidualRing
from jpo_lib.problem import InverseProblem, Recommended, Starts
from jpo_lib.problems._forward_cost import forward_cost

# Means over long motions of 40 variables; see the tests. That of the squares is F times the mean, exactly.
MEANS = {5.0: 1.66, 6.0: 2.01, 8.0: 2.34, 10.0: 2.58, 12.0: 2.78, 16.0: 3.09}
LARGEST_DT = 0.05  # larger steps distort the statistics of strongly forced motions
SPIN_UP = 10.0  # time units from noise to the attractor


def climate(forcing: float) -> tuple[float, float]:
    """Mean m and standard deviation s of a variable in the course of time; dimensionless.

    m is interpolated in a table. A steady mean energy, d/dt <x^2> / 2 = F m - <x^2> = 0, gives s^2 = m (F -
    m).

    Arguments:
        forcing: F, dimensionless, from 5 to 16.
    Returns:
        (m, s), rounded to two digits.
    """
    mean = round(float(np.interp(forcing, list(MEANS), list(MEANS.values()))), 2)
    return mean, round(float(np.sqrt(mean * (forcing - mean))), 2)


def rate(x, forcing: float):
    """dx_i/dt = (x_{i + 1} - x_{i - 2}) x_{i - 1} - x_i + F on a ring.

    Neighbours are read by products with constant matrices: on a CPU many times faster than rolled arrays.

    Arguments:
        x: state, shape (d,), dimensionless.
        forcing: F, dimensionless.
    Returns:
        the rate of change, shape (d,), dimensionless.

    Source: Lorenz & Emanuel (1998), doi:10.1175/1520-0469(1998)055<0399:OSFSWO>2.0.CO;2.
    """
    identity = np.eye(x.shape[0])
    ahead, behind, before_that = (np.roll(identity, shift, axis=0) for shift in (1, -1, -2))

    def product(matrix):
        return jnp.matmul(x, jnp.asarray(matrix, x.dtype), precision="highest")

    return product(ahead - before_that) * product(behind) - x + forcing


def runge_kutta_step(slope: Callable, x, dt: float):
    """x(t + dt) by the classical Runge–Kutta method of order 4.

    Arguments:
        slope: x -> dx/dt, shape (d,).
        x: state, shape (d,), dimensionless.
        dt: step, dimensionless time.
    """
    first = slope(x)
    second = slope(x + 0.5 * dt * first)
    third = slope(x + 0.5 * dt * second)
    fourth = slope(x + dt * third)
    return x + dt / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)


def advance(x, num_steps: int, *, dt: float = 0.05, forcing: float = 8.0):
    """x(t + num_steps dt) by Runge–Kutta steps of order 4, in the precision of x.

    Arguments:
        x: state, shape (d,), dimensionless.
        num_steps: number of steps.
        dt: step, dimensionless time.
        forcing: F, dimensionless.
    """

    def step(x, _):
        return runge_kutta_step(lambda x: rate(x, forcing), x, dt), None

    return jax.lax.scan(step, x, None, length=num_steps)[0]


def states_at(x, num_times: int, steps_between: int, **scheme):
    """The states at `num_times` times, the first of which is x itself, shape (num_times, d). Arguments as for
    `advance`, which takes `steps_between` steps from each to the next."""

    def ahead(x, _):
        return advance(x, steps_between, **scheme), x

    last, earlier = jax.lax.scan(ahead, x, None, length=num_times - 1)
    return jnp.concatenate([earlier, last[None]])


def _check_settings(dimension, stride, num_times, interval, noise, forcing, dt) -> int:
    """Refuse settings that make no sense. Returns the number of steps between observations."""
    check_integer("dimension", dimension, minimum=8)
    check_integer("stride", stride, minimum=1)
    check_integer("num_times", num_times, minimum=2)
    check_positive(interval=interval, noise=noise, forcing=forcing, dt=dt)
    if dimension % stride or dimension // stride < 3:
        kind = f"a divisor of dimension = {dimension} that leaves at least 3 variables"
        raise ValueError(f"stride: expected {kind}, got {stride}; choose such a number.")
    if not min(MEANS) <= forcing <= max(MEANS):
        known = f"{min(MEANS):g} to {max(MEANS):g}, where the motion is chaotic"
        raise ValueError(f"forcing: expected {known}, got {forcing:g}; 8 is usual.")
    if dt > LARGEST_DT:
        raise ValueError(f"dt: expected at most {LARGEST_DT:g}, got {dt:g}; take smaller steps.")
    return check_steps("interval", interval, dt)


@functools.lru_cache(maxsize=32)
def lorenz96(
    *,
    dimension: int = 40,
    stride: int = 2,
    num_times: int = 10,
    interval: float = 0.1,
    noise: float = 0.3,
    forcing: float = 8.0,
    dt: float = 0.05,
) -> InverseProblem:
    """dx_i/dt = (x_{i + 1} - x_{i - 2}) x_{i - 1} - x_i + F on a ring of d variables;  y_kj = x_{s j}(k
    Delta) + noise, k = 0 .. K - 1;  L + R = (sum (simulated - y)^2 / sigma^2 + sum_i (x_i - m)^2 / S^2) / (2
    M).

    The unknown is the state x at the first time, d numbers, which is observed itself where it is observed at
    all. The background term R holds mean m and standard deviation S of the climate, and M is the number of
    observations. True states are those after 10 time units from climate noise; starting points are m with
    noise of 0.1, those of restarts m with noise of 1, which is better than states of the attractor. A problem
    is solved when L + R is below 1.05 times its value at the truth. On average that value is (M + d) / (2 M);
    1.05 times this is a threshold for measurements whose truth is unknown.

    Arguments:
        dimension: d, at least 8.
        stride: s, every s-th variable is observed; a divisor of d that leaves at least 3.
        num_times: K, number of times of observation.
        interval: Delta, time between them, dimensionless; a multiple of dt.
        noise: sigma, standard deviation of the Gaussian noise of each observation, dimensionless.
        forcing: F, dimensionless, from 5 to 16.
        dt: time step, dimensionless time, at most 0.05.
    Raises:
        ValueError: if a setting is out of range.

    Source: Lorenz (1996), Predictability: a problem partly solved, doi:10.1017/CBO9780511617652.004; Lorenz &
        Emanuel (1998), doi:10.1175/1520-0469(1998)055<0399:OSFSWO>2.0.CO;2. The settings of the observations
        are the companion's own.
    """
    settings = dict(locals())
    steps_between = _check_settings(**settings)
    mean, deviation = climate(forcing)
    places = dimension // stride
    count = num_times * places
    scheme = {"dt": dt, "forcing": forcing}

    def simulate(x, context=None):
        del context
        return states_at(x, num_times, steps_between, **scheme)[:, ::stride]

    def loss(output, y):
        return 0.5 * jnp.sum(jnp.square((output - y) / noise)) / count

    def prior_loss(x):
        return 0.5 * jnp.sum(jnp.square((x - mean) / deviation)) / count

    def residuals(x, output, y):
        return jnp.concatenate([jnp.ravel(output - y) / noise, (x - mean) / deviation]) / np.sqrt(count)

    def around_the_mean(spread: float) -> Callable:
        return lambda key: mean + spread * jax.random.normal(key, (dimension,))

    def sample_x(key):
        return advance(around_the_mean(deviation)(key), round(SPIN_UP / dt), **scheme)

    return InverseProblem(
        name="lorenz96",
        dimension=dimension,
        simulate=simulate,
        loss=loss,
        prior_loss=prior_loss,
        forward_cost=forward_cost("lorenz96"),
        residuals=residuals,
        window=lambda count: lorenz96(**{**settings, "num_times": count}),
        training_loss=lambda output, y, prior: jnp.log(loss(output, y) + prior),
        sample_x=sample_x,
        observe=lambda key, output: output + noise * jax.random.normal(key, output.shape, output.dtype),
        threshold=lambda output, y, prior: 1.05 * (loss(output, y) + prior),
        scale=(np.full(dimension, mean), np.full(dimension, deviation)),
        starts=Starts(first=around_the_mean(0.1), restart=around_the_mean(1.0)),
        recommended=Recommended(
            network=lambda key, **changes: ResidualRing(
                key, num_times=num_times, stride=stride, middle=mean, spread=deviation, **changes
            ),
            solvers={
                "JointOptimization": {
                    "learning_rate": 8e-3,
                    "num_steps": 640,
                    "batch_size": 64,
                    "clip_problem": 5.0,
                },
                "MultiStart": {"run_evaluations": 120, "num_starts": 24, "max_evaluations": 2880},
                "GradientDescent": {"learning_rate": 0.3},
                "Adam": {"learning_rate": 0.5},
            },
            refinement={"max_evaluations": 500, "num_starts": 1},
        ),
        settings=settings,
    )
