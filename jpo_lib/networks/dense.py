"""Multilayer perceptrons, identifiers as inputs, and the network that is used when none is given."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_choice
from jpo_lib.dataset import IDENTIFIER_SIZE

INPUTS = ("targets", "targets+identifiers", "identifiers")


class Dense(eqx.Module):
    """x = m + s * MLP(inputs), a plain multilayer perceptron on the flattened target with its context, and/or
    the identifier.

    Arguments:
        inputs: "targets", "targets+identifiers" or "identifiers". The context, what is known about a problem,
            comes with its target.
        middle, spread: m and s, shape (d,), unit of x.
        target_size: number of values of the target and its context together; 0 when the target is no input.
        width, depth: neurons and number of the hidden layers.
    """

    mlp: eqx.nn.MLP
    inputs: str = eqx.field(static=True)
    middle: tuple[float, ...] = eqx.field(static=True)
    spread: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        key,
        *,
        inputs: str,
        target_size: int,
        middle,
        spread,
        width: int = 64,
        depth: int = 2,
        activation: Callable = jax.nn.silu,
    ):
        check_choice("inputs", inputs, INPUTS)
        size = target_size * ("targets" in inputs) + IDENTIFIER_SIZE * ("identifiers" in inputs)
        self.mlp = eqx.nn.MLP(size, len(middle), width, depth, activation, key=key)
        self.inputs = inputs
        self.middle = tuple(float(value) for value in middle)
        self.spread = tuple(float(value) for value in spread)

    def __call__(self, y, context=None, identifier=None):
        target = (y, context) if "targets" in self.inputs else ()
        seen = (target, identifier) if "identifiers" in self.inputs else target
        parts = [jnp.ravel(leaf) for leaf in jax.tree.leaves(seen)]
        return jnp.array(self.middle) + jnp.array(self.spread) * self.mlp(jnp.concatenate(parts))


class WithIdentifiers(eqx.Module):
    """x = network(y, c) + s * MLP(gamma): the identifier corrects what the target alone suggests."""

    network: Callable
    correction: Dense

    def __init__(self, key, network, *, spread, width: int = 64):
        self.network = network
        self.correction = Dense(
            key, inputs="identifiers", target_size=0, middle=[0.0] * len(spread), spread=spread, width=width
        )

    def __call__(self, y, context=None, identifier=None):
        return self.network(y, context, identifier) + self.correction(y, context, identifier)


@functools.lru_cache(maxsize=64)
def network_for(problem, inputs: str = "targets") -> Callable:
    """The function key -> network that JPO uses for a problem when none is given; the same function for the
    same arguments.

    Arguments:
        problem: an `InverseProblem`.
        inputs: what the network sees: "targets" (y), "targets+identifiers" (y and gamma) or "identifiers"
            (gamma alone).
    Raises:
        ValueError: if `inputs` is unknown, or the problem has neither a recommended network nor bounds nor a
            scale.
    """
    check_choice("inputs", inputs, INPUTS)
    if inputs == "targets" and problem.recommended.network is not None:
        return problem.recommended.network
    if problem.bounds is None and problem.scale is None:
        name = problem.name
        raise ValueError(
            f"network: expected one for {name!r}, which has no bounds, got None; pass network=..."
        )

    def build(key):
        key_network, key_correction = jax.random.split(key)
        box = middle_and_spread(problem)
        if inputs == "targets+identifiers" and problem.recommended.network is not None:
            network = problem.recommended.network(key_network)
            return WithIdentifiers(key_correction, network, spread=box["spread"])
        target_size = input_size(problem) if "targets" in inputs else 0
        return Dense(key_network, inputs=inputs, target_size=target_size, **box)

    return build


def middle_and_spread(problem) -> dict[str, Any]:
    """Middle and half width of the prior box, or the scale of a problem without one, by the names that the
    networks use."""
    if problem.bounds is None:
        middle, spread = (np.asarray(value, float).tolist() for value in problem.scale)
        return {"middle": middle, "spread": spread}
    lower, upper = (np.asarray(bound, float) for bound in problem.bounds)
    return {"middle": (0.5 * (lower + upper)).tolist(), "spread": (0.5 * (upper - lower)).tolist()}


def input_size(problem) -> int:
    """Number of values of one target and its context."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(one_problem(problem)))


def one_problem(problem):
    """Shapes of the target and the context of one problem, without simulating it."""
    key = jax.random.key(0)
    context = None if problem.sample_context is None else jax.eval_shape(problem.sample_context, key)
    return jax.eval_shape(problem.simulate, jax.eval_shape(problem.sample_x, key), context), context
