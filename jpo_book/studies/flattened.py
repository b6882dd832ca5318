"""A usual convolutional network, for comparison: convolutions whose output is flattened into a dense head."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jpo_lib.networks.layers import Convolution1D


class FlattenedConvolution1D(eqx.Module):
    """x = m + s * MLP(h),  h: the target and its context as channels, after convolutions that each halve the
    number of points.

    A convolution is equivariant to shifts; flattening its output for a dense head is not. What is left is a
    network that may learn the symmetry of a problem, but does not have it.

    Arguments:
        num_points: of the target, and of each array of the context.
        num_channels: 1 for the target and 1 for each array of the context.
        middle, spread: m and s, shape (d,), unit of x.
        channels, kernel_size: of each convolution; the size is odd.
        depth: number of convolutions.
        width: neurons of the one hidden layer of the head.
    """

    convolutions: list[Convolution1D]
    head: eqx.nn.MLP
    middle: tuple[float, ...] = eqx.field(static=True)
    spread: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        key,
        *,
        num_points: int,
        num_channels: int,
        middle,
        spread,
        channels: int = 8,
        kernel_size: int = 9,
        depth: int = 2,
        width: int = 64,
    ):
        sizes = [num_channels] + depth * [channels]
        *keys, key_head = jax.random.split(key, depth + 1)
        self.convolutions = [
            Convolution1D(k, fan_in, fan_out, kernel_size)
            for k, fan_in, fan_out in zip(keys, sizes, sizes[1:])
        ]
        for _ in range(depth):
            num_points = -(-num_points // 2)
        self.head = eqx.nn.MLP(num_points * channels, len(middle), width, 1, jax.nn.silu, key=key_head)
        self.middle, self.spread = (tuple(float(value) for value in values) for values in (middle, spread))

    def __call__(self, y, context=None, identifier=None):
        del identifier
        h = jnp.stack([jnp.ravel(leaf) for leaf in jax.tree.leaves((y, context))], axis=1)
        for layer in self.convolutions:
            h = jax.nn.silu(layer(h)[::2])
        return jnp.array(self.middle) + jnp.array(self.spread) * self.head(jnp.ravel(h))
