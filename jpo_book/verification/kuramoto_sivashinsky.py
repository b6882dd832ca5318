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

from jpo_lib.problems.kuramoto_sivashinsky import (
    FORCING_MODE,
    NUM_INITIAL_MODES,
    default_forcing,
    integrate,
    kept_modes,
    kuramoto_sivashinsky,
    random_state,
    trajectory,
)


def example_state(
    num_points: int, domain_extent: float = 64.0, mean: float = 0.0, seed: int = 0
) -> np.ndarray:
    """An asymmetric smooth state, the same function of x on every grid, shape (num_points,), float64."""
    amplitude = np.random.default_rng(seed).normal(size=(2, NUM_INITIAL_MODES)) / np.sqrt(NUM_INITIAL_MODES)
    phase = 2 * np.pi * np.outer(np.arange(1, NUM_INITIAL_MODES + 1), np.arange(num_points)) / num_points
    return mean + amplitude[0] @ np.cos(phase) + amplitude[1] @ np.sin(phase)


def reference_solution(
    u0,
    alpha: float,
    beta: float,
    *,
    horizon: float,
    domain_extent: float = 64.0,
    forced: bool = True,
    tolerance: float = 1e-13,
) -> np.ndarray:
    """u(T) of u_t = alpha cos(2 pi 4 x / L) - u_xx - u_xxxx - beta u u_x, with the modes 3 |m| < num_points.

    Arguments:
        u0: first state, shape (num_points,), dimensionless.
        alpha, beta: strengths of forcing and nonlinear term, dimensionless.
        horizon: T, dimensionless time.
        domain_extent: L, dimensionless length.
        forced: without it the forcing is left out.
        tolerance: relative and absolute, of the error estimate per step.
    Returns:
        u(T), shape (num_points,), float64.

    Source: Dormand–Prince pair of order 8(5,3), Hairer, Nørsett & Wanner (1993), doi:10.1007/978-3-540-78862-1.
    """
    from scipy.integrate import solve_ivp

    num_points, cut = len(u0), kept_modes(len(u0))
    mode = np.arange(-cut, cut + 1)
    points = 2 * np.pi * np.arange(num_points) / num_points
    k = 2 * np.pi * mode / domain_extent
    linear = k**2 - k**4
    drive = alpha * 0.5 * (np.abs(mode) == FORCING_MODE) * forced

    def slope(t, c):
        return linear * c + drive - 0.5j * beta * k * np.convolve(c, c)[cut : 3 * cut + 1]

    start = np.exp(-1j * np.outer(mode, points)) @ np.asarray(u0, float) / num_points
    done = solve_ivp(slope, (0.0, horizon), start, method="DOP853", rtol=tolerance, atol=tolerance)
    return (np.exp(1j * np.outer(points, mode)) @ done.y[:, -1]).real


def _relative(difference, reference) -> float:
    return float(np.linalg.norm(difference) / np.linalg.norm(reference))


def temporal_errors(
    steps: Sequence[float],
    order: int = 4,
    *,
    horizon: float = 5.0,
    num_points: int = 96,
    alpha: float = 0.7,
    beta: float = 1.3,
    forced: bool = True,
) -> np.ndarray:
    """Relative error of u(T) against `reference_solution` for each time step, with a mean flow; shape (len(steps),)."""
    u0 = example_state(num_points, mean=0.4)
    reference = reference_solution(u0, alpha, beta, horizon=horizon, forced=forced)
    forcing = default_forcing(num_points) * forced
    with jax.enable_x64(True):
        return np.array(
            [
                _relative(
                    np.asarray(
                        integrate(u0, alpha, beta, horizon=horizon, dt=dt, forcing=forcing, order=order)
                    )
                    - reference,
                    reference,
                )
                for dt in steps
            ]
        )


def spatial_errors(
    sizes: Sequence[int], *, horizon: float = 10.0, domain_extent: float = 32.0, finest: int = 192
) -> np.ndarray:
    """Relative error of u(T) for each number of points against a grid of `finest` points, equal time steps; shape (len(sizes),)."""
    arguments = dict(horizon=horizon, dt=0.125, domain_extent=domain_extent)
    with jax.enable_x64(True):
        fine = np.fft.rfft(np.asarray(integrate(example_state(finest), 0.7, 1.3, **arguments))) / finest
        errors = []
        for size in sizes:
            coarse = np.fft.rfft(np.asarray(integrate(example_state(size), 0.7, 1.3, **arguments))) / size
            difference = fine.copy()
            difference[: coarse.size] -= coarse
            errors.append(_relative(difference, fine))
    return np.array(errors)


def mean_drift(*, horizon: float = 20.0, mean: float = 0.3) -> float:
    """|mean u(T) - mean u(0)|: no term of the equation changes the mean."""
    with jax.enable_x64(True):
        u0 = example_state(128, mean=mean)
        return abs(float(np.mean(integrate(u0, 1.0, 1.5, horizon=horizon)) - np.mean(u0)))


