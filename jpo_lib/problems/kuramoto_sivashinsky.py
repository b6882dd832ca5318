"""Kuramoto–Sivashinsky: two unknown parameters of a chaotic equation.

A pattern on a ring grows, saturates and wanders chaotically. Known are the first state and the last one;
unknown are the strength of a standing forcing and that of the nonlinear term. The longer the motion, the more
often the loss goes up and down in the unknowns.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero

from jpo_lib._checks import check_array, check_choice, check_integer, check_positive, check_steps
from jpo_lib.networks.kuramoto_sivashinsky import FORCING_MODE, RingEncoder
from jpo_lib.problem import Execution, InverseProblem, Recommended, Starts
from jpo_lib.problems._forward_cost import forward_cost
from jpo_lib.problems._spectral import ETDRK, etdrk, etdrk_step

NUM_INITIAL_MODES = 8
LARGEST_DT = {2: 0.125, 4: 0.25}  # every problem of the prior box stays finite with twice these steps
LARGEST_HORIZON = 200.0
FLOAT32_HORIZON = 30.0  # beyond it chaos amplifies the round-off of float32 until gradients are wrong


def kept_modes(num_points: int) -> int:
    """Largest m such that products of two functions with modes -m..m have no aliases there: 3 m <
    num_points."""
    return (num_points - 1) // 3


def default_forcing(num_points: int) -> np.ndarray:
    """G(x_j) = cos(2 pi 4 x_j / L) on the grid x_j = j L / num_points, shape (num_points,), dimensionless."""
    return np.cos(2 * np.pi * FORCING_MODE * np.arange(num_points) / num_points)


class Discretization(NamedTuple):
    """A state as four groups of coefficients: cosines and sines, of even and of odd modes, each with its own
    mirror symmetries.

    On a grid that is shifted by half a cell, the values of a group on a quarter of the ring determine the
    others: cosines are even about x = 0 and sines odd; about x = L / 4 even modes keep the one symmetry and
    odd modes take the other. To change between coefficients and grid then takes four products with small
    matrices, which is a quarter of the work of the full ones and on a CPU about half the time of fast Fourier
    transforms. Each group is filled with empty modes to a multiple of 8 numbers, the length of a vector of
    the processor.
    """

    synthesis: np.ndarray  # (4, modes, quarter): functions at the quarter of the shifted grid
    # (4, quarter, modes): u^2 / 2 there, in the symmetry of the derivative -> coefficients of -(u^2 / 2)_x
    derivative: np.ndarray
    to_grid: np.ndarray  # (4, modes, num_points): functions at the points x_j of the user
    from_grid: np.ndarray  # (4, num_points, modes)
    step: ETDRK


@functools.lru_cache(maxsize=64)
def _discretization(num_points: int, domain_extent: float, dt: float, order: int) -> Discretization:
    largest = kept_modes(num_points)
    quarter = -(-(3 * largest + 1) // 4)
    even = 2 * np.arange(-(-(largest // 2 + 1) // 8) * 8)
    mode = np.array([even, even + 1, even, even + 1])
    kept, mode = (mode <= largest)[..., None], np.where(mode <= largest, mode, 0)
    k = 2 * np.pi / domain_extent * mode

    def functions(numerators, denominator):
        """cos (groups 0, 1) or sin (2, 3) of m x at x = 2 pi numerators / denominator; whole numbers are
        reduced first, to be exact."""
        angle = 2 * np.pi / denominator * (mode[..., None] * numerators % denominator)
        return kept * np.concatenate([np.cos(angle[:2]), np.sin(angle[2:])])

    synthesis = functions(2 * np.arange(quarter) + 1, 8 * quarter)
    # Partial integration moves the derivative to the functions: -(cos)' = k sin and -(sin)' = -k cos. Groups
    # change places.
    sign = np.array([-1.0, -1.0, 1.0, 1.0])[:, None, None]
    derivative = (
        sign * np.swapaxes(synthesis[[2, 3, 0, 1]] * k[[2, 3, 0, 1]][..., None], 1, 2) * (2 / quarter)
    )
    to_grid = functions(np.arange(num_points), num_points)
    from_grid = np.swapaxes(to_grid, 1, 2) * (np.where(mode == 0, 1, 2) / num_points)[:, None, :]
    return Discretization(synthesis, derivative, to_grid, from_grid, etdrk(k**2 - k**4, dt, order))


def _products(groups, matrices):
    return tuple(
        jnp.matmul(part, jnp.asarray(matrix, part.dtype), precision="highest")
        for part, matrix in zip(groups, matrices, strict=True)
    )


def _check_grid(num_points, domain_extent, dt, horizon, order) -> int:
    """Refuse settings that cannot be simulated. Returns the number of time steps."""
    check_positive(domain_extent=domain_extent, dt=dt, horizon=horizon)
    check_choice("order", order, LARGEST_DT)
    check_integer("num_points", num_points, minimum=16, divisor=2)
    # Wavenumbers above 1 are damped. Without a range of them, up to 2 at least, the motion has no sink and
    # blows up.
    least = 3 * int(np.ceil(2.0 * domain_extent / (2 * np.pi))) + 1
    least += least % 2
    if num_points < least:
        needed = f"at least {least} to resolve the wavenumbers that damp the motion"
        raise ValueError(f"num_points: expected {needed}, got {num_points}; take more.")
    if dt > LARGEST_DT[order]:
        most = f"at most {LARGEST_DT[order]} for order {order}"
        raise ValueError(f"dt: expected {most}, got {dt:g}; take smaller steps.")
    if horizon > LARGEST_HORIZON:
        raise ValueError(f"horizon: expected at most {LARGEST_HORIZON:g}, got {horizon:g}; shorten it.")
    return check_steps("horizon", horizon, dt)


def _states(u0, alpha, beta, forcing, discretization: Discretization, num_steps: int, every_state: bool):
    """u(x_j) after the last step, or after each step with the first state in front."""
    d = discretization
    start = _products((u0,) * 4, d.from_grid)
    drive = tuple(alpha * part for part in _products((jnp.asarray(forcing, u0.dtype),) * 4, d.from_grid))

    def nonlinear(v):
        """F[-beta u u_x + alpha G], with u u_x = (u^2 / 2)_x; the forcing is constant in time and belongs
        here."""
        even, odd, sine_even, sine_odd = _products(v, d.synthesis)
        halved_square = (  # its four symmetries, each in the place where the derivative is needed
            even * sine_even + odd * sine_odd,
            even * sine_odd + odd * sine_even,
            0.5 * (even * even + odd * odd + sine_even * sine_even + sine_odd * sine_odd),
            even * odd + sine_even * sine_odd,
        )
        slopes = _products(halved_square, d.derivative)
        return tuple(beta * part + constant for part, constant in zip(slopes, drive, strict=True))

    # To recompute a step in the backward pass is faster than to store its stages: they do not fit into the
    # cache.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(v, _):
        new = etdrk_step(d.step, v, nonlinear)
        return new, new if every_state else None

    last, states = jax.lax.scan(step, start, None, length=num_steps)
    if every_state:
        last = jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), start, states)
    return sum(_products(last, d.to_grid))


def integrate(
    u0,
    alpha,
    beta,
    *,
    horizon: float,
    dt: float = 0.25,
    forcing=None,
    domain_extent: float = 64.0,
    order: int = 4,
    every_state: bool = False,
):
    """The state u(T) of u_t = alpha G - u_xx - u_xxxx - beta u u_x on the periodic domain [0, L), from u(0) =
    u0.

    Fourier pseudo-spectral in space: the state is projected on the modes m with 3 |m| < num_points at the
    start, and products are computed free of aliases on them. Exponential time differencing with Runge–Kutta
    stages in time. The arithmetic has the precision of u0; float64 needs JAX's flag, for example
    `jax.enable_x64(True)`.

    Arguments:
        u0: first state at x_j = j L / num_points, shape (num_points,), dimensionless.
        alpha: strength of the forcing, dimensionless.
        beta: strength of the nonlinear term, dimensionless.
        horizon: T, dimensionless time, a multiple of dt and at most 200.
        dt: time step, dimensionless time; at most 0.25 with order 4 and 0.125 with order 2.
        forcing: G(x_j), shape (num_points,), dimensionless; cos(2 pi 4 x / L) when None. Zeros: no forcing.
        domain_extent: L, dimensionless length.
        order: of the time integration, 2 or 4.
        every_state: return what `trajectory` does.
    Returns:
        u(T) on the same grid, shape (num_points,), dimensionless.
    Raises:
        ValueError: if a setting is out of range or a shape does not fit.

    Source: Kuramoto (1978), doi:10.1143/PTPS.64.346; Kassam & Trefethen (2005),
        doi:10.1137/S1064827502410633.
    """
    u0 = jnp.asarray(u0)
    if u0.ndim != 1:
        raise ValueError(f"u0: expected shape (num_points,), got {u0.shape}; batches come from jax.vmap.")
    u0 = u0.astype(jnp.result_type(u0, jnp.float32))
    num_points = u0.shape[0]
    num_steps = _check_grid(num_points, domain_extent, dt, horizon, order)
    forcing = default_forcing(num_points) if forcing is None else forcing
    check_array("forcing", forcing, (num_points,), finite=not isinstance(forcing, Tracer))
    check_array("u0", u0, (num_points,), finite=not isinstance(u0, Tracer))
    discretization = _discretization(num_points, float(domain_extent), float(dt), order)
    return _states(u0, alpha, beta, forcing, discretization, num_steps, every_state)


def trajectory(u0, alpha, beta, **settings) -> Any:
    """All states u(0), u(dt), ..., u(T) of `integrate`, shape (T / dt + 1, num_points). Arguments as there.

    The first row is u0 projected on the modes that are kept.
    """
    return integrate(u0, alpha, beta, every_state=True, **settings)


def coefficients_of(x):
    """alpha = x_1 in [-1, 1] and beta = 1 + x_2 / 2 in [0.5, 1.5], for x in the prior box [-1, 1]^2."""
    return x[0], 1.0 + 0.5 * x[1]


def random_state(key, num_points: int):
    """u0(x) = sum_{m = 1}^{8} a_m cos(2 pi m x / L) + b_m sin(2 pi m x / L), a_m, b_m ~ N(0, 1/8): mean
    square 1."""
    modes = 2 * np.pi * np.outer(np.arange(1, NUM_INITIAL_MODES + 1), np.arange(num_points)) / num_points
    waves = np.concatenate([np.cos(modes), np.sin(modes)])
    amplitude = jax.random.normal(key, (2 * NUM_INITIAL_MODES,)) / np.sqrt(NUM_INITIAL_MODES)
    return amplitude @ jnp.asarray(waves, amplitude.dtype)


def _jacobian_carried_along(run):
    """The function u(T) = run(x, u0) of two unknowns x, whose derivative in x is computed forward, along with
    the motion.

    The two columns of the Jacobian take as much arithmetic as going back through the motion, but there is
    nothing to store and one loop instead of two: less time to run and to compile. A derivative in u0 is the
    one of `integrate`.
    """

    def derivative(primals, tangents):
        if not isinstance(tangents[1], SymbolicZero):
            tangents = [
                jnp.zeros_like(p) if isinstance(t, SymbolicZero) else t for p, t in zip(primals, tangents)
            ]
            return jax.jvp(run, primals, tuple(tangents))
        x, u0 = primals
        columns = functools.partial(jax.jvp, lambda x: run(x, u0), (x,))
        u, jacobian = jax.vmap(columns, out_axes=(None, 1))((jnp.eye(2, dtype=x.dtype),))
        return u, jacobian @ tangents[0]

    simulate = jax.custom_jvp(run)
    simulate.defjvp(derivative, symbolic_zeros=True)
    return simulate


@functools.lru_cache(maxsize=32)
def kuramoto_sivashinsky(
    *,
    horizon: float = 20.0,
    domain_extent: float = 64.0,
    num_points: int = 128,
    dt: float = 0.25,
    order: int = 4,
    float64: bool | None = None,
) -> InverseProblem:
    """u_t = alpha cos(2 pi 4 x / L) - u_xx - u_xxxx - beta u u_x on [0, L), periodic;  y = u(T);  L = mean_j
    (u_j(T) - y_j)^2.

    The unknowns alpha in [-1, 1] and beta in [0.5, 1.5] are scaled to x in [-1, 1]^2, with a uniform prior,
    and the guess is the middle of the box, x = 0; restarts are drawn from the prior. The first state u0 has 8
    random Fourier modes and mean square 1; it is known, and different for each problem. A problem is solved
    when its loss is below a thousandth of the variance of y over the domain.

    Arguments:
        horizon: T, dimensionless time; a multiple of dt, at most 200.
        domain_extent: L, dimensionless length.
        num_points: grid points, a multiple of 16, enough to resolve the wavenumbers up to 2.
        dt: time step, dimensionless time; at most 0.25 with order 4 and 0.125 with order 2.
        order: of the time integration (exponential time differencing Runge–Kutta), 2 or 4.
        float64: precision of data and solvers, whatever JAX's flag; None takes float64 when T > 30, where
            float32 gradients are wrong. At T = 20 final states in float32 are within 2e-4 of float64,
            relative to their norm; gradients typically within 1e-5, and within 1 % where they nearly vanish.
    Raises:
        ValueError: if a setting is out of range, or float32 is asked for with T > 30.

    Source: Holl & Thuerey (2024), arXiv 2408.08119, Figure 5. The settings are the companion's own.
    """
    settings = dict(locals())
    _check_grid(num_points, domain_extent, dt, horizon, order)
    check_integer("num_points", num_points, minimum=16, divisor=16)  # the network needs that
    check_choice("float64", float64, (None, True, False))
    if float64 is False and horizon > FLOAT32_HORIZON:
        raise ValueError(f"float64: expected True for horizon = {horizon:g}, got False; pass True or None.")
    float64 = horizon > FLOAT32_HORIZON if float64 is None else bool(float64)
    scheme = {"horizon": horizon, "dt": dt, "domain_extent": domain_extent, "order": order}

    def run(x, context):
        return integrate(context, *coefficients_of(x), **scheme)

    simulate = _jacobian_carried_along(run)

    def loss(output, y):
        return jnp.mean(jnp.square(output - y))

    def training_loss(output, y):
        """4 mean (u - y)^2 / (mean u^2 + mean y^2): a loss that does not fall when the pattern dies out."""
        return 4.0 * loss(output, y) / (jnp.mean(jnp.square(output)) + jnp.mean(jnp.square(y)))

    return InverseProblem(
        name="kuramoto_sivashinsky",
        dimension=2,
        simulate=simulate,
        loss=loss,
        training_loss=training_loss,
        forward_cost=forward_cost("kuramoto_sivashinsky"),
        residuals=lambda x, output, y: (output - y) * math.sqrt(2 / num_points),
        sample_x=lambda key: jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0),
        sample_context=lambda key: random_state(key, num_points),
        threshold=lambda output, y: 1e-3 * jnp.var(y),
        bounds=((-1.0, -1.0), (1.0, 1.0)),
        starts=Starts(
            first=lambda key: jnp.zeros(2),
            restart=lambda key: jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0),
        ),
        recommended=Recommended(
            network=lambda key, **changes: RingEncoder(key, num_points=num_points, **changes),
            solvers={
                "JointOptimization": {
                    "learning_rate": 1e-2,
                    "final_rate": 0.01,
                    "num_steps": 480,
                    "batch_size": 64,
                    "clip_problem": 1.0,
                    "clip_global": 1.0,
                    "clip_to_bounds": True,
                },
                "MultiStart": {"run_evaluations": 25, "num_starts": 14},
                "GradientDescent": {"learning_rate": 0.03, "max_evaluations": 120},
                "Adam": {"learning_rate": 0.1, "max_evaluations": 240},
            },
            refinement={"max_evaluations": 25, "num_starts": 2},
        ),
        execution=Execution(float64=float64, block_size=64),
        settings={**settings, "float64": float64},
    )
