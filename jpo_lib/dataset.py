"""The data of inverse problems, and the streams of random numbers that they and their solvers are drawn
from."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

IDENTIFIER_SIZE = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dataset:
    """N inverse problems of one kind, y_i = observe(F(x_i, c_i)): the targets, and what is known about each
    problem.

    Attributes:
        y: targets, shape (N, ...), unit of the simulator's output.
        context: known inputs of the simulator, a pytree of arrays (N, ...), or None.
        x0: starting points of the classical solvers, shape (N, d), unit of x.
        x_true: parameters that made the targets, shape (N, d), unit of x; None when unknown.
        threshold: a problem counts as solved when its loss is below this, shape (N,), unit of the loss.
        identifiers: gamma_i, arbitrary labels that tell problems apart, shape (N, 8), dimensionless.
        seed: the seed that the data was drawn with; None for data from outside.
    """

    y: jax.Array
    context: Any
    x0: jax.Array
    x_true: jax.Array | None
    threshold: jax.Array
    identifiers: jax.Array
    seed: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def num_problems(self) -> int:
        """N, the number of problems."""
        return self.x0.shape[0]

    def __len__(self) -> int:
        return self.num_problems

    def __getitem__(self, index) -> Dataset:
        """Select problems by slice or index array; the selection keeps the axis of problems.

        Arguments:
            index: whole number, slice, or array of numbers or of truth values, shape (N,).
        """
        index = np.atleast_1d(np.arange(self.num_problems)[index])
        with jax.enable_x64(True):  # keeps the precision of each array, whatever JAX's flag
            # On the host: nothing to compile.
            return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[index]), self)


def random_stream(seed, purpose: str):
    """A key for one purpose. Streams of different purposes share no numbers, even under the same seed.

    This matters: were restarts drawn from the stream of the data, a solver could be handed the solution.
    """
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def random_streams(seed, purpose: str, count: int):
    """Keys of some streams for one purpose, shape (count,); each depends on its number, not on the count."""
    return jax.vmap(jax.random.fold_in, (None, 0))(random_stream(seed, purpose), jnp.arange(count))
