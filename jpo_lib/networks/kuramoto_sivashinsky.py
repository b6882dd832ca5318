"""The network of the Kuramoto–Sivashinsky problem."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.networks.layers import he_normal

FORCING_MODE = 4


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
    """x from the first state u0 and the last state y: four convolutions with stride 2 on the ring, then a
    dense head.

    The equation with its forcing cos(2 pi 4 x / L) has symmetries: a shift of both states by L / 8 turns
    alpha into -alpha and leaves beta, and so does the reflection u(x) -> -u(-x). The network has them too,
    whatever its weights. The four convolutions leave P = num_points / 16 places; one head reads the ring from
    each of these places, and the answers are averaged, with the signs that the symmetries ask for, over
    places and reflection. A shift by whole places is exact; with 128 points a place is L / 8. So every
    problem teaches the network about sixteen. The last layer starts small: the untrained network answers
    close to the guess x = 0.

    Arguments:
        num_points: of the grid, a multiple of 16.
        width: channels of the convolutions.
        hidden: width of the head.
        scale: typical size of y, dimensionless.
        equivariant: without it, the head reads the ring once, from the first place: a usual convolutional
            network.
    """

    convolutions: list[RingConvolution]
    head: list[eqx.nn.Linear]
    scale: float = eqx.field(static=True)
    equivariant: bool = eqx.field(static=True)

    def __init__(
        self,
        key,
        *,
        num_points: int,
        width: int = 32,
        hidden: int = 64,
        scale: float = 2.0,
        equivariant: bool = True,
    ):
        keys = jax.random.split(key, 7)
        channels = [2, width, width, width, width]
        self.convolutions = [RingConvolution(k, a, b) for k, a, b in zip(keys, channels[:-1], channels[1:])]
        sizes = [num_points // 16 * width, hidden, hidden, 2]
        head = [eqx.nn.Linear(a, b, key=k) for k, a, b in zip(keys[4:], sizes[:-1], sizes[1:])]
        self.head = [*head[:-1], jax.tree.map(lambda leaf: 0.1 * leaf, head[-1])]
        self.scale = scale
        self.equivariant = equivariant

    def features(self, states):
        """(num_points, 2) -> (num_points / 16, width)."""
        for layer in self.convolutions:
            states = jax.nn.silu(layer(states))
        return states

    def answers(self, inputs):
        """The head on each row of the inputs: (rows, values) -> (rows, 2)."""
        for layer in self.head[:-1]:
            inputs = jax.nn.silu(_affine(layer, inputs))
        return _affine(self.head[-1], inputs)

    def __call__(self, y, context, identifier=None):
        del identifier
        states = jnp.stack([y / self.scale, context], axis=1)
        if not self.equivariant:
            return self.answers(self.features(states).reshape(1, -1))[0]
        mirrored = -jnp.roll(states[::-1], 1, axis=0)
        features = jax.vmap(self.features)(jnp.stack([states, mirrored]))
        places = features.shape[1]
        views = jnp.stack(
            [jnp.roll(features, -place, axis=1).reshape(2, -1) for place in range(places)], axis=1
        )
        answers = self.answers(views.reshape(2 * places, -1))
        # The sign of alpha as seen from each place: cos(2 pi 4 x / L) shifted there, and turned around in the
        # mirror.
        sign = np.cos(2 * np.pi * FORCING_MODE * np.arange(places) / places)
        sign = np.concatenate([sign, -sign]) / np.mean(sign**2)
        return jnp.mean(answers * np.stack([sign, np.ones(2 * places)], axis=1).astype(answers.dtype), axis=0)


def _affine(layer: eqx.nn.Linear, inputs):
    """The layer on each row of the inputs."""
    assert layer.bias is not None
    return inputs @ layer.weight.T + layer.bias
