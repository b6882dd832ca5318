"""The neural adjoint: a network that imitates the simulation is descended instead of it.

Source: Ren, Padilla & Malof (2020), arXiv 2009.12919.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.optimize
import numpy as np
import optax

from jpo_lib.networks.dense import middle_and_spread
from jpo_lib.problem import Dataset, InverseProblem, random_stream
from jpo_lib.solvers.supervised import draw_pairs

DEPTH, BATCH, RATE = 3, 128, 2e-3
NUM_CANDIDATES, NUM_DESCENTS, MAX_STEPS = 64, 4, 40


class Surrogate(NamedTuple):
    """S(x, c) = level + size MLP((x - middle) / spread, c), of the shape of the output."""

    network: eqx.nn.MLP
    level: jax.Array
    size: jax.Array
    middle: jax.Array
    spread: jax.Array

    def __call__(self, x, context, shape):
        known = [jnp.ravel(leaf) for leaf in jax.tree.leaves(context)]
        features = jnp.concatenate([(x - self.middle) / self.spread, *known])
        return (self.network(features) * self.size + self.level).reshape(shape)


def surrogate_answers(
    problem: InverseProblem, data: Dataset, num_pairs: int, seed: int, width: int, num_steps: int
) -> np.ndarray:
    """argmin_x L(S(x, c), y) with a perceptron S,  S = argmin sum_j |S(x_j, c_j) - y_j|^2  over m pairs.

    The minimum is that of four descents by BFGS from the best of 64 points, which simulate nothing.

    Arguments:
        problem: the family of problems.
        data: N problems.
        num_pairs: m.
        seed: of pairs, weights, and points.
        width: neurons of each of the three hidden layers.
        num_steps: of the training.
    Returns:
        x, shape (N, d), unit of x.
    """
    with problem.precision():
        surrogate = _trained(problem, num_pairs, seed, width, num_steps)
        keys = jax.random.split(random_stream(seed, "surrogate points"), data.num_problems)
        return np.asarray(_descended(problem, surrogate, keys, data.context, data.y))


@functools.lru_cache(maxsize=8)
def _trained(problem: InverseProblem, num_pairs: int, seed: int, width: int, num_steps: int) -> Surrogate:
    pairs = draw_pairs(problem, num_pairs, seed)
    middle, spread = (jnp.asarray(part) for part in middle_and_spread(problem).values())
    level, size = jnp.mean(pairs.y, axis=0).ravel(), jnp.std(pairs.y) + 1e-12
    inputs = middle.size + sum(leaf[0].size for leaf in jax.tree.leaves(pairs.context))
    key = random_stream(seed, "surrogate")
    network = eqx.nn.MLP(inputs, level.size, width, DEPTH, jax.nn.silu, key=key)
    surrogate = Surrogate(network, level, size, middle, spread)
    return _fitted(surrogate, pairs.x_true, pairs.context, pairs.y, jax.random.fold_in(key, 1), num_steps)


@eqx.filter_jit
def _fitted(surrogate: Surrogate, x, context, y, key, num_steps: int) -> Surrogate:
    """The surrogate after so many steps of Adam on the mean squared error of minibatches."""
    weights, static = eqx.partition(surrogate.network, eqx.is_array)
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, num_steps))

    def step(carried, key):
        weights, state = carried
        rows = jax.random.randint(key, (min(BATCH, len(x)),), 0, len(x))
        chosen = jax.tree.map(lambda leaf: leaf[rows], (x, context, y))

        def error(weights):
            imitation = surrogate._replace(network=eqx.combine(weights, static))
            outputs = jax.vmap(lambda x, context: imitation(x, context, y.shape[1:]))(*chosen[:2])
            return jnp.mean(jnp.square((outputs - chosen[2]) / surrogate.size))

        change, state = optimizer.update(jax.grad(error)(weights), state)
        return (optax.apply_updates(weights, change), state), None

    begun = weights, optimizer.init(weights)
    weights = jax.lax.scan(step, begun, jax.random.split(key, num_steps))[0][0]
    return surrogate._replace(network=eqx.combine(weights, static))


@eqx.filter_jit
def _descended(problem: InverseProblem, surrogate: Surrogate, keys, context, y):
    """The best end of the descents of each problem."""

    def one(key, context, y):
        def loss(x):
            return problem.loss_of(x, surrogate(x, context, y.shape), y)

        points = jax.vmap(problem.draw_restart)(jax.random.split(key, NUM_CANDIDATES))
        best = jnp.argsort(jax.vmap(loss)(points))[:NUM_DESCENTS]
        ends = jax.lax.map(
            lambda x: jax.scipy.optimize.minimize(loss, x, method="BFGS", options={"maxiter": MAX_STEPS}).x,
            points[best],
        )
        losses = jax.vmap(loss)(ends)
        return ends[jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))]

    return jax.vmap(one)(keys, context, y)
