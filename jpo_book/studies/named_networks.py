"""Networks named by plain data, as profiles and command lines write them: {"width": 16, "depth": 3}."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax

from jpo_book.studies.flattened import FlattenedConvolution1D
from jpo_lib.networks.dense import Dense, input_size, middle_and_spread, one_problem

ARCHITECTURES = ("recommended", "dense", "convolution")


def named_network(problem, spec: Mapping[str, Any]) -> Callable:
    """The function key -> network that `spec` describes; equal descriptions give the same function, and so
    share compiled programs.

    Arguments:
        problem: an `InverseProblem` with bounds or a scale, or with a recommended network.
        spec: "architecture" is "recommended" (the problem's own network, the default), "dense" (a perceptron
            on all values of the target and its context) or "convolution" (convolutions and a dense head, for
            targets along one axis). All other names are options of that network, such as "width" and "depth".
    Raises:
        ValueError: if a name or a value is unknown, or the problem does not fit the architecture.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(
            f'network: expected names with values such as {{"width": 16}}, got {spec!r}; write that.'
        )
    return _named_network(problem, tuple(sorted(spec.items())))


@functools.lru_cache(maxsize=256)
def _named_network(problem, items) -> Callable:
    options = dict(items)
    architecture = options.pop("architecture", "recommended")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"network: expected architecture to be one of {', '.join(ARCHITECTURES)}, got {architecture!r}; "
            "choose one of them."
        )
    if architecture == "recommended":
        cls, make = _recommended(problem)
        options_of_problem = {}
    else:
        cls, options_of_problem = _general(problem, architecture)
        make = functools.partial(cls, **options_of_problem)
    if not options and architecture == "recommended":
        return make
    defaults = _defaults(cls)
    for name, value in options.items():
        if name not in defaults:
            raise ValueError(
                f"network: expected options of {cls.__name__} ({', '.join(defaults)}), got {name!r}; use one "
                "of them."
            )
        if type(value) is not type(defaults[name]) and (type(value), type(defaults[name])) != (int, float):
            raise ValueError(
                f"network: expected {type(defaults[name]).__name__} for {name} as in {defaults[name]!r}, got "
                f"{value!r}; pass such a value."
            )
        if name in ("width", "depth", "channels", "hidden") and value < 1:
            raise ValueError(
                f"network: expected {name} to be at least 1, got {value!r}; pass a larger number."
            )

    def build(key):
        return make(key, **options)

    build.__qualname__ = (
        f"{cls.__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    )
    return build


def _recommended(problem) -> tuple[type, Callable]:
    make = problem.recommended.network
    if make is None:
        raise ValueError(
            f"network: expected an architecture for the problem {problem.name!r}, which recommends no "
            "network; "
            'choose "dense" or "convolution".'
        )
    network = eqx.filter_eval_shape(make, jax.random.key(0))
    return type(network), make


def _general(problem, architecture: str) -> tuple[type, dict[str, Any]]:
    if problem.bounds is None and problem.scale is None:
        raise ValueError(
            f"network: expected a problem with bounds for the architecture {architecture!r}, got "
            f"{problem.name!r} without; "
            "write the network yourself."
        )
    with problem.precision():
        y, context = one_problem(problem)
        if architecture == "dense":
            return Dense, {
                "inputs": "targets",
                "target_size": input_size(problem),
                **middle_and_spread(problem),
            }
    leaves = jax.tree.leaves((y, context))
    if len(y.shape) != 1 or any(leaf.shape != y.shape for leaf in leaves):
        raise ValueError(
            "network: expected a target along one axis for the architecture 'convolution', got the shape "
            f"{y.shape}; "
            'choose "dense" instead.'
        )
    return FlattenedConvolution1D, {
        "num_points": y.shape[0],
        "num_channels": len(leaves),
        **middle_and_spread(problem),
    }


def _defaults(cls: type) -> dict[str, Any]:
    """The options of a network: the arguments that have plain defaults."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, (bool, int, float, str))}
