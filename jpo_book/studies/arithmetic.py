"""What a machine computes, to the last bit: the name of a CPU does not say how its programs round.

Two CPUs of one name may have other vector instructions. XLA then adds in another order, and joins other
products with sums.
"""

from __future__ import annotations

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

# Numbers that are added: fewer than a vector register holds, as many, no multiple of them, and many.
SIZES = (3, 16, 100, 256)


def _probe(numbers, matrix):
    """One of each kind of operation that our simulators and networks consist of,
    on the same B rows of K numbers.

    Sums and products in several lengths, transcendental functions, division and roots, a loop in which
    round-off grows, a Fourier transform, a product with a constant matrix, and the gradient of all of it.
    """
    length = numbers.shape[-1]

    def one(row):
        waves = jnp.sin(7.0 * row) * jnp.exp(-jnp.square(row)) + jnp.cos(row) * jnp.tanh(3.0 * row)
        roots = jnp.sqrt(1.0 + jnp.square(waves)) / (1.5 + row)
        roots = roots + jnp.log1p(jnp.square(row)) + jnp.arctan2(row, 0.3 + waves)
        sums = jnp.stack([jnp.sum(roots[:size] * waves[:size]) for size in SIZES])
        spectrum = jnp.fft.rfft(roots)
        smooth = jnp.fft.irfft(spectrum * jnp.exp(-0.01 * jnp.arange(spectrum.size)), length)

        def step(state, _):
            position, speed = state
            after = position + 0.1 * speed  # first: the order of these lines decides about bits
            return (after, speed - 0.1 * jnp.sin(position) + 0.01 * (matrix @ position)), None

        (last, _), _ = jax.lax.scan(step, (smooth, waves), None, length=25)
        layer = jax.nn.silu(matrix @ last)
        return jnp.concatenate([sums, last, jnp.cumsum(layer)])

    def total(row):
        return jnp.sum(one(row) * jnp.cos(jnp.arange(len(SIZES) + 2 * length)))

    values, (_, gradients) = jax.vmap(one)(numbers), jax.vmap(jax.value_and_grad(total))(numbers)
    drawn = jax.random.normal(jax.random.key(0), (64,), numbers.dtype)
    return values, gradients, numbers @ matrix, jnp.sum(gradients), drawn


@functools.lru_cache(maxsize=1)
def fingerprint() -> str:
    """Hash of the results of a few fixed programs, in both precisions.

    They are compiled with the flags and for the device of this process. Equal fingerprints: the same program
    gives the same bits. Other ones: round-off differs, and bounds are all that can be asked for.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    # Numbers whose decimals look random, made of whole numbers alone: the same on all machines.
    whole = (np.arange(16 * 256, dtype=np.int64) * 7919 + 104729) % 65536
    entries = (whole.repeat(16) * 31 + np.arange(256 * 256)) % 4096
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype is np.float64):
            numbers = (whole / 65536.0).reshape(16, 256).astype(dtype)
            matrix = (entries / 65536.0 - 1 / 32).reshape(256, 256).astype(dtype)
            for array in jax.tree.leaves(jax.jit(_probe)(numbers, matrix)):
                digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()[:16]
