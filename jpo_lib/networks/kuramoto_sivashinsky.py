"""The network of the Kuramoto–Sivashinsky problem."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jpo_lib.networks.layers import he_normal


class RingConvolution(eqx.Module):
    """h_j = b + sum_{k = -2}^{2} W_k u_{2 j + k} on a ring: shape (M, C_in) -> (M / 2, C_out), M even.

    One matrix product: with the points taken in pairs, output j depends on the pairs j - 1, j and j + 1.
    """

    weight: jax.Array
    bias: jax.Array

    def __init__(self, key, in_channels: int, out_channels: int):
        self.weight = he_normal(key, (5 * in_channels, out_channels), 5 * in_channels)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, u):
        length, channels = u.shape
        pairs = u.reshape(length // 2, 2 * channels)
        after = jnp.roll(pairs, -1, axis=0)[:, :channels]
        return jnp.concatenate([jnp.roll(pairs, 1, axis=0), pairs, after], axis=1) @ self.weight + self.bias


class RingEncoder(eqx.Module):
    """x from the first state u0 and the last state y: four convolutions with stride 2 on the ring, then a dense head.

    A convolution on a ring treats all places alike, as the equation does; the forcing tells places apart, and so
    the head reads where the features are. The last layer starts small: the untrained network answers close to
    the guess x = 0.

    Arguments:
        num_points: of the grid, a multiple of 16.
        width: channels of the convolutions.
        scale: typical size of y, dimensionless.
    """

    convolutions: list[RingConvolution]
    head: list[eqx.nn.Linear]
    scale: float = eqx.field(static=True)

    def __init__(self, key, *, num_points: int, width: int = 32, hidden: int = 128, scale: float = 1.3):
        keys = jax.random.split(key, 7)
        channels = [2, width, width, width, width]
        self.convolutions = [RingConvolution(k, a, b) for k, a, b in zip(keys, channels[:-1], channels[1:])]
        sizes = [num_points // 16 * width, hidden, hidden, 2]
        head = [eqx.nn.Linear(a, b, key=k) for k, a, b in zip(keys[4:], sizes[:-1], sizes[1:])]
        small = lambda leaf: 0.1 * leaf  # noqa: E731
        self.head = [*head[:-1], jax.tree.map(small, head[-1])]
        self.scale = scale

    def __call__(self, y, context, identifier=None):
        del identifier
        h = jnp.stack([y / self.scale, context], axis=1)
        for layer in self.convolutions:
            h = jax.nn.silu(layer(h))
        h = h.ravel()
        for layer in self.head[:-1]:
            h = jax.nn.silu(layer(h))
        return self.head[-1](h)
