"""Decaying flow in a periodic box, 64² points, modes up to 21: mean square distance to a target, gradient in
the first vorticity."""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Side
from jpo_lib.problems.navier_stokes import integrate, velocity

NUM_POINTS, VISCOSITY, DT, SEED = (
    64,
    0.01,
    0.005,
    990,
)  # stable with both schemes, as `cfl_number` says: else round-off grows
LARGEST_MODE = 5


def stream_modes(batch: int, seed: int = SEED):
    """Waves psi = sum a cos(kx x + ky y + phase): amplitudes and phases (batch, K), wavenumbers (K, 2).
    Speeds are about 1."""
    generator = np.random.default_rng(seed)
    k = np.array(
        [
            (kx, ky)
            for kx in range(LARGEST_MODE + 1)
            for ky in range(-LARGEST_MODE, LARGEST_MODE + 1)
            if (kx, ky) > (0, 0)
        ],
        float,
    )
    square = (k**2).sum(axis=1)
    return (
        generator.normal(size=(batch, len(k))) * np.exp(-square / 12) / square,
        generator.uniform(0, 2 * np.pi, (batch, len(k))),
        k,
    )


def vorticity(batch: int, seed: int = SEED) -> np.ndarray:
    """w = -(psi_xx + psi_yy) at the grid points, shape (batch, N, N), x first."""
    amplitudes, phases, k = stream_modes(batch, seed)
    x = 2 * np.pi * np.arange(NUM_POINTS) / NUM_POINTS
    field = np.zeros((batch, NUM_POINTS, NUM_POINTS))
    for j, (kx, ky) in enumerate(k):
        wave = np.cos(kx * x[:, None] + ky * x + phases[:, j, None, None])
        field += amplitudes[:, j, None, None] * (kx**2 + ky**2) * wave
    return field


def targets(batch: int) -> np.ndarray:
    return vorticity(batch, SEED + 1)


def _side(final, batch: int, num_steps: int, sign: float = 1.0, dtype=jnp.float32, text: str = "") -> Side:
    """A side from the function w(0) -> w(T) for one flow.
    `sign` is that of the vorticity in its convention."""

    def objective(w, y):
        end = final(w)
        return jnp.mean(jnp.square(end - y)), end

    begin_fields, y = (jnp.asarray(sign * field, dtype) for field in (vorticity(batch), targets(batch)))
    begin = time.perf_counter()
    program = jax.jit(jax.vmap(jax.value_and_grad(objective, has_aux=True))).lower(begin_fields, y).compile()
    seconds = time.perf_counter() - begin
    (_, end), gradient = program(begin_fields, y)
    return Side(
        lambda: program(begin_fields, y),
        num_steps * batch,
        seconds,
        {"flow": sign * end, "gradient": sign * gradient},
        text,
    )


def ours(batch: int, order: int, num_steps: int) -> Side:
    return _side(
        functools.partial(integrate, viscosity=VISCOSITY, dt=DT, num_steps=num_steps, order=order),
        batch,
        num_steps,
    )


def reference(batch: int, order: int, num_steps: int) -> Side:
    """float64, order 4, an eighth of the time step."""
    del order
    with jax.enable_x64(True):
        final = functools.partial(integrate, viscosity=VISCOSITY, dt=DT / 8, num_steps=8 * num_steps, order=4)
        made = _side(final, batch, num_steps, dtype=jnp.float64)
    made.run = lambda: None
    return made


