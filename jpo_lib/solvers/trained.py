"""Trained networks: they answer further problems, can be kept in a file, and begin further training."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.networks.dense import network_for
from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.solvers.training import Networks, NetworkTraining, grouped

KEPT = ("inputs", "batch_size", "clip_to_bounds")  # hyperparameters that decide what networks answer


class TrainedNetworks(eqx.Module):
    """x = net(y, c, gamma; theta): what trained networks answer to any problems of their family, without a
    simulation. `result.network` is one.

    Arguments:
        network: the networks of S seeds and G groups, stacked along the leading axes (S, G), or (G,) for a
            single seed.
        problem: the family of problems.
        solver: what trained them, with all its hyperparameters.
    """

    network: Any
    problem: InverseProblem = eqx.field(static=True)
    solver: NetworkTraining = eqx.field(static=True)

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading axes, (S, G) or (G,)."""
        make = self.solver.network or network_for(self.problem, self.solver.inputs)
        with self.problem.precision():
            one = _arrays(eqx.filter_eval_shape(make, jax.random.key(0)))[0]
        first = _arrays(self.network)[0]
        return first.shape[: first.ndim - np.ndim(one)]

    def __call__(self, data: Dataset) -> np.ndarray:
        """x = net(y, c, gamma) for all problems of a data set.

        Arguments:
            data: M problems; each of the G networks of a seed answers M / G neighbours.
        Returns:
            answers (S, M, d), or (M, d) for a single seed; unit of x.
        Raises:
            ValueError: if M is no multiple of G.
        """
        *seeds, num_groups = self.lead
        if data.num_problems % num_groups:
            raise ValueError(
                f"data: expected a multiple of {num_groups} problems, one share for each network, got "
                f"{data.num_problems}; "
                "pass another number."
            )
        weights = eqx.partition(self.network, eqx.is_array_like)[0]
        if not seeds:
            weights = jax.tree.map(lambda leaf: leaf[None], weights)
        with self.problem.precision():
            size = data.num_problems // num_groups
            batch = self.solver.batch_size
            batch = size if batch is None or size % batch else batch
            groups = np.arange(num_groups)
            networks = Networks(self.problem, self.solver, grouped(data, num_groups), groups, batch)
            answers = []
            for seed in range(math.prod(seeds)):
                networks.weights = jax.tree.map(lambda leaf, seed=seed: jnp.asarray(leaf[seed]), weights)
                answers.append(networks.outputs().reshape(data.num_problems, -1))
        return np.stack(answers) if seeds else answers[0]

    def start(self, *, seed: int = 0, group: int = 0) -> Callable:
        """The function key -> network that gives one of the networks as it is: a warm start, as in
        `JointOptimization(network=result.network.start())`.

        Arguments:
            seed: which of the S seeds, counted from 0.
            group: which of the G groups, counted from 0.
        """
        index = (seed, group)[-len(self.lead) :]
        one = jax.tree.map(lambda leaf: leaf[index] if eqx.is_array_like(leaf) else leaf, self.network)
        return lambda key: one

    def save(self, path: str | Path) -> None:
        """Write the weights to a file that `load_networks` reads: a line of JSON, then arrays in NumPy's
        format.

        Arguments:
            path: of the file; it is replaced as a whole.
        """
        path = Path(path)
        about = {
            "problem": self.problem.name,
            "settings": dict(self.problem.settings),
            "lead": self.lead,
            "solver": {name: getattr(self.solver, name) for name in KEPT},
        }
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            file.write(json.dumps(about).encode() + b"\n")
            eqx.tree_serialise_leaves(file, self.network)
        os.replace(part, path)


def load_networks(
    path: str | Path, problem: InverseProblem, *, network: Callable | None = None
) -> TrainedNetworks:
    """The networks of a file that `TrainedNetworks.save` wrote.

    Arguments:
        path: of the file.
        problem: the family of problems that they were trained on, with the same settings.
        network: function key -> network that made them; the problem's own when None.
    Raises:
        ValueError: if the file belongs to another problem or its arrays are those of another network.
    """
    with Path(path).open("rb") as file:
        about = json.loads(file.readline())
        expected = json.loads(json.dumps([problem.name, dict(problem.settings)]))
        if [about["problem"], about["settings"]] != expected:
            raise ValueError(
                f"path: expected networks of {problem.name!r} with the settings {expected[1]}, got those of "
                f"{about['problem']!r} with {about['settings']}; pass the problem that they were trained on."
            )
        solver = NetworkTraining(network=network, **about["solver"]).completed(problem)
        make = network or network_for(problem, solver.inputs)

        def stacked(leaf):
            known = isinstance(leaf, jax.ShapeDtypeStruct) or eqx.is_array_like(leaf)
            shape = *about["lead"], *np.shape(leaf)
            return jax.ShapeDtypeStruct(shape, jnp.result_type(leaf)) if known else leaf

        with problem.precision():
            like = jax.tree.map(stacked, eqx.filter_eval_shape(make, jax.random.key(0)))
            try:
                weights = eqx.tree_deserialise_leaves(file, like)
            except (RuntimeError, ValueError, EOFError) as error:
                raise ValueError(
                    f"network: expected the function that made the networks in {path}, got another one or a "
                    "damaged file; pass that function."
                ) from error
    arrays, rest = eqx.partition(weights, eqx.is_array)
    return TrainedNetworks(eqx.combine(jax.tree.map(np.asarray, arrays), rest), problem, solver)


def _arrays(network) -> list:
    """The arrays of a network, or their shapes."""
    known = eqx.filter(
        network, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct) or eqx.is_array_like(leaf)
    )
    return jax.tree.leaves(known)
