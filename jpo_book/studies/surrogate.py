"""The neural adjoint: a network that imitates the simulation is descended instead of it.

Source: Ren, Padilla & Malof (2020), arXiv 2009.12919.
"""

from __future__ import annotations

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jpo_lib.networks.dense import middle_and_spread
from jpo_lib.problem import Dataset, InverseProblem, random_stream
from jpo_lib.solvers import BestOf, solve
from jpo_lib.solvers.supervised import draw_pairs

DEPTH, BATCH, RATE = 3, 128, 2e-3


def surrogate_answers(
    problem: InverseProblem, data: Dataset, num_pairs: int, seed: int, width: int = 128, num_steps: int = 2000
) -> np.ndarray:
    """argmin_x L(S(x, c), y) with a perceptron S,  S = argmin sum_j |S(x_j, c_j) - y_j|^2  over m pairs.

    The minimum is that of four descents from the best of 64 points, which simulate nothing.

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
        imitated = _imitated(problem, num_pairs, seed, width, num_steps)
        return np.asarray(solve(imitated, data, BestOf(64, 4), seed=seed).x)


@functools.lru_cache(maxsize=8)
def _imitated(
    problem: InverseProblem, num_pairs: int, seed: int, width: int, num_steps: int
) -> InverseProblem:
    """The problem with a network in place of its simulation."""
    pairs = draw_pairs(problem, num_pairs, seed)
    middle, spread = (jnp.asarray(part) for part in middle_and_spread(problem).values())
    shape = pairs.y.shape[1:]
    level, size = jnp.mean(pairs.y, axis=0).ravel(), jnp.std(pairs.y) + 1e-12

    def features(x, context):
        known = [jnp.ravel(leaf) for leaf in jax.tree.leaves(context)]
        return jnp.concatenate([(x - middle) / spread, *known])

    inputs = jax.vmap(features)(pairs.x_true, pairs.context)
    targets = (pairs.y.reshape(len(inputs), -1) - level) / size
    key = random_stream(seed, "surrogate")
    network = eqx.nn.MLP(inputs.shape[1], targets.shape[1], width, DEPTH, jax.nn.silu, key=key)
    weights, static = eqx.partition(network, eqx.is_array)
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, num_steps))

    @jax.jit
    def train(weights):
        def step(carried, key):
            weights, state = carried
            chosen = jax.random.randint(key, (min(BATCH, len(inputs)),), 0, len(inputs))

            def error(weights):
                answers = jax.vmap(eqx.combine(weights, static))(inputs[chosen])
                return jnp.mean(jnp.square(answers - targets[chosen]))

            change, state = optimizer.update(jax.grad(error)(weights), state)
            return (optax.apply_updates(weights, change), state), None

        keys = jax.random.split(jax.random.fold_in(key, 1), num_steps)
        return jax.lax.scan(step, (weights, optimizer.init(weights)), keys)[0][0]

    trained = eqx.combine(train(weights), static)

    def simulate(x, context):
        return (trained(features(x, context)) * size + level).reshape(shape)

    return dataclasses.replace(problem, simulate=simulate, residuals=None, window=None)
