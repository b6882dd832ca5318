"""Measurements on the Navier-Stokes simulator,
against closed forms and a reference that shares no code with it.

Everything is measured in float64 unless a function says otherwise.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jpo_book.verification.measures import difference_of_spectra, integrated, relative, spectrum
from jpo_lib.problems._vorticity import basis, integrator, synthesize
from jpo_lib.problems.navier_stokes import _initial, integrate, navier_stokes, velocity


def uneven_fields(num_points: int = 16, speed: float = 1.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A vorticity and a marker without any symmetry:
    modes up to 4 with random phases, shape (N, N) each, x first.

    The largest speed |u| + |v| is `speed`, length / time; the marker has mean 1.
    """
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(*2 * [2 * np.pi * np.arange(num_points) / num_points], indexing="ij")
    modes = [(kx, ky) for kx in range(5) for ky in range(-4, 5) if kx > 0 or ky > 0]

    def wave(kx, ky):
        return random.normal() * np.cos(kx * x + ky * y + random.uniform(0, 2 * np.pi)) / (1 + kx**2 + ky**2)

    vorticity, marker = (np.asarray(sum(wave(*mode) for mode in modes)) for _ in range(2))
    with jax.enable_x64(True):
        largest = float(jnp.max(jnp.sum(jnp.abs(velocity(vorticity)), axis=0)))
    return vorticity * (speed / largest), 1.0 + marker / np.abs(marker).max()


def reference_solution(
    vorticity, marker, viscosity: float, diffusivity: float, horizon: float
) -> tuple[np.ndarray, np.ndarray]:
    """The flow at time T by another route: velocities instead of vorticity,
    sums instead of transforms, another integrator.

        du/dt = -P[(u . grad) u] + nu lap u,    dc/dt = -u . grad c + kappa lap c

    for complex Fourier coefficients with |kx|, |ky| <= floor((N - 1) / 3). Products are convolution sums over
    all pairs of modes, P subtracts the gradient part,
    and SciPy's DOP853 takes steps with a tolerance of 1e-13.

    Arguments:
        vorticity, marker: initial fields (N, N), x first, w = dv/dx - du/dy.
        viscosity, diffusivity: nu and kappa, length^2 / time.
        horizon: T, time.
    Returns:
        vorticity and marker at T, shape (N, N).
    """
    from scipy.signal import convolve2d

    num_points = vorticity.shape[0]
    k_max = (num_points - 1) // 3
    k = np.arange(-k_max, k_max + 1)
    kx, ky = k[:, None], k[None, :]
    squared = kx**2 + ky**2
    safe = np.where(squared == 0, 1, squared)
    rows = np.ix_(k % num_points, k % num_points)
    decay = squared * np.array([viscosity, viscosity, diffusivity])[:, None, None]

    def modes(field):
        return np.fft.fft2(field, norm="forward")[rows]

    def product(a, b):
        return convolve2d(a, b)[k_max : 3 * k_max + 1, k_max : 3 * k_max + 1]

    def rate(_, flat):
        u, v, _ = fields = flat.view(complex).reshape(3, k.size, k.size)
        advected = np.stack([product(u, 1j * kx * f) + product(v, 1j * ky * f) for f in fields])
        gradient_part = (kx * advected[0] + ky * advected[1]) / safe
        advected[:2] -= np.stack([kx * gradient_part, ky * gradient_part])
        return (-advected - decay * fields).ravel().view(float)

    def grid(coefficients):
        full = np.zeros((num_points, num_points), complex)
        full[rows] = coefficients
        return np.fft.ifft2(full, norm="forward").real

    w = modes(vorticity) * (squared > 0)
    start = np.stack([1j * ky * w / safe, -1j * kx * w / safe, modes(marker)]).ravel().view(float)
    final = integrated(rate, start, horizon, rtol=1e-13, atol=1e-15).copy()
    u, v, c = final.view(complex).reshape(3, k.size, k.size)
    return grid(1j * kx * v - 1j * ky * u), grid(c)


def temporal_errors(
    orders=(2, 4), num_steps=(16, 32, 64, 128), horizon: float = 1.0, viscosity: float = 0.05
) -> xr.DataArray:
    """Largest error of vorticity and marker at T, relative to their largest values,
    for each order and number of steps.

    The state has no symmetry; the reference is `reference_solution`,
    the diffusivity of the marker half the viscosity.
    """
    vorticity, marker = uneven_fields(16, speed=2.0)
    exact = reference_solution(vorticity, marker, viscosity, viscosity / 2, horizon)

    def error(order, count):
        with jax.enable_x64(True):
            final = integrate(vorticity, viscosity, horizon / count, count, order, marker, viscosity / 2)
        return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in zip(final, exact))

    errors = [[error(order, count) for count in num_steps] for order in orders]
    return xr.DataArray(errors, {"order": list(orders), "num_steps": list(num_steps)}, ["order", "num_steps"])


def taylor_green_error(
    num_points: int = 32, viscosity: float = 0.02, dt: float = 0.08, num_steps: int = 30
) -> float:
    """Largest error of the vortex array w = 2 cos x cos y exp(-2 nu t), a solution in closed form.

    Relative to its largest value.
    """
    angle = 2 * np.pi * np.arange(num_points) / num_points
    initial = 2 * np.cos(angle)[:, None] * np.cos(angle)
    decay = math.exp(-2 * viscosity * dt * num_steps)
    with jax.enable_x64(True):
        final = integrate(initial, viscosity, dt, num_steps)
    return float(np.abs(np.asarray(final) - decay * initial).max() / (2 * decay))


