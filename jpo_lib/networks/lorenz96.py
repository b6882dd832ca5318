"""The network of the Lorenz-96 problem."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.networks.layers import he_normal


class CircularConvolution(eqx.Module):
    """h_j = b + W_{-1} u_{j - 1} + W_0 u_j + W_1 u_{j + 1} on a ring: shape (P, C_in) -> (P, C_out).

    The neighbours come from a product with a constant matrix, which is quick on a CPU in both directions.
    """

    weight: jax.Array
    bias: jax.Array

    def __init__(self, key, in_channels: int, out_channels: int):
        self.weight = 0.5 * he_normal(key, (3 * in_channels, out_channels), 3 * in_channels)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, u):
        places = u.shape[0]
        neighbours = np.stack([np.roll(np.eye(places), shift, axis=1) for shift in (-1, 0, 1)], axis=1)
        seen = jnp.asarray(neighbours.reshape(3 * places, places), u.dtype) @ u
        return seen.reshape(places, -1) @ self.weight + self.bias


class ResidualRing(eqx.Module):
    """x = m + 3 S tanh(W silu(h_D) / 3),  h_{k + 1} = h_k + W_k silu(h_k),  h_0 = W_in (y - m) / S, all W
    circular convolutions.

    A place of the ring is an observed variable with its values at all times as channels; the answer of a
    place is the state of that variable and of the unobserved ones behind it. So a shift of the observations
    by one place shifts the answer by one place, for any weights: the network has the symmetry of the problem.
    The bound of three deviations keeps states in the range in which time steps are stable: without it, twice
    the recommended learning rate sends all answers where nothing is finite, and no gradient leads back.

    Arguments:
        num_times: number of times of observation.
        stride: variables per place.
        middle, spread: m and S, mean and standard deviation of the climate, dimensionless.
        width: channels of the hidden layers.
        depth: D, number of residual layers.
    """

    first: CircularConvolution
    layers: list[CircularConvolution]
    last: CircularConvolution
    middle: float = eqx.field(static=True)
    spread: float = eqx.field(static=True)

    def __init__(
        self,
        key,
        *,
        num_times: int,
        stride: int,
        middle: float,
        spread: float,
        width: int = 64,
        depth: int = 4,
    ):
        first, last, *keys = jax.random.split(key, depth + 2)
        self.first = CircularConvolution(first, num_times, width)
        self.layers = [CircularConvolution(k, width, width) for k in keys]
        self.last = CircularConvolution(last, width, stride)
        self.middle, self.spread = middle, spread

    def __call__(self, y, context=None, identifier=None):
        del context, identifier
        h = self.first((y.T - self.middle) / self.spread)
        for layer in self.layers:
            h = h + layer(jax.nn.silu(h))
        answer = jnp.ravel(self.last(jax.nn.silu(h)))
        return self.middle + 3.0 * self.spread * jnp.tanh(answer / 3.0)
