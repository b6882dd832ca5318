"""Layers that the networks are built from, one sample at a time."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp


def he_normal(key, shape, fan_in: int):
    return jnp.sqrt(2.0 / fan_in) * jax.random.normal(key, shape)


class Convolution1D(eqx.Module):
    """h_j = b + sum_k W_k u_{j + k - (K - 1) / 2}, zeros outside: shape (M, C_in) -> (M, C_out).

    K - 1 neighbouring outputs at a time come from one matrix product with a banded (Toeplitz) matrix of the
    weights. It computes twice as much as needed and is still several times faster on a CPU than the general
    convolution, which XLA does not run well inside a loop or with different weights for each group.
    """

    weight: jax.Array
    bias: jax.Array

    def __init__(self, key, in_channels: int, out_channels: int, kernel_size: int):
        self.weight = he_normal(key, (kernel_size, in_channels, out_channels), kernel_size * in_channels)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, u):
        kernel_size, in_channels, out_channels = self.weight.shape
        block, length = kernel_size - 1, u.shape[0]
        num_blocks = -(-length // block)
        half = block // 2
        padded = jnp.pad(u, ((half, (num_blocks + 1) * block - length - half), (0, 0)))
        blocks = padded.reshape(num_blocks + 1, block, in_channels)
        windows = jnp.concatenate([blocks[:-1], blocks[1:]], axis=1)  # what each block of outputs depends on
        # Row j of the banded matrix is the kernel shifted by j: rows of a list with period 2 block + 1, cut
        # at 2 block.
        reach = 2 * block
        period = jnp.pad(self.weight, ((0, reach + 1 - kernel_size), (0, 0), (0, 0)))
        banded = jnp.tile(period, (block, 1, 1))[: block * reach].reshape(
            block, reach, in_channels, out_channels
        )
        product = jnp.einsum("brc,jrco->bjo", windows, banded)
        return product.reshape(num_blocks * block, out_channels)[:length] + self.bias
