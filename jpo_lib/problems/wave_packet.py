"""Wave packet localization: many local minima.

A noisy signal holds one wave packet; find its centre t0. The loss oscillates in t0 with the carrier wave, so
that a descent method from a random start ends in one of about twenty local minima.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jpo_lib._checks import check_integer, check_not_negative, check_positive
from jpo_lib.networks.energy_centroid import EnergyCentroid1D
from jpo_lib.problem import InverseProblem, Recommended, Starts
from jpo_lib.problems._forward_cost import forward_cost


@functools.lru_cache(maxsize=32)
def wave_packet(
    *,
    amplitude: float = 1.0,
    width: float = 3.0,
    window: float = 64.0,
    num_points: int = 256,
    noise: float = 0.1,
    prior_lower: float | None = None,
    prior_upper: float | None = None,
) -> InverseProblem:
    """u(t) = A sin(t - t0) exp(-((t - t0) / w)^2),  y = u(t_j; t0*) + noise,  L = 1/2 sum_j (u(t_j; t0) -
    y_j)^2.

    The unknown is x = (t0,), drawn uniformly from [prior_lower, prior_upper]; starting points come from the
    same distribution. A problem is solved when its loss is below 1.05 times the loss at the true t0.

    Arguments:
        amplitude: A, dimensionless.
        width: w, width of the envelope, in radians of the carrier wave (one period is 2 pi).
        window: length T of the observed interval [0, T), radians.
        num_points: number of samples t_j = j T / num_points; even, because the network reads every second
            one.
        noise: standard deviation of the Gaussian noise on each sample, dimensionless.
        prior_lower, prior_upper: range of t0, radians; a quarter and three quarters of the window by default.
    Raises:
        ValueError: if a setting is out of range.

    Source: Holl & Thuerey (2024), arXiv 2408.08119, Figure 3. The settings are the companion's own.
    """
    settings = dict(locals())
    check_positive(amplitude=amplitude, width=width, window=window)
    check_integer("num_points", num_points, minimum=16, divisor=2)
    check_not_negative(noise=noise)
    if window / num_points > 1.0:
        least = f"at least {int(window) + 1} samples, six per period"
        raise ValueError(f"num_points: expected {least}, got {num_points}; take more.")
    lower = window / 4 if prior_lower is None else prior_lower
    upper = 3 * window / 4 if prior_upper is None else prior_upper
    if not 0 <= lower < upper <= window:
        order = f"0 <= lower < upper <= {window}"
        raise ValueError(f"prior_lower, prior_upper: expected {order}, got {lower} and {upper}; change them.")

    def simulate(x, context=None):
        del context
        phase = jnp.arange(num_points, dtype=x.dtype) * (window / num_points) - x[0]
        return amplitude * jnp.sin(phase) * jnp.exp(-jnp.square(phase / width))

    def loss(output, y):
        return 0.5 * jnp.sum(jnp.square(output - y))

    def classical_start(y, context=None):
        """The time at which half of the signal's energy has passed: what a signal engineer would try
        first."""
        del context
        energy = jnp.cumsum(jnp.square(y))
        return (jnp.argmax(energy >= 0.5 * energy[-1]) * (window / num_points)).astype(y.dtype)[None]

    return InverseProblem(
        name="wave_packet",
        dimension=1,
        simulate=simulate,
        loss=loss,
        sample_x=lambda key: jax.random.uniform(key, (1,), minval=lower, maxval=upper),
        forward_cost=forward_cost("wave_packet"),
        residuals=lambda x, output, y: output - y,
        observe=lambda key, output: output + noise * jax.random.normal(key, output.shape, output.dtype),
        threshold=lambda output, y: 1.05 * loss(output, y) + 1e-6 * num_points * amplitude**2,
        bounds=((lower,), (upper,)),
        starts=Starts(classical=classical_start),
        recommended=Recommended(
            network=lambda key, **changes: EnergyCentroid1D(
                key, num_points=num_points, extent=window, **changes
            ),
            solvers={
                "JointOptimization": {"learning_rate": 1e-3, "num_steps": 400},
                "GradientDescent": {"learning_rate": 0.05},
                "Adam": {"learning_rate": 0.3},
            },
        ),
        settings={**settings, "prior_lower": lower, "prior_upper": upper},
    )
