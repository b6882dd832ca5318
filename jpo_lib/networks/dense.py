"""Multilayer perceptrons, identifiers as inputs, and the network that is used when none is given."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from jpo_lib.problem import IDENTIFIER_SIZE


class Dense(eqx.Module):
    """x = m + s * MLP(inputs), a plain multilayer perceptron on the flattened target and/or the identifier.

    Arguments:
        inputs: "targets", "targets+identifiers" or "identifiers".
        middle, spread: m and s, shape (d,), unit of x.
        target_size: number of values of the target; 0 when the target is no input.
    """

    mlp: eqx.nn.MLP
    inputs: str = eqx.field(static=True)
    middle: tuple[float, ...] = eqx.field(static=True)
    spread: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, key, *, inputs: str, target_size: int, middle, spread, width: int = 64, depth: int = 2,
                 activation: Callable = jax.nn.silu):
        _check_inputs(inputs)
        size = (target_size if "targets" in inputs else 0) + (IDENTIFIER_SIZE if "identifiers" in inputs else 0)
        self.mlp = eqx.nn.MLP(size, len(middle), width, depth, activation, key=key)
        self.inputs = inputs
        self.middle = tuple(float(value) for value in middle)
        self.spread = tuple(float(value) for value in spread)

    def __call__(self, y, context=None, identifier=None):
        del context
        parts = [jnp.ravel(y)] if "targets" in self.inputs else []
        parts += [identifier] if "identifiers" in self.inputs else []
        return jnp.array(self.middle) + jnp.array(self.spread) * self.mlp(jnp.concatenate(parts))


class WithIdentifiers(eqx.Module):
    """x = network(y, c) + s * MLP(gamma): the identifier corrects what the target alone suggests."""

    network: eqx.Module
    correction: Dense

    def __init__(self, key, network, *, spread, width: int = 64):
        self.network = network
        self.correction = Dense(key, inputs="identifiers", target_size=0, middle=[0.0] * len(spread), spread=spread, width=width)

    def __call__(self, y, context=None, identifier=None):
        return self.network(y, context, identifier) + self.correction(y, context, identifier)


def _check_inputs(inputs: str) -> None:
    options = ("targets", "targets+identifiers", "identifiers")
    if inputs not in options:
        raise ValueError(f"inputs: expected one of {', '.join(options)}, got {inputs!r}; choose one of them.")


def network_for(problem, inputs: str = "targets") -> Callable:
    """The function key -> network that JPO uses for a problem when none is given.

    Arguments:
        problem: an `InverseProblem`.
        inputs: what the network sees: "targets" (y), "targets+identifiers" (y and gamma) or "identifiers" (gamma alone).
    Raises:
        ValueError: if `inputs` is unknown, or the problem has neither a recommended network nor bounds.
    """
    _check_inputs(inputs)
    if inputs == "targets" and problem.make_network is not None:
        return problem.make_network
    if problem.bounds is None:
        raise ValueError(
            f"network: expected a network for the problem {problem.name!r}, which has no bounds to scale a default one; "
            "pass JointOptimization(network=...)."
        )
    lower, upper = (jnp.asarray(bound) for bound in problem.bounds)
    middle, spread = (0.5 * (lower + upper)).tolist(), (0.5 * (upper - lower)).tolist()

    def build(key):
        key_network, key_correction = jax.random.split(key)
        if inputs == "targets+identifiers" and problem.make_network is not None:
            return WithIdentifiers(key_correction, problem.make_network(key_network), spread=spread)
        size = 0
        if "targets" in inputs:
            one = jax.eval_shape(lambda k: problem.simulate(
                problem.sample_x(k), None if problem.sample_context is None else problem.sample_context(k)), key)
            size = one.size
        return Dense(key_network, inputs=inputs, target_size=size, middle=middle, spread=spread)

    return build