def inviscid_changes(num_steps=(50, 100, 200), horizon: float = 2.0, num_points: int = 32) -> xr.Dataset:
    """Relative changes of energy, enstrophy and marker mass without viscosity.

    The first two vanish as dt goes to zero.
    """
    fields = uneven_fields(num_points, speed=2.0)

    def sums(w, c):
        return np.array([jnp.sum(jnp.square(velocity(w))), jnp.sum(jnp.square(w)), jnp.sum(c)])

    with jax.enable_x64(True):
        final = [integrate(fields[0], 0.0, horizon / n, n, 4, fields[1], 0.0) for n in num_steps]
        changes = np.abs([sums(*after) / sums(*fields) - 1.0 for after in final])
    names = ("energy", "enstrophy", "marker_mass")
    columns = {name: ("num_steps", column) for name, column in zip(names, changes.T)}
    return xr.Dataset(columns, {"num_steps": list(num_steps)})


def divergence(num_points: int = 32, seed: int = 1) -> float:
    """Largest |du/dx + dv/dy| relative to the largest |dv/dx|,
    with derivatives by complex Fourier transforms."""
    with jax.enable_x64(True):
        u, v = (np.fft.fft2(np.asarray(part)) for part in velocity(uneven_fields(num_points, seed=seed)[0]))
    k = np.fft.fftfreq(num_points, 1 / num_points)
    total = np.fft.ifft2(1j * k[:, None] * u + 1j * k * v).real
    return float(np.abs(total).max() / np.abs(np.fft.ifft2(1j * k[:, None] * v).real).max())


def gradient_errors(num_problems: int = 16, seed: int = 5, step: float = 1e-4, **settings) -> np.ndarray:
    """Largest difference of gradient and central difference of the loss, relative to the largest component.

    The difference is of fourth order in the step, so that neither truncation nor round-off hides an error.

    Returns:
        errors, shape (num_problems,).
    """
    with jax.enable_x64(True):
        problem = navier_stokes(**settings)
        x, y = _draws(problem, num_problems, seed)
        loss = jax.vmap(problem.objective, (0, None, 0))
        gradient = jax.jit(jax.vmap(jax.grad(problem.objective), (0, None, 0)))(x, None, y)
        shifts = step * jnp.array([-2.0, -1.0, 1.0, 2.0])[:, None, None] * jnp.eye(4)
        # (4 multiples, 4 directions, num_problems)
        values = jax.jit(jax.vmap(jax.vmap(lambda shift: loss(x + shift, None, y))))(shifts)
        central = jnp.einsum("m,mdn->nd", jnp.array([1.0, -8.0, 8.0, -1.0]) / (12 * step), values)
        return np.asarray(jnp.max(jnp.abs(gradient - central), axis=1) / jnp.max(jnp.abs(gradient), axis=1))


def _draws(problem, count: int, seed: int):
    """Trial points and targets from the prior, float64: loss and gradient there are far from zero."""
    keys = jax.random.split(jax.random.key(seed), (2, count))
    x, x_true = (jax.vmap(problem.sample_x)(k).astype(jnp.float64) for k in keys)
    return x, jax.jit(jax.vmap(lambda z: problem.simulate(z, None)))(x_true)


def single_precision_errors(num_problems: int = 64, seed: int = 6) -> xr.Dataset:
    """float32 against float64 on draws from the prior:
    output, loss and gradient, relative to their largest values."""
    with jax.enable_x64(True):
        problem = navier_stokes()
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
        return "problem", np.abs(a - b).max(1) / np.abs(b).max(1)

    return xr.Dataset(dict(zip(("output", "loss", "gradient"), map(error, single, exact))))


def resolution_errors(
    num_points=(32, 48, 64), reference: int = 96, num_problems: int = 16, seed: int = 7
) -> xr.DataArray:
    """Root mean square error of the vorticity at T against a finer grid, relative to it,
    on draws from the prior.

    All grids take the steps that the finest one needs, so that they differ in space only.

    Returns:
        errors, shape (N, problem).
    """
    problem = navier_stokes()
    settings, k_max = problem.settings, lambda count: basis(count).wavenumber.max()
    finer = k_max(reference) / k_max(settings["num_points"])
    num_steps = math.ceil(settings["horizon"] / settings["dt"] * finer)
    start = [settings[name] for name in ("shear", "puff_width", "force_limit")]
    time = (settings["horizon"] / num_steps, num_steps, settings["order"])
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), num_problems)
        x = jax.vmap(problem.sample_x)(keys).astype(jnp.float64)

        def modes(count):
            advance, _ = integrator(count, (settings["viscosity"],), *time)
            run = jax.vmap(lambda z: synthesize(advance(_initial(z, count, *start)[:1])[0], count))
            return spectrum(jax.jit(run)(x), 2)

        fine, *coarse = map(modes, (reference, *num_points))
    errors = [relative(difference_of_spectra(fine, part, 2), fine, axis=(1, 2)) for part in coarse]
    return xr.DataArray(errors, {"num_points": list(num_points)}, ["num_points", "problem"])
