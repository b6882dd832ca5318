"""The network of billiards."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jpo_lib.networks.layers import he_normal


class DenseVelocity(eqx.Module):
    """v = m + s W_{K+1} h_K,  h_k = silu(W_k h_{k-1} + b_k),  h_0 = (y - y_m) / y_s.

    A plain multilayer perceptron from the rest position of the target ball to the velocity of the cue ball:
    the table has no symmetry that a special layer could use beyond its mirror, and neighbouring targets want
    similar shots. All weights, those of the last layer too, start with He's scale, so that the shots of the
    untrained network spread as widely as the prior. With a small last layer every first shot would be the
    same shot down the middle: on the open table that one hits the ball and is a good start, which would be
    luck; behind a ball in the way it misses, every gradient is zero, and nothing is learned.

    Arguments:
        target_middle, target_spread: y_m and y_s, shape (2,), length.
        middle: m, shape (2,), length / time.
        spread: s, length / time.
        width: neurons of each hidden layer.
        depth: K, number of hidden layers.
    """

    weights: list[jax.Array]
    biases: list[jax.Array]
    target_middle: tuple[float, ...] = eqx.field(static=True)
    target_spread: tuple[float, ...] = eqx.field(static=True)
    middle: tuple[float, ...] = eqx.field(static=True)
    spread: float = eqx.field(static=True)

    def __init__(
        self, key, *, target_middle, target_spread, middle, spread: float, width: int = 64, depth: int = 2
    ):
        sizes = [2, *depth * [width], 2]
        keys = jax.random.split(key, depth + 1)
        self.weights = [
            he_normal(k, (fan_in, fan_out), fan_in) for k, fan_in, fan_out in zip(keys, sizes, sizes[1:])
        ]
        self.biases = [jnp.zeros(size) for size in sizes[1:]]
        self.target_middle, self.target_spread = tuple(target_middle), tuple(target_spread)
        self.middle, self.spread = tuple(middle), spread

    def __call__(self, y, context=None, identifier=None):
        del context, identifier
        h = (y - jnp.array(self.target_middle)) / jnp.array(self.target_spread)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            h = jax.nn.silu(h @ weight + bias)
        return jnp.array(self.middle) + self.spread * (h @ self.weights[-1] + self.biases[-1])
