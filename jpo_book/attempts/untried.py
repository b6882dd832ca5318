"""Two ideas that the prototypes left untried: the optimizer SOAP, and a network that looks at its own answer once."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jpo_lib.networks.kuramoto_sivashinsky import RingEncoder
from jpo_lib.problem import InverseProblem


class SoapState(NamedTuple):
    count: jax.Array
    mean: Any  # of the gradient
    left: Any  # means of G G^T and G^T G, with their eigenvectors
    right: Any
    left_basis: Any
    right_basis: Any
    square: Any  # mean of the squared gradient, in these bases


def scale_by_soap(
    decay: float = 0.95, decay_square: float = 0.95, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam in the eigenvectors of the gradient's second moments: G' = Q_L^T G Q_R, step = Q_L (m' / (sqrt(v') + eps)) Q_R^T.

    Q_L and Q_R diagonalize the running means of G G^T and G^T G. They are improved by one orthogonal iteration in each
    step. Arrays that are no matrices go through Adam as they are.

    Arguments:
        decay: of the running mean m of the gradient, dimensionless.
        decay_square: of all running means of squares, dimensionless.
        epsilon: added to the root of v', unit of the gradient.

    Source: Vyas et al. (2024), arXiv 2409.11321.
    """

    def basis(leaf, axis):
        return jnp.eye(leaf.shape[axis], dtype=leaf.dtype) if leaf.ndim == 2 else jnp.ones((), leaf.dtype)

    def rotated(leaf, left, right):
        return left.T @ leaf @ right if leaf.ndim == 2 else leaf

    def second_moment(old, leaf, axis):
        if leaf.ndim != 2:
            return old
        return decay_square * old + (1 - decay_square) * (leaf @ leaf.T if axis == 0 else leaf.T @ leaf)

    def improved(moment, old):
        return jnp.linalg.qr(moment @ old + 1e-12 * old)[0] if old.ndim == 2 else old

    def init(weights):
        zeros = jax.tree.map(jnp.zeros_like, weights)
        left, right = (jax.tree.map(lambda leaf, axis=axis: basis(leaf, axis), weights) for axis in (0, 1))
        empty = [jax.tree.map(jnp.zeros_like, part) for part in (left, right)]
        return SoapState(jnp.zeros((), jnp.int32), zeros, *empty, left, right, zeros)

    def update(gradient, state, weights=None):
        del weights
        count = state.count + 1
        mean = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state.mean, gradient)
        left, right = (
            jax.tree.map(lambda old, g, axis=axis: second_moment(old, g, axis), moments, gradient)
            for axis, moments in enumerate((state.left, state.right))
        )
        left_basis, right_basis = (
            jax.tree.map(improved, moments, old)
            for moments, old in ((left, state.left_basis), (right, state.right_basis))
        )
        turned = jax.tree.map(rotated, gradient, left_basis, right_basis)
        square = jax.tree.map(lambda v, g: decay_square * v + (1 - decay_square) * g**2, state.square, turned)

        def step(m, v, left, right):
            inner = (
                rotated(m, left, right)
                / (1 - decay**count)
                / (jnp.sqrt(v / (1 - decay_square**count)) + epsilon)
            )
            return left @ inner @ right.T if m.ndim == 2 else inner

        steps = jax.tree.map(step, mean, square, left_basis, right_basis)
        return steps, SoapState(count, mean, left, right, left_basis, right_basis, square)

    return optax.GradientTransformation(init, update)


class Unrolled(eqx.Module):
    """x = x_1 + N_2(y, F(x_1, c)) with x_1 = N_1(y, c) in the box: the second network sees the target beside what x_1 leads to.

    Both have the symmetries of the equation, and so has the whole. An answer costs one simulation, and so does its gradient.

    Arguments:
        key: JAX key.
        problem: an `InverseProblem` made by `kuramoto_sivashinsky`.
    """

    first: RingEncoder
    second: RingEncoder
    problem: InverseProblem = eqx.field(static=True)

    def __init__(self, key, problem: InverseProblem):
        first, second = jax.random.split(key)
        self.first, self.second, self.problem = (
            problem.make_network(first),
            problem.make_network(second),
            problem,
        )

    def __call__(self, y, context, identifier=None):
        guess = jnp.clip(
            self.first(y, context), *(np.asarray(bound, y.dtype) for bound in self.problem.bounds)
        )
        return guess + self.second(y, self.problem.simulate(guess, context))
