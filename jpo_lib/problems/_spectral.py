"""What the pseudo-spectral simulators share: exponential time differencing for stiff linear terms.

    du/dt = L u + N(u)

for Fourier coefficients u, with a diagonal linear operator L that is integrated exactly and a nonlinear term
N that is evaluated in real space by the caller. The coefficients are computed once, in float64, by means of a
contour integral, since their closed forms cancel for small |L dt|; the arithmetic of a step then has the
precision of the state.

Source: Cox & Matthews (2002), doi:10.1006/jcph.2002.6995; Kassam & Trefethen (2005),
    doi:10.1137/S1064827502410633.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_choice

CONTOUR_POINTS = 64


class ETDRK(NamedTuple):
    """Coefficients of one step. `stages` is empty for order 2."""

    order: int
    decay: np.ndarray
    decay_half: np.ndarray
    stages: tuple[np.ndarray, ...]


def etdrk(linear: np.ndarray, dt: float, order: int) -> ETDRK:
    """Coefficients of exponential time differencing with Runge-Kutta stages.

    Arguments:
        linear: L, the eigenvalues of the linear operator, real, 1 / time.
        dt: time step, time.
        order: 2 or 4.
    Raises:
        ValueError: if the order is another one.
    """
    check_choice("order", order, (2, 4))
    z = np.asarray(linear, np.float64) * dt
    circle = np.exp(2j * np.pi * (np.arange(CONTOUR_POINTS) + 0.5) / CONTOUR_POINTS)
    r = z[..., None] + circle

    def mean(values):
        return dt * np.mean(values, axis=-1).real

    decay, decay_half = np.exp(z), np.exp(z / 2)
    if order == 2:
        return ETDRK(2, decay, decay_half, (mean((np.exp(r) - 1) / r), mean((np.exp(r) - 1 - r) / r**2)))
    stages = (
        mean((np.exp(r / 2) - 1) / r),
        mean((-4 - r + np.exp(r) * (4 - 3 * r + r**2)) / r**3),
        mean((2 + r + np.exp(r) * (r - 2)) / r**3),
        mean((-4 - 3 * r - r**2 + np.exp(r) * (4 - r)) / r**3),
    )
    return ETDRK(4, decay, decay_half, stages)


def etdrk_step(coefficients: ETDRK, u, nonlinear: Callable):
    """One step: Fourier coefficients u at time t -> at t + dt. N must not depend on time.

    u is one array, or a tuple of arrays that belong to the rows of L.
    """
    dtype = jax.tree.leaves(u)[0].dtype

    def like_u(values):
        many = isinstance(u, tuple)
        return tuple(jnp.asarray(row, dtype) for row in values) if many else jnp.asarray(values, dtype)

    _, decay, decay_half, stages = coefficients
    decay, decay_half, *stages = map(like_u, (decay, decay_half, *stages))
    combine = jax.tree.map
    n_u = nonlinear(u)
    if coefficients.order == 2:
        first, second = stages
        a = combine(lambda e, f, u, n: e * u + f * n, decay, first, u, n_u)
        return combine(lambda f, a, n_a, n_u: a + f * (n_a - n_u), second, a, nonlinear(a), n_u)
    q, f1, f2, f3 = stages
    a = combine(lambda e, q, u, n: e * u + q * n, decay_half, q, u, n_u)
    n_a = nonlinear(a)
    b = combine(lambda e, q, u, n: e * u + q * n, decay_half, q, u, n_a)
    n_b = nonlinear(b)
    c = combine(lambda e, q, a, n_b, n_u: e * a + q * (2 * n_b - n_u), decay_half, q, a, n_b, n_u)
    n_c = nonlinear(c)

    def last(e, f1, f2, f3, u, n_u, n_a, n_b, n_c):
        return e * u + f1 * n_u + 2 * f2 * (n_a + n_b) + f3 * n_c

    return combine(last, decay, f1, f2, f3, u, n_u, n_a, n_b, n_c)
