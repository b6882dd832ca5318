"""The compiled parts of training: a network's answers, their gradient in its weights, and a step of the
optimizer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jpo_lib.problem import InverseProblem
from jpo_lib.solvers.devices import ALL, AXIS, EACH, SECOND
from jpo_lib.solvers.evaluation import Program

OPTIMIZERS = {"adam": optax.scale_by_adam, "sgd": optax.identity, "rmsprop": optax.scale_by_rms}


class Programs(NamedTuple):
    """The compiled parts of a network, for a batch of M networks with b problems each."""

    # data, group of each network (M,), chosen problems (M, b) -> inputs of the networks, context and targets
    gather: Program
    propose: Program  # weights, inputs -> x (M b, d), outputs before the box was applied, their pull-back
    static: Any  # the part of a network that is not trained


def bounded(problem: InverseProblem | None, x):
    """x in the box of the problem; as it is without a problem."""
    if problem is None:
        return x
    assert problem.bounds is not None  # `check_groups` has refused the others
    lower, upper = (jnp.asarray(bound, x.dtype) for bound in problem.bounds)
    return jnp.clip(x, lower, upper)


# The programs know no sizes, rates or numbers of steps: those follow from the arguments, so that many solvers
# share them. On several devices each has some of the networks with all their problems, or, if `split`, all
# networks with some of their problems. The residuals of a pull-back may have any shape: on their way between
# two programs they get an axis of devices.


@functools.lru_cache(maxsize=64)
def network_programs(make_network: Callable, box: InverseProblem | None, split: bool) -> Programs:
    rows, weights_on = (SECOND, ALL) if split else (EACH, EACH)
    static = eqx.partition(eqx.filter_eval_shape(make_network, jax.random.key(0)), eqx.is_array_like)[1]

    def gather(inputs, groups, chosen):
        part = jax.tree.map(lambda leaf: leaf[groups[:, None], chosen], inputs)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), part)
        return part, flat[1], flat[0]

    def propose(weights, part):
        def outputs(weights, part):
            return jax.vmap(lambda *inputs: eqx.combine(weights, static)(*inputs))(*part)

        raw, pull_back = jax.vjp(lambda weights: jax.vmap(outputs)(weights, part), weights)
        return (
            bounded(box, raw).reshape(-1, raw.shape[-1]),
            raw,
            jax.tree.map(lambda leaf: leaf[None], pull_back),
        )

    return Programs(
        Program(gather, parts=(ALL, weights_on, rows), results=(rows, EACH, EACH)),
        Program(propose, parts=(weights_on, rows), results=(EACH, rows, EACH)),
        static,
    )


@functools.lru_cache(maxsize=64)
def initialize(make_network: Callable, optimizer: str, split: bool) -> Program:
    """keys (M,) -> weights, state of the optimizer"""

    def one(key):
        weights = jax.tree.map(jnp.asarray, eqx.partition(make_network(key), eqx.is_array_like)[0])
        return weights, OPTIMIZERS[optimizer]().init(weights)

    return Program(jax.vmap(one), parts=ALL if split else EACH, results=ALL if split else EACH)


@functools.lru_cache(maxsize=64)
def learn(
    optimizer: str, clip_problem: float, clip_global: float, box: InverseProblem | None, split: bool
) -> Program:
    """weights, state of the optimizer, learning rate, pull-back, outputs, gradient in x (M b, d) -> weights,
    state"""
    transformation, clip = OPTIMIZERS[optimizer](), optax.clip_by_global_norm(clip_global)

    def update(gradient, state, weights):
        if not np.isinf(clip_global):
            gradient, _ = clip.update(gradient, clip.init(weights))
        return transformation.update(gradient, state, weights)

    def learn(weights, state, rate, pull_back, raw, gradient):
        gradient = gradient.reshape(raw.shape)
        if box is not None:
            outside = raw - bounded(box, raw)
            gradient = jnp.where(outside * gradient < 0.0, 0.0, gradient) + outside
        if not np.isinf(clip_problem):
            norm = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
            gradient = gradient * jnp.minimum(1.0, clip_problem / jnp.maximum(norm, 1e-30))
        (weight_gradient,) = jax.tree.map(lambda leaf: leaf[0], pull_back)(gradient / raw.shape[1])
        if split:  # each device holds an equal share of the batch: the mean of the shares' means
            weight_gradient = jax.lax.pmean(weight_gradient, AXIS)
        change, state = jax.vmap(update)(weight_gradient, state, weights)
        return jax.tree.map(
            lambda value, step: value - rate.astype(value.dtype) * step, weights, change
        ), state

    weights_on, rows = (ALL, SECOND) if split else (EACH, EACH)
    return Program(
        learn,
        donate=(0, 1),
        parts=(weights_on, weights_on, ALL, EACH, rows, EACH),
        results=(weights_on, weights_on),
    )
