"""Measurements on the Navier-Stokes simulator, against closed forms and a reference that shares no code with it.

Everything is measured in float64 unless a function says otherwise.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jpo_lib.problems._vorticity import basis, integrator, synthesize
from jpo_lib.problems.navier_stokes import _initial, cfl_number, integrate, navier_stokes, velocity


def uneven_fields(num_points: int = 16, speed: float = 1.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A vorticity and a marker without any symmetry: modes up to 4 with random phases, shape (N, N) each, x first.

    The largest speed |u| + |v| is `speed`, length / time; the marker has mean 1.
    """
    random = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(num_points) / num_points
    x, y = np.meshgrid(angle, angle, indexing="ij")
    fields = []
    for _ in range(2):
        modes = [(kx, ky) for kx in range(0, 5) for ky in range(-4, 5) if kx > 0 or ky > 0]
        waves = (
            random.normal() * np.cos(kx * x + ky * y + random.uniform(0, 2 * np.pi)) / (1 + kx**2 + ky**2)
            for kx, ky in modes
        )
        fields.append(sum(waves))
    with jax.enable_x64(True):
        largest = float(jnp.max(jnp.sum(jnp.abs(velocity(fields[0])), axis=0)))
    return fields[0] * (speed / largest), 1.0 + fields[1] / np.abs(fields[1]).max()


def reference_solution(
    vorticity, marker, viscosity: float, diffusivity: float, horizon: float
) -> tuple[np.ndarray, np.ndarray]:
    """The flow at time T by another route: velocities instead of vorticity, sums instead of transforms, another integrator.

        du/dt = -P[(u . grad) u] + nu lap u,    dc/dt = -u . grad c + kappa lap c

    for complex Fourier coefficients with |kx|, |ky| <= floor((N - 1) / 3). Products are convolution sums over all pairs of
    modes, P subtracts the gradient part, and SciPy's DOP853 takes steps with a tolerance of 1e-13.

    Arguments:
        vorticity, marker: initial fields (N, N), x first, w = dv/dx - du/dy.
        viscosity, diffusivity: nu and kappa, length^2 / time.
        horizon: T, time.
    Returns:
        vorticity and marker at T, shape (N, N).
    """
    from scipy.integrate import solve_ivp
    from scipy.signal import convolve2d

    num_points = vorticity.shape[0]
    k_max = (num_points - 1) // 3
    k = np.arange(-k_max, k_max + 1)
    kx, ky = k[:, None], k[None, :]
    squared = kx**2 + ky**2
    safe = np.where(squared == 0, 1, squared)
    rows = np.ix_(k % num_points, k % num_points)

    def modes(field):
        return (np.fft.fft2(field) / num_points**2)[rows]

    def product(a, b):
        return convolve2d(a, b)[k_max : 3 * k_max + 1, k_max : 3 * k_max + 1]

    def rate(_, flat):
        u, v, c = flat.view(complex).reshape(3, k.size, k.size)
        advected = [product(u, 1j * kx * f) + product(v, 1j * ky * f) for f in (u, v, c)]
        gradient_part = (kx * advected[0] + ky * advected[1]) / safe
        return (
            np.stack(
                [
                    -advected[0] + kx * gradient_part - viscosity * squared * u,
                    -advected[1] + ky * gradient_part - viscosity * squared * v,
                    -advected[2] - diffusivity * squared * c,
                ]
            )
            .ravel()
            .view(float)
        )

    w = modes(vorticity) * (squared > 0)
    start = np.stack([1j * ky * w / safe, -1j * kx * w / safe, modes(marker)])
    solution = solve_ivp(
        rate, (0.0, horizon), start.ravel().view(float), method="DOP853", rtol=1e-13, atol=1e-15
    )
    u, v, c = solution.y[:, -1].copy().view(complex).reshape(3, k.size, k.size)

    def grid(coefficients):
        full = np.zeros((num_points, num_points), complex)
        full[rows] = coefficients
        return np.fft.ifft2(full * num_points**2).real

    return grid(1j * kx * v - 1j * ky * u), grid(c)