def energy_balance_error(
    *, horizon: float = 5.0, dt: float = 0.0125, alpha: float = 0.7, beta: float = 1.3
) -> float:
    """Mismatch of the energy E = mean u^2 / 2 over the motion with the integral of mean(u_x^2 - u_xx^2 + alpha G u).

    The nonlinear term only moves energy between modes. The integral is Simpson's; relative to the energy supplied.
    """
    from scipy.integrate import simpson

    with jax.enable_x64(True):
        u = np.asarray(trajectory(example_state(128), alpha, beta, horizon=horizon, dt=dt))
    k = 2 * np.pi * np.arange(65) / 64.0
    spectrum = np.fft.rfft(u, axis=1)
    u_x, u_xx = np.fft.irfft(1j * k * spectrum, axis=1), np.fft.irfft(-(k**2) * spectrum, axis=1)
    supply = np.mean(u_x**2 - u_xx**2 + alpha * default_forcing(128) * u, axis=1)
    gain = 0.5 * np.mean(u[-1] ** 2 - u[0] ** 2)
    return float(abs(gain - simpson(supply, dx=dt)) / simpson(np.mean(u_x**2, axis=1), dx=dt))


def prior_box_extremes(
    horizon: float,
    *,
    dt: float = 0.25,
    order: int = 4,
    num_points: int = 128,
    num_problems: int = 64,
    float64: bool = True,
) -> np.ndarray:
    """Largest |u| of the motion for problems all over the prior box, its corners among them; shape (num_problems,).

    Not finite where a motion blows up. `dt` may exceed what the simulator offers.
    """
    from jpo_lib.problems.kuramoto_sivashinsky import _discretization, _states

    generator = np.random.default_rng(1)
    x = generator.uniform(-1, 1, (num_problems, 2))
    x[: num_problems // 2] = np.sign(x[: num_problems // 2])
    with jax.enable_x64(float64):
        states = jax.vmap(lambda key: random_state(key, num_points))(
            jax.random.split(jax.random.key(1), num_problems)
        )
        discretization, forcing = _discretization(num_points, 64.0, dt, order), default_forcing(num_points)

        def largest(u0, alpha, beta):
            motion = _states(u0, alpha, beta, forcing, discretization, round(horizon / dt), every_state=True)
            return jnp.max(jnp.abs(motion))

        return np.asarray(
            jax.jit(jax.vmap(largest))(states, jnp.asarray(x[:, 0]), jnp.asarray(1 + 0.5 * x[:, 1]))
        )


def gradient_errors(horizon: float, *, num_problems: int = 8, step: float = 1e-5) -> np.ndarray:
    """Relative difference of the gradient in x and central differences in float64, away from the truth; shape (num_problems,)."""
    problem = kuramoto_sivashinsky(horizon=horizon, float64=True)
    data = problem.sample_dataset(num_problems, seed=77)
    with problem.precision():
        gradient, value = (jax.jit(jax.vmap(f)) for f in (jax.grad(problem.objective), problem.objective))
        x = 0.9 * data.x_true[::-1]
        exact = np.asarray(gradient(x, data.context, data.y))
        central = np.stack(
            [
                np.asarray(
                    value(x + step * unit, data.context, data.y)
                    - value(x - step * unit, data.context, data.y)
                )
                / (2 * step)
                for unit in np.eye(2)
            ],
            axis=1,
        )
    return np.linalg.norm(exact - central, axis=1) / np.linalg.norm(central, axis=1)


def float32_errors(
    horizon: float = 20.0, *, num_problems: int = 256, seed: int = 77
) -> dict[str, np.ndarray]:
    """Relative errors of float32 against float64 for problems of the prior: final "state" and "gradient", shape (num_problems,)."""
    from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of

    double = kuramoto_sivashinsky(horizon=horizon, float64=True)
    data = double.sample_dataset(num_problems, seed)
    x = 0.9 * np.asarray(data.x_true)[::-1]

    def objective(x, u0, y):
        last = integrate(u0, *coefficients_of(x), horizon=horizon)
        return jnp.mean(jnp.square(last - y)), last

    results = {}
    for float64 in (True, False):
        with jax.enable_x64(float64):
            arguments = [
                jnp.asarray(np.asarray(a), jnp.float64 if float64 else jnp.float32)
                for a in (x, data.context, data.y)
            ]
            (_, last), gradient = jax.jit(jax.vmap(jax.value_and_grad(objective, has_aux=True)))(*arguments)
            results[float64] = {"state": np.asarray(last, float), "gradient": np.asarray(gradient, float)}
    return {
        name: np.linalg.norm(results[False][name] - results[True][name], axis=1)
        / np.linalg.norm(results[True][name], axis=1)
        for name in ("state", "gradient")
    }
