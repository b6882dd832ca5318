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
from jpo_lib.problem import Dataset, InverseProblem, Result, Status
from jpo_lib.solvers.devices import on_host
from jpo_lib.solvers.training import Networks, NetworkTraining, describe, grouped

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
            kind = f"a multiple of {num_groups} problems, one share for each network"
            raise ValueError(f"data: expected {kind}, got {data.num_problems}; pass another number.")
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
            shape = *about["lead"], *np.shape(leaf)
            return jax.ShapeDtypeStruct(shape, jnp.result_type(leaf)) if _is_known(leaf) else leaf

        with problem.precision():
            like = jax.tree.map(stacked, eqx.filter_eval_shape(make, jax.random.key(0)))
            try:
                weights = eqx.tree_deserialise_leaves(file, like)
            except (RuntimeError, ValueError, EOFError) as error:
                made = f"the function that made the networks in {path}"
                raise ValueError(
                    f"network: expected {made}, got another or a damaged file; pass it."
                ) from error
    arrays, rest = eqx.partition(weights, eqx.is_array)
    return TrainedNetworks(eqx.combine(jax.tree.map(np.asarray, arrays), rest), problem, solver)


def trained_networks(trained: list[Networks], seeds: tuple[int, ...]) -> TrainedNetworks:
    """The networks of all sweeps as one, whose arrays have the leading axes (S, G)."""
    weights = jax.tree.map(
        lambda *leaves: np.concatenate(leaves).reshape(len(seeds), -1, *leaves[0].shape[1:]),
        *(on_host(networks.weights) for networks in trained),
    )
    first = trained[0]
    return TrainedNetworks(eqx.combine(weights, first.programs.static), first.problem, first.solver)


def result_of(
    networks: TrainedNetworks, data: Dataset, seeds: tuple[int, ...], extras, *, diverged, **arrays
) -> Result:
    """The result of a solver that trains networks, from the arrays that it has filled in.

    Arguments:
        diverged: for which problems something was not finite, shape (S, N).
        arrays: those of `Result`; the history is that of single losses.
    """
    solved = arrays["loss"] < np.asarray(data.threshold)
    status = np.where(solved, Status.SOLVED, np.where(diverged, Status.DIVERGED, Status.BUDGET_SPENT))
    arrays["loss_history"] = np.minimum.accumulate(arrays["loss_history"], axis=-1)
    return Result(
        **arrays,
        solved=solved,
        status=status.astype(np.int32),
        solver=describe(networks.solver),
        seed=seeds,
        extras={**extras, "network": networks.network, "trained": networks},
    )


def _is_known(leaf) -> bool:
    """Whether a leaf of a network is an array, or the shape of one."""
    return isinstance(leaf, jax.ShapeDtypeStruct) or eqx.is_array_like(leaf)


def _arrays(network) -> list:
    """The arrays of a network, or their shapes."""
    return jax.tree.leaves(eqx.filter(network, _is_known))
