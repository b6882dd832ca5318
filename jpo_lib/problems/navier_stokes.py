"""Incompressible flow: where was the fluid pushed, how hard, and in which direction?

A puff of momentum moves through a shear flow and rolls up into a pair of vortices. We see the vorticity some
time later. The solver, with its public functions `integrate`, `velocity` and `cfl_number`, is
`jpo_lib.problems._vorticity`.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_choice, check_integer, check_not_negative, check_positive
from jpo_lib.networks.centred_flow import CentredFlow
from jpo_lib.problem import Execution, InverseProblem, Recommended, Starts
from jpo_lib.problems._forward_cost import forward_cost
from jpo_lib.problems._vorticity import (
    STABILITY_LIMIT,
    basis,
    cfl_number,
    integrate,
    integrator,
    synthesize,
    velocity,
)

__all__ = ["STABILITY_LIMIT", "cfl_number", "evolution", "integrate", "navier_stokes", "velocity"]

LARGEST_DT = 0.08
SOLVED = 1e-3


def _puff(position, width: float, num_points: int):
    """Coefficients of dg/dx and dg/dy (M, M) for a periodic Gaussian g of this width with peak 1 at
    `position` (2,)."""
    k = jnp.asarray(basis(num_points).wavenumber, position.dtype)
    spectrum, is_sine = _spectrum(width, num_points)
    spectrum, phase = jnp.asarray(spectrum, position.dtype), position[:, None] * k
    values = spectrum * jnp.where(is_sine, jnp.sin(phase), jnp.cos(phase))
    slopes = spectrum * k * jnp.where(is_sine, -jnp.cos(phase), jnp.sin(phase))
    return slopes[0][:, None] * values[1], values[0][:, None] * slopes[1]


def _spectrum(width: float, num_points: int):
    """Coefficients (M,) of the periodic Gaussian in one direction when it sits at 0, and which functions are
    sines."""
    k = basis(num_points).wavenumber
    is_sine = np.arange(k.size) > k.size // 2
    height = np.where(k == 0, 1.0, 2.0) * (width / math.sqrt(2 * math.pi))
    return height * np.exp(-0.5 * (k * width) ** 2), is_sine


def largest_speed(shear: float, force: float, width: float, num_points: int) -> float:
    """Bound of |u| + |v| at the start, over all positions and directions of a force of this size, length /
    time."""
    b = basis(num_points)
    spectrum, is_sine = _spectrum(width, num_points)
    # Cosines; their slopes are sines.
    values, slopes = np.where(is_sine, 0.0, spectrum), np.where(is_sine, -b.wavenumber * spectrum, 0.0)

    def flow(vorticity):
        stream = vorticity * b.inverse_laplacian
        return b.values @ stream @ b.slopes.T, -(b.slopes @ stream @ b.values.T)

    # The flows of the forces (1, 0) and (0, 1) at the origin.
    (u_1, v_1), (u_2, v_2) = flow(-np.outer(values, slopes)), flow(np.outer(slopes, values))
    # |u| + |v| is the larger of |u + v| and |u - v|; both are linear in the force, so its best direction is
    # known.
    return abs(shear) + force * float(max(np.hypot(u_1 + s * v_1, u_2 + s * v_2).max() for s in (1, -1)))


def _shear(num_points: int) -> np.ndarray:
    """Coefficients of -cos y, the vorticity of the flow (sin y, 0)."""
    coefficients = np.zeros_like(basis(num_points).squared_wavenumber)
    coefficients[0, 1] = -1.0
    return coefficients


def _initial(x, num_points: int, shear: float, puff_width: float, force_limit: float):
    """Coefficients of vorticity and marker at t = 0, shape (2, M, M), from the unknowns x (4,)."""
    force = force_limit * x[2:] / jnp.sqrt(1.0 + jnp.sum(jnp.square(x[2:])))
    x_slope, y_slope = _puff(jnp.pi * (1.0 + x[:2]), puff_width, num_points)
    vorticity = force[1] * x_slope - force[0] * y_slope + shear * jnp.asarray(_shear(num_points), x.dtype)
    marker = np.zeros_like(_shear(num_points))
    marker[0, 0] = marker[1, 1] = 1.0
    return jnp.stack([vorticity, jnp.asarray(marker, x.dtype)])


def evolution(problem: InverseProblem, x, num_frames: int = 25):
    """The flow at evenly spaced times from 0 to T, for pictures.

    Arguments:
        problem: from `navier_stokes`.
        x: unknowns of one problem, shape (4,).
        num_frames: number of times, at least 2.
    Returns:
        times (num_frames,), vorticity and marker (num_frames, N, N), x first; the vorticity with that of the
        shear.
    Raises:
        ValueError: if num_frames is too small.
    """
    check_integer("num_frames", num_frames, 2)
    s = problem.settings
    steps = math.ceil(s["horizon"] / s["dt"] / (num_frames - 1) - 1e-9)
    dt, diffusion = s["horizon"] / (num_frames - 1) / steps, (s["viscosity"], s["diffusivity"])
    advance, _ = integrator(s["num_points"], diffusion, dt, steps, s["order"])

    @jax.jit
    def frames(x):
        start = _initial(x, s["num_points"], s["shear"], s["puff_width"], s["force_limit"])
        later = jax.lax.scan(lambda a, _: (advance(a),) * 2, start, None, length=num_frames - 1)[1]
        return jax.vmap(jax.vmap(lambda a: synthesize(a, s["num_points"])))(
            jnp.concatenate([start[None], later])
        )

    fields = np.asarray(frames(jnp.asarray(x)))
    return np.linspace(0.0, s["horizon"], num_frames), fields[:, 0], fields[:, 1]


@functools.lru_cache(maxsize=32, typed=True)
def navier_stokes(
    *,
    num_points: int = 32,
    viscosity: float = 0.02,
    horizon: float = 2.4,
    dt: float | None = None,
    order: int = 4,
    shear: float = 1.0,
    puff_width: float = 0.35,
    force_lower: float = 0.4,
    force_upper: float = 2.0,
    force_limit: float = 3.2,
    target: str = "vorticity",
    diffusivity: float | None = None,
) -> InverseProblem:
    """Velocity at t = 0: S (sin y, 0) + P[F g(x - x0)];  y = w(T) - S exp(-nu T) (-cos y);  L = mean (w -
    y)^2 / m.

    A Gaussian puff g of peak 1 pushes the background shear with the momentum F at the point x0; P removes the
    divergence. The unknown is z in R^4: x0 = pi (1 + (z_1, z_2)), periodic, and F = F_max (z_3, z_4) / sqrt(1
    + |(z_3, z_4)|^2). Prior: x0 uniform over the box, |F| uniform in [force_lower, force_upper], its angle
    uniform; starting points come from the same distribution. m is the mean of y^2 over the prior. A problem
    is solved when L < 1e-3. In float32, output, loss and gradient differ from those in float64 by less than
    1e-5, relative, over the prior.

    Arguments:
        num_points: N, grid points per direction, even; modes up to floor((N - 1) / 3) are kept.
        viscosity: nu, length^2 / time; the box has the length 2 pi.
        horizon: T, time at which the flow is seen.
        dt: largest time step; T is divided into equal ones. When None 0.08, or less where stability requires
            it.
        order: 2 or 4, of the exponential Runge-Kutta scheme.
        shear: S, speed of the background flow, length / time; 0 for none.
        puff_width: standard deviation of g, length.
        force_lower, force_upper: range of |F| in the prior, length / time.
        force_limit: F_max, the largest |F| that the unknowns can express, length / time.
        target: "vorticity", or "marker": the marker c at time T, which starts as 1 + cos x cos y.
        diffusivity: of the marker, length^2 / time; the viscosity when None.
    Raises:
        ValueError: if a setting is out of range, or the time step is not stable for every F that can be
        expressed.

    Source: Holl & Thuerey (2024), arXiv 2408.08119, Figure 6. The settings are the companion's own.
    """
    settings = dict(locals())
    check_positive(viscosity=viscosity, horizon=horizon, puff_width=puff_width, force_lower=force_lower)
    check_integer("num_points", num_points, minimum=8, divisor=2)
    check_choice("order", order, STABILITY_LIMIT)
    check_choice("target", target, ("vorticity", "marker"))
    if not abs(shear) < math.inf:
        raise ValueError(f"shear: expected a finite number, got {shear!r}; pass a speed.")
    if not force_lower < force_upper < force_limit < math.inf:
        raise ValueError(
            "force_lower, force_upper, force_limit: expected them to rise and be finite, "
            f"got {force_lower}, {force_upper} and {force_limit}; change the range."
        )
    check_not_negative(diffusivity=viscosity if diffusivity is None else diffusivity)
    diffusivity = viscosity if diffusivity is None or target == "vorticity" else diffusivity
    k_max = (num_points - 1) // 3
    needed = math.sqrt(2 * math.log(10)) / puff_width  # there the puff's spectrum has fallen to a tenth
    if k_max < needed or puff_width > 1.5:
        least = 2 * math.ceil((3 * needed + 1) / 2)
        raise ValueError(
            f"num_points, puff_width: expected at least {least} points and a width of at most 1.5, "
            f"got {num_points} and {puff_width}; the grid must resolve the puff and the box hold it."
        )
    speed = largest_speed(shear, force_limit, puff_width, num_points)
    stable = STABILITY_LIMIT[order] / (k_max * speed)
    num_steps = math.ceil(horizon / min(LARGEST_DT, stable) - 1e-9)
    if dt is not None:
        check_positive(dt=dt)
        num_steps = math.ceil(horizon / dt - 1e-9)
        if horizon / num_steps > stable:
            limit = f"at most {stable:.3g} for {num_points} points and speeds up to {speed:.3g}"
            raise ValueError(f"dt: expected {limit}, got {dt:g}; take a smaller one or None.")
    if num_steps > 100_000:
        raise ValueError(f"dt, horizon: expected at most 100000 steps, got {num_steps}; shorten the horizon.")

    diffusion = (float(viscosity),) if target == "vorticity" else (float(viscosity), float(diffusivity))
    advance, _ = integrator(num_points, diffusion, horizon / num_steps, num_steps, order)
    shear_vorticity = shear * math.exp(-viscosity * horizon) * _shear(num_points)

    def simulate(x, context=None):
        del context
        final = advance(_initial(x, num_points, shear, puff_width, force_limit)[: len(diffusion)])
        seen = final[1] if target == "marker" else final[0] - jnp.asarray(shear_vorticity, x.dtype)
        return synthesize(seen, num_points)

    def sample_x(key):
        key_position, key_force, key_angle = jax.random.split(key, 3)
        position = jax.random.uniform(key_position, (2,), minval=-1.0, maxval=1.0)
        force = jax.random.uniform(key_force, (), minval=force_lower, maxval=force_upper)
        angle = jax.random.uniform(key_angle, (), maxval=2 * jnp.pi)
        length = force / jnp.sqrt(force_limit**2 - force**2)
        return jnp.concatenate([position, length * jnp.stack([jnp.cos(angle), jnp.sin(angle)])])

    def classical_start(y, context=None):
        """What a fluid dynamicist would try first: the centre of y^2, carried back by the shear, and the
        impulse of y.

        The impulse, the first moment of vorticity, is the momentum of a flow; the shear leaves its x
        component alone.
        """
        del context
        angle = jnp.arange(num_points, dtype=y.dtype) * (2 * math.pi / num_points)
        along_x, along_y = jnp.sum(jnp.square(y), axis=1), jnp.sum(jnp.square(y), axis=0)
        x_centre, y_centre = (
            jnp.arctan2(part @ jnp.sin(angle), part @ jnp.cos(angle)) for part in (along_x, along_y)
        )
        impulse = jnp.stack(
            [jnp.sum(y, axis=0) @ jnp.sin(angle - y_centre), -jnp.sum(y, axis=1) @ jnp.sin(angle - x_centre)]
        )
        force = impulse * (2 * math.pi / num_points**2 / puff_width**2)
        force = force * jnp.minimum(1.0, force_upper / jnp.maximum(jnp.linalg.norm(force), 1e-6))
        position = jnp.stack([x_centre - shear * horizon * jnp.sin(y_centre), y_centre]) / math.pi - 1.0
        unlimited = force / jnp.sqrt(force_limit**2 - jnp.sum(jnp.square(force)))
        return jnp.concatenate([jnp.mod(position + 1.0, 2.0) - 1.0, unlimited])

    scale = _mean_square(simulate, sample_x)
    largest = force_upper / math.sqrt(force_limit**2 - force_upper**2)
    return InverseProblem(
        name="navier_stokes",
        dimension=4,
        simulate=simulate,
        loss=lambda output, y: jnp.mean(jnp.square(output - y)) / scale,
        forward_cost=forward_cost("navier_stokes"),
        residuals=lambda x, output, y: (output - y).ravel() * math.sqrt(2 / (scale * num_points**2)),
        sample_x=sample_x,
        threshold=lambda output, y: jnp.full((), SOLVED, y.dtype),
        bounds=((-1.0, -1.0, -largest, -largest), (1.0, 1.0, largest, largest)),
        periods=(2.0, 2.0, math.inf, math.inf),
        starts=Starts(classical=classical_start if target == "vorticity" else None),
        recommended=Recommended(
            network=lambda key, **changes: CentredFlow(key, spread=math.sqrt(scale), **changes),
            solvers={
                "JointOptimization": {
                    "learning_rate": 1e-2,
                    "final_rate": 0.02,
                    "num_steps": 125,
                    "batch_size": 32,
                    "clip_problem": 0.1,
                    "clip_global": 1.0,
                },
                "GradientDescent": {"learning_rate": 0.03, "max_evaluations": 100},
                "Adam": {"learning_rate": 0.3, "max_evaluations": 100},
                "MultiStart": {"max_evaluations": 270},
            },
        ),
        # The arrays of a block stay in the caches.
        execution=Execution(block_size=max(1, 16 * 32**2 // num_points**2)),
        settings={**settings, "dt": horizon / num_steps, "diffusivity": diffusivity, "mean_square": scale},
    )


def _mean_square(simulate, sample_x, num_samples: int = 256) -> float:
    """m, the mean of y^2 over the prior, from draws that are the same on every device and in every
    precision."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(20_240_808), num_samples)
        flows = jax.vmap(lambda key: simulate(sample_x(key)))
        value = float(jax.jit(lambda keys: jnp.mean(jnp.square(flows(keys))))(keys))
    if not 0 < value < math.inf:
        raise ValueError(f"dt: expected finite flows over the prior, got {value} as mean of y^2; reduce dt.")
    return value