def exponax_side(batch: int, order: int, num_steps: int) -> Side:
    """Its vorticity has the opposite sign. It keeps modes up to fraction * N / 2 - 1:
    this fraction makes the cut equal."""
    # Installed by `make bench` alone.
    import exponax  # pyright: ignore[reportMissingImports]

    fraction = ((NUM_POINTS - 1) // 3 + 1.5) / (NUM_POINTS / 2)
    stepper = exponax.stepper.NavierStokesVorticity(
        2, 2 * np.pi, NUM_POINTS, DT, diffusivity=VISCOSITY, order=order, dealiasing_fraction=fraction
    )
    repeated = exponax.repeat(stepper, num_steps)
    return _side(lambda w: repeated(w[None])[0], batch, num_steps, sign=-1.0)


def jax_cfd_side(batch: int, order: int, num_steps: int) -> Side:
    """Its spectral solver of the vorticity equation, with its own cut of the modes;
    implicit in the viscosity."""
    del order
    # Installed by `make bench` alone.
    import jax_cfd.base as cfd  # pyright: ignore[reportMissingImports]

    # Installed by `make bench` alone.
    from jax_cfd import spectral  # pyright: ignore[reportMissingImports]

    grid = cfd.grids.Grid((NUM_POINTS, NUM_POINTS), domain=((0, 2 * np.pi), (0, 2 * np.pi)))
    step = spectral.time_stepping.crank_nicolson_rk4(
        spectral.equations.NavierStokes2D(VISCOSITY, grid, smooth=True), DT
    )

    def final(w):
        spectrum = jax.lax.scan(lambda s, _: (step(s), None), jnp.fft.rfftn(w), None, length=num_steps)[0]
        return jnp.fft.irfftn(spectrum)

    return _side(final, batch, num_steps)


def phiflow_side(batch: int, order: int, num_steps: int) -> Side:
    """MacCormack advection, explicit diffusion and a pressure solve on a staggered grid
    of equal size, in float32.

    Importing phi.jax switches JAX to float64. Its grid is moved by half a cell,
    so that its cells lie at our points.
    """
    del order
    if batch != 1:
        raise ValueError(f"batch: expected 1 for PhiFlow, got {batch}; its fields carry no batch here.")
    # Installed by `make bench` alone.
    from phi.jax.flow import PERIODIC, Box, Solve, StaggeredGrid, advect, channel, diffuse, fluid, math, stack  # pyright: ignore[reportMissingImports]

    steps = min(num_steps, 4)  # they are written out in the compiled program
    math.set_global_precision(32)
    half = np.pi / NUM_POINTS

    def start(seed):
        amplitudes, phases, k = stream_modes(1, seed)

        def speeds(location):
            x, y = location.vector["x"] - half, location.vector["y"] - half
            u = v = 0.0
            for a, phase, (kx, ky) in zip(amplitudes[0], phases[0], k):
                sine = math.sin(float(kx) * x + float(ky) * y + float(phase))
                u, v = u - float(a * ky) * sine, v + float(a * kx) * sine
            return stack({"x": u, "y": v}, channel("vector"))

        return StaggeredGrid(
            speeds, PERIODIC, x=NUM_POINTS, y=NUM_POINTS, bounds=Box(x=2 * np.pi, y=2 * np.pi)
        )

    first, target = start(SEED), start(SEED + 1)

    def objective(v):
        for _ in range(steps):
            v = advect.mac_cormack(v, v, DT)
            v = diffuse.explicit(v, VISCOSITY, DT)
            v, _ = fluid.make_incompressible(v, (), Solve("CG", rel_tol=1e-5, abs_tol=1e-5))
        return math.l2_loss((v - target).values), v

    def centred(grid):
        return jnp.moveaxis(grid.at_centers().values.native("x,y,vector"), -1, 0)

    begin = time.perf_counter()
    program = math.jit_compile(math.gradient(objective, wrt="v", get_output=True))
    (_, last), gradient = program(first)
    jax.block_until_ready(centred(gradient))
    seconds = time.perf_counter() - begin

    with jax.enable_x64(True):
        exact = integrate(jnp.asarray(vorticity(1)[0]), VISCOSITY, DT / 8, 8 * steps)
        u = np.asarray(velocity(exact))
    error = float(np.linalg.norm(np.asarray(centred(last)) - u) / np.linalg.norm(u))

    return Side(
        lambda: centred(program(first)[1]),
        steps,
        seconds,
        text=f"relative error of the velocity after {steps} steps {error:.1e}",
        numbers={"velocity": error},
    )
