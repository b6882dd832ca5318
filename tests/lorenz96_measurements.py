"""Measurements of the Lorenz-96 simulator.

The reference shares nothing with the simulator but the equation: it rolls arrays, and integrates in time with
an explicit Runge–Kutta pair of order 8 under error control.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jpo_book.verification.measures import central_differences, integrated, relative
from jpo_lib.problem import Execution, InverseProblem
from jpo_lib.problems.lorenz96 import MEANS, advance, climate, lorenz96, rate, runge_kutta_step


def example_states(num_states: int, dimension: int = 40, *, forcing: float = 8.0, seed: int = 0):
    """States of independent normal variables with the moments of the climate, shape (B, d), float64."""
    mean, deviation = climate(forcing)
    return mean + deviation * np.random.default_rng(seed).normal(size=(num_states, dimension))


def reference_rate(t, x, forcing: float = 8.0) -> np.ndarray:
    """dx/dt by rolled arrays, shape (..., d)."""
    del t
    return (np.roll(x, -1, -1) - np.roll(x, 2, -1)) * np.roll(x, 1, -1) - x + forcing


def in_float64(problem: InverseProblem) -> InverseProblem:
    return dataclasses.replace(problem, execution=Execution(float64=True))


def temporal_errors(steps: Sequence[float], *, horizon: float = 1.0) -> np.ndarray:
    """Relative error of x(T) against SciPy's DOP853 for each time step; shape (len(steps),)."""
    (x,) = example_states(1)
    reference = integrated(reference_rate, x, horizon, rtol=1e-13, atol=1e-13)
    with jax.enable_x64(True):
        final = [np.asarray(advance(jnp.asarray(x), round(horizon / dt), dt=dt)) for dt in steps]
    return np.array([relative(last - reference, reference) for last in final])


def nonlinear_energy_supply(num_states: int = 64) -> float:
    """Largest |x . N(x)| / (|x| |N(x)|) of the nonlinear term N, which only moves energy around."""
    with jax.enable_x64(True):
        x = example_states(num_states)
        term = np.asarray(jax.vmap(lambda x: rate(x, 0.0) + x)(jnp.asarray(x)))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(term, axis=1)
    return float(np.max(np.abs(np.sum(x * term, axis=1)) / norms))


def energy_drifts(steps: Sequence[float], *, horizon: float = 0.5) -> np.ndarray:
    """| |x(T)|^2 - |x(0)|^2 | / |x(0)|^2 without forcing and damping, for each time step; shape
    (len(steps),)."""

    def drift(dt):
        step = functools.partial(runge_kutta_step, lambda x: rate(x, 0.0) + x, dt=dt)
        last = jax.lax.fori_loop(0, round(horizon / dt), lambda _, x: step(x), x)
        return float(jnp.abs(jnp.sum(last**2) / jnp.sum(x**2) - 1.0))

    with jax.enable_x64(True):
        x = jnp.asarray(example_states(1)[0])
        return np.array([drift(dt) for dt in steps])


def shift_error(*, stride: int = 2) -> float:
    """Largest difference between the observations of a shifted state and the shifted observations."""
    problem = in_float64(lorenz96(stride=stride))
    (x,) = example_states(1)
    with problem.precision():
        here, there = (np.asarray(problem.simulate(jnp.asarray(s), None)) for s in (x, np.roll(x, stride)))
    return float(np.max(np.abs(there - np.roll(here, 1, axis=1))))


def gradient_errors(*, num_problems: int = 8, step: float = 1e-5) -> np.ndarray:
    """Relative difference of the gradient in x and central differences in float64, one deviation of the
    climate away from the truth; shape (num_problems,)."""
    problem = in_float64(lorenz96())
    data = problem.sample_dataset(num_problems, seed=77)
    with problem.precision():
        gradient, value = (jax.jit(jax.vmap(f)) for f in (jax.grad(problem.objective), problem.objective))
        x = example_states(num_problems)
        exact = np.asarray(gradient(x, None, data.y))
        central = central_differences(lambda x: value(x, None, data.y), x, step)
    return relative(exact - central, central, axis=1)


def float32_errors(*, num_problems: int = 256, seed: int = 77) -> dict[str, np.ndarray]:
    """Relative errors of float32 against float64 for problems of the prior, away from the truth:
    "observations" and "gradient", shape (num_problems,) each."""
    problem, x = lorenz96(), example_states(num_problems)
    y = np.asarray(in_float64(problem).sample_dataset(num_problems, seed).y)

    def measured(dtype):
        with jax.enable_x64(dtype is np.float64):
            arguments = jnp.asarray(x, dtype), None, jnp.asarray(y, dtype)
            gradient = jax.jit(jax.vmap(jax.grad(problem.objective)))(*arguments)
            output = jax.jit(jax.vmap(problem.simulate))(*arguments[:2]).reshape(num_problems, -1)
            return np.asarray(output, float), np.asarray(gradient, float)

    pairs = zip(("observations", "gradient"), measured(np.float32), measured(np.float64))
    return {name: relative(single - double, double, axis=1) for name, single, double in pairs}


def climates(*, num_states: int = 32, horizon: float = 100.0) -> dict[float, np.ndarray]:
    """{F: mean and standard deviation} over long motions, by the reference's rate and time steps of 0.05."""
    found = {}
    for forcing in MEANS:
        step = functools.partial(
            runge_kutta_step, lambda x, forcing=forcing: reference_rate(0.0, x, forcing), dt=0.05
        )
        x, moments = example_states(num_states, forcing=forcing), []
        for number in range(round(horizon / 0.05)):
            x = step(x)
            if number * 0.05 >= 10.0:
                moments.append((x.mean(), np.square(x).mean()))
        mean, square = np.mean(moments, axis=0)
        found[forcing] = np.array([mean, np.sqrt(square - mean**2)])
    return found