def temporal_errors(
    orders=(2, 4),
    num_steps=(16, 32, 64, 128),
    horizon: float = 1.0,
    viscosity: float = 0.05,
    num_points: int = 16,
) -> xr.DataArray:
    """Largest error of vorticity and marker at T, relative to their largest values, for each order and number of steps.

    The state has no symmetry; the reference is `reference_solution`, the diffusivity of the marker half the viscosity.
    """
    vorticity, marker = uneven_fields(num_points, speed=2.0)
    exact = reference_solution(vorticity, marker, viscosity, viscosity / 2, horizon)

    def error(order, count):
        with jax.enable_x64(True):
            final = integrate(vorticity, viscosity, horizon / count, count, order, marker, viscosity / 2)
        return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in zip(final, exact))

    errors = [[error(order, count) for count in num_steps] for order in orders]
    coordinates = {"order": list(orders), "num_steps": list(num_steps)}
    return xr.DataArray(errors, dims=("order", "num_steps"), coords=coordinates, name="relative_error")


def observed_order(errors: xr.DataArray) -> float:
    """Slope of log(error) against log(dt), between the two finest steps."""
    fine, coarse = errors.isel(num_steps=-1), errors.isel(num_steps=-2)
    return float(np.log(coarse / fine) / np.log(fine.num_steps.values / coarse.num_steps.values))


def taylor_green_error(
    num_points: int = 32, viscosity: float = 0.02, dt: float = 0.08, num_steps: int = 30
) -> float:
    """Largest error of the vortex array w = 2 cos x cos y exp(-2 nu t), a solution in closed form, relative to its largest value."""
    angle = 2 * np.pi * np.arange(num_points) / num_points
    initial = 2 * np.cos(angle)[:, None] * np.cos(angle)
    decay = math.exp(-2 * viscosity * dt * num_steps)
    with jax.enable_x64(True):
        final = integrate(initial, viscosity, dt, num_steps)
    return float(np.abs(np.asarray(final) - decay * initial).max() / (2 * decay))


def inviscid_changes(num_steps=(50, 100, 200), horizon: float = 2.0, num_points: int = 32) -> xr.Dataset:
    """Relative changes of energy, enstrophy and marker mass without viscosity; the first two vanish as dt goes to zero."""
    vorticity, marker = uneven_fields(num_points, speed=2.0)
    changes = {"energy": [], "enstrophy": [], "marker_mass": []}
    with jax.enable_x64(True):

        def sums(w, c):
            return {
                "energy": jnp.sum(jnp.square(velocity(w))),
                "enstrophy": jnp.sum(jnp.square(w)),
                "marker_mass": jnp.sum(c),
            }

        before = sums(vorticity, marker)
        for count in num_steps:
            after = sums(*integrate(vorticity, 0.0, horizon / count, count, 4, marker, 0.0))
            for name, values in changes.items():
                values.append(abs(float(after[name] / before[name]) - 1.0))
    return xr.Dataset(
        {name: ("num_steps", values) for name, values in changes.items()},
        coords={"num_steps": list(num_steps)},
    )


def divergence(num_points: int = 32, seed: int = 1) -> float:
    """Largest |du/dx + dv/dy| relative to the largest |dv/dx|, with derivatives by complex Fourier transforms."""
    with jax.enable_x64(True):
        u, v = (np.fft.fft2(np.asarray(part)) for part in velocity(uneven_fields(num_points, seed=seed)[0]))
    k = np.fft.fftfreq(num_points, 1 / num_points)
    total = np.fft.ifft2(1j * k[:, None] * u + 1j * k * v).real
    return float(np.abs(total).max() / np.abs(np.fft.ifft2(1j * k[:, None] * v).real).max())


def gradient_errors(num_problems: int = 16, seed: int = 5, step: float = 1e-4, **settings) -> np.ndarray:
    """Largest difference of gradient and central difference of the loss, relative to the largest component, (num_problems,).

    The difference is of fourth order in the step, so that neither truncation nor round-off hides an error.
    """
    with jax.enable_x64(True):
        problem = navier_stokes(**settings)
        x, y = _draws(problem, num_problems, seed)
        loss = jax.vmap(problem.objective, (0, None, 0))
        gradient = jax.jit(jax.vmap(jax.grad(problem.objective), (0, None, 0)))(x, None, y)
        shifts = step * jnp.eye(4)
        values = jax.jit(jax.vmap(jax.vmap(lambda shift: loss(x + shift, None, y))))(
            jnp.array([-2.0, -1.0, 1.0, 2.0])[:, None, None] * shifts
        )  # (4 multiples, 4 directions, num_problems)
        central = jnp.einsum("m,mdn->nd", jnp.array([1.0, -8.0, 8.0, -1.0]) / (12 * step), values)
        return np.asarray(jnp.max(jnp.abs(gradient - central), axis=1) / jnp.max(jnp.abs(gradient), axis=1))


