"""Measurements of the Kuramoto–Sivashinsky simulator.

The reference shares nothing with the simulator but the equation and the set of modes: it is written for the
Fourier coefficients of positive and negative modes, takes products as explicit convolution sums without any
transform to a grid, and integrates in time with an explicit Runge–Kutta pair of order 8 under error control.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jpo_book.verification import measures
from jpo_lib.problems.kuramoto_sivashinsky import (
    FORCING_MODE,
    NUM_INITIAL_MODES,
    coefficients_of,
    default_forcing,
    integrate,
    kept_modes,
    kuramoto_sivashinsky,
)

ALPHA, BETA = 0.7, 1.3  # strengths of forcing and nonlinear term in all measurements of errors, dimensionless


def example_state(num_points: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    """An asymmetric smooth state, the same function of x on every grid, shape (num_points,), float64."""
    amplitude = np.random.default_rng(seed).normal(size=(2, NUM_INITIAL_MODES)) / np.sqrt(NUM_INITIAL_MODES)
    phase = 2 * np.pi * np.outer(np.arange(1, NUM_INITIAL_MODES + 1), np.arange(num_points)) / num_points
    return mean + amplitude[0] @ np.cos(phase) + amplitude[1] @ np.sin(phase)


def reference_solution(u0, *, horizon: float, forced: bool = True, domain_extent: float = 64.0) -> np.ndarray:
    """u(T) of u_t = alpha cos(2 pi 4 x / L) - u_xx - u_xxxx - beta u u_x, with the modes 3 |m| < num_points.

    Arguments:
        u0: first state, shape (num_points,), dimensionless.
        horizon: T, dimensionless time.
        forced: without it the forcing is left out.
        domain_extent: L, dimensionless length.
    Returns:
        u(T), shape (num_points,), float64.
    """
    num_points, cut = len(u0), kept_modes(len(u0))
    mode = np.arange(-cut, cut + 1)
    waves = np.exp(2j * np.pi * np.outer(np.arange(num_points), mode) / num_points)
    k = 2 * np.pi * mode / domain_extent
    drive = ALPHA * 0.5 * (np.abs(mode) == FORCING_MODE) * forced

    def slope(t, c):
        return (k**2 - k**4) * c + drive - 0.5j * BETA * k * np.convolve(c, c)[cut : 3 * cut + 1]

    start = waves.conj().T @ np.asarray(u0, float) / num_points
    return np.real(waves @ measures.integrated(slope, start, horizon, rtol=1e-13, atol=1e-13))


def temporal_errors(
    steps: Sequence[float], order: int = 4, *, horizon: float = 5.0, num_points: int = 96, forced: bool = True
) -> np.ndarray:
    """Relative error of u(T) against `reference_solution` for each time step,
    with a mean flow; shape (len(steps),)."""
    u0 = example_state(num_points, mean=0.4)
    reference = reference_solution(u0, horizon=horizon, forced=forced)
    forcing = default_forcing(num_points) * forced
    with jax.enable_x64(True):
        final = [
            np.asarray(integrate(u0, ALPHA, BETA, horizon=horizon, dt=dt, forcing=forcing, order=order))
            for dt in steps
        ]
    return np.array([measures.relative(u - reference, reference) for u in final])


def spatial_errors(
    sizes: Sequence[int], *, horizon: float = 10.0, domain_extent: float = 32.0, finest: int = 192
) -> np.ndarray:
    """Relative error of u(T) for each number of points against a grid of `finest` points, equal time steps.

    Returns:
        errors, shape (len(sizes),).
    """

    def final(size):
        u0 = example_state(size)
        last = integrate(u0, ALPHA, BETA, horizon=horizon, dt=0.125, domain_extent=domain_extent)
        return measures.spectrum(last)

    with jax.enable_x64(True):
        fine = final(finest)
        differences = (measures.difference_of_spectra(fine, final(size)) for size in sizes)
        return np.array([measures.relative(difference, fine) for difference in differences])


def mean_drift(*, horizon: float = 20.0, mean: float = 0.3) -> float:
    """|mean u(T) - mean u(0)|: no term of the equation changes the mean."""
    with jax.enable_x64(True):
        u0 = example_state(128, mean=mean)
        return abs(float(np.mean(integrate(u0, 1.0, 1.5, horizon=horizon)) - np.mean(u0)))


def gradient_errors(horizon: float, *, num_problems: int = 8, step: float = 1e-5) -> np.ndarray:
    """Relative difference of the gradient in x and central differences in float64, away from the truth.

    Returns:
        errors, shape (num_problems,).
    """
    problem = kuramoto_sivashinsky(horizon=horizon, float64=True)
    data = problem.sample_dataset(num_problems, seed=77)
    with problem.precision():
        gradient, value = (jax.jit(jax.vmap(f)) for f in (jax.grad(problem.objective), problem.objective))
        x = 0.9 * np.asarray(data.x_true)[::-1]
        exact = np.asarray(gradient(x, data.context, data.y))
        central = measures.central_differences(lambda x: value(x, data.context, data.y), x, step)
    return measures.relative(exact - central, central, axis=1)


def float32_errors(
    horizon: float = 20.0, *, num_problems: int = 256, seed: int = 77
) -> dict[str, np.ndarray]:
    """Relative errors of float32 against float64 for problems of the prior: final "state" and "gradient".

    Returns:
        errors of each, shape (num_problems,).
    """
    data = kuramoto_sivashinsky(horizon=horizon, float64=True).sample_dataset(num_problems, seed)
    arguments = [np.asarray(a) for a in (0.9 * np.asarray(data.x_true)[::-1], data.context, data.y)]

    def objective(x, u0, y):
        last = integrate(u0, *coefficients_of(x), horizon=horizon)
        return jnp.mean(jnp.square(last - y)), last

    def measured(dtype):
        with jax.enable_x64(dtype is np.float64):
            run = jax.jit(jax.vmap(jax.value_and_grad(objective, has_aux=True)))
            (_, last), gradient = run(*(jnp.asarray(a, dtype) for a in arguments))
            return np.asarray(last, float), np.asarray(gradient, float)

    pairs = zip(("state", "gradient"), measured(np.float32), measured(np.float64))
    return {name: measures.relative(single - double, double, axis=1) for name, single, double in pairs}
