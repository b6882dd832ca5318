"""Measurements of the wave packet."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jpo_book.verification.measures import central_differences
from jpo_lib.problems.wave_packet import wave_packet


def gradient_errors(num_points: int = 254, step: float = 1e-5) -> np.ndarray:
    """Difference of gradient and central difference of the loss over the prior,
    relative to the largest gradient.

    Arguments:
        num_points: samples of the signal; a number that no other page uses,
            because cached programs keep their precision.
        step: of the central difference, radians.
    Returns:
        errors, shape (57,), float64.
    """
    with jax.enable_x64(True):
        problem = wave_packet(num_points=num_points)
        y = problem.simulate(jnp.array([31.7]), None)
        x = jnp.linspace(18.0, 46.0, 57)[:, None]
        gradient = np.asarray(jax.jit(jax.vmap(jax.grad(problem.objective), (0, None, None)))(x, None, y))
        value = jax.jit(jax.vmap(problem.objective, (0, None, None)))
        central = central_differences(lambda x: value(x, None, y), x, step)
    assert gradient.dtype == np.float64
    return (np.abs(gradient - central) / np.abs(gradient).max())[:, 0]