def _draws(problem, count: int, seed: int):
    """Trial points and targets from the prior, float64: loss and gradient there are far from zero."""
    keys = jax.random.split(jax.random.key(seed), (2, count))
    x, x_true = (jax.vmap(problem.sample_x)(k).astype(jnp.float64) for k in keys)
    return x, jax.jit(jax.vmap(lambda z: problem.simulate(z, None)))(x_true)


def single_precision_errors(num_problems: int = 64, seed: int = 6, **settings) -> xr.Dataset:
    """float32 against float64 on draws from the prior: output (relative to its largest value), loss and gradient (relative)."""
    with jax.enable_x64(True):
        problem = navier_stokes(**settings)
        x, y = _draws(problem, num_problems, seed)

        def objective(z, y):
            output = problem.simulate(z, None)
            return problem.loss(output, y), output

        @jax.jit
        def evaluate(x, y):
            (loss, output), gradient = jax.vmap(jax.value_and_grad(objective, has_aux=True))(x, y)
            return output, loss, gradient

        exact, single = evaluate(x, y), evaluate(x.astype(jnp.float32), y.astype(jnp.float32))
    assert single[0].dtype == single[2].dtype == np.float32

    def error(a, b):
        a, b = (np.asarray(v, float).reshape(num_problems, -1) for v in (a, b))
        return np.abs(a - b).max(1) / np.abs(b).max(1)

    return xr.Dataset(
        {name: ("problem", error(a, b)) for name, a, b in zip(("output", "loss", "gradient"), single, exact)}
    )


def resolution_errors(
    num_points=(32, 48, 64), reference: int = 96, num_problems: int = 16, seed: int = 7
) -> xr.DataArray:
    """Root mean square error of the vorticity at T against a finer grid, relative to it, on draws from the prior: (N, problem).

    All grids take the steps that the finest one needs, so that they differ in space only.
    """
    problem = navier_stokes()
    settings, k_max = problem.settings, lambda count: basis(count).wavenumber.max()
    num_steps = math.ceil(
        settings["horizon"] / settings["dt"] * k_max(reference) / k_max(settings["num_points"])
    )
    start = [settings[name] for name in ("shear", "puff_width", "force_limit")]
    with jax.enable_x64(True):
        x = jax.vmap(problem.sample_x)(jax.random.split(jax.random.key(seed), num_problems)).astype(
            jnp.float64
        )

        def modes(count):
            advance, _ = integrator(
                count, (settings["viscosity"],), settings["horizon"] / num_steps, num_steps, settings["order"]
            )
            final = jax.jit(
                jax.vmap(lambda z: synthesize(advance(_initial(z, count, *start)[:1])[0], count))
            )(x)
            return np.fft.fftshift(np.fft.fft2(np.asarray(final)), axes=(1, 2)) / count**2

        fine = modes(reference)
        errors = []
        for count in num_points:
            coarse, edge = modes(count), (reference - count) // 2
            difference = fine.copy()
            difference[:, edge : edge + count, edge : edge + count] -= coarse
            errors.append(
                np.sqrt(np.sum(np.abs(difference) ** 2, (1, 2)) / np.sum(np.abs(fine) ** 2, (1, 2)))
            )
    return xr.DataArray(
        errors, dims=("num_points", "problem"), coords={"num_points": list(num_points)}, name="relative_error"
    )


def peak_cfl_numbers(num_problems: int = 64, seed: int = 8) -> np.ndarray:
    """Largest dt k_max (|u| + |v|) during runs with the largest force that the unknowns can express, (num_problems,)."""
    problem, begin = navier_stokes(), navier_stokes(horizon=1e-6)
    settings, num_points = problem.settings, problem.settings["num_points"]
    dt, viscosity = settings["dt"], settings["viscosity"]
    key = jax.random.key(seed)
    place, force = (
        jax.random.uniform(key, (num_problems, 2), minval=-1, maxval=1),
        1e3 * jax.random.normal(key, (num_problems, 2)),
    )
    x = jnp.concatenate([place, force], axis=1)
    shear = -settings["shear"] * jnp.cos(2 * jnp.pi * jnp.arange(num_points) / num_points)

    @jax.jit
    @jax.vmap
    def peak(z):
        start = begin.simulate(z, None) + shear
        steps = round(settings["horizon"] / dt)
        return jnp.max(
            jax.lax.scan(
                lambda w, _: (integrate(w, viscosity, dt, 1), cfl_number(w, dt)), start, None, length=steps
            )[1]
        )

    return np.asarray(peak(x))
