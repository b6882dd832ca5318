"""How networks are trained, whatever they learn from: the hyperparameters, the compiled programs, and M
networks side by side."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_choice, check_counts, check_not_negative, check_positive
from jpo_lib.networks.dense import network_for
from jpo_lib.problem import Dataset, InverseProblem, random_streams
from jpo_lib.solvers.devices import ALL, EACH, check_shares, mesh_of, on_host, placed
from jpo_lib.solvers.evaluation import Program
from jpo_lib.solvers.programs import OPTIMIZERS, initialize, learn, network_programs
from jpo_lib.solvers.solver import Solver, left_open


@dataclasses.dataclass(frozen=True)
class NetworkTraining(Solver):
    """Hyperparameters of all solvers that train networks; those solvers explain them."""

    fallbacks: ClassVar = {
        "num_steps": 400,
        "learning_rate": 1e-3,
        "final_rate": 0.0,
        "clip_problem": np.inf,
        "clip_global": np.inf,
        "clip_to_bounds": False,
    }
    takes: ClassVar = ()

    group_size: int | None = None
    network: Callable | None = None
    inputs: str = "targets"
    num_steps: int = left_open()
    learning_rate: float = left_open()
    final_rate: float = left_open()
    batch_size: int | None = None
    clip_problem: float = left_open()
    clip_global: float = left_open()
    clip_to_bounds: bool = left_open()
    optimizer: str = "adam"

    def __post_init__(self):
        check_counts(group_size=self.group_size, num_steps=self.num_steps, batch_size=self.batch_size)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if self.learning_rate is not None:
            check_positive(learning_rate=self.learning_rate)
        if self.final_rate is not None:
            check_not_negative(1, final_rate=self.final_rate)
        for name in ("clip_problem", "clip_global"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(
                    f"{name}: expected a number above zero or infinity, got {value!r}; pass one."
                )

    def completed(self, problem, num_problems=None):
        filled = super().completed(problem)
        if self.batch_size is None and filled.batch_size is not None and num_problems is not None:
            # A recommended batch that does not divide the group is enlarged to the next number that does.
            size = filled.training_size(filled.group_size or num_problems)
            batch = next(n for n in range(min(filled.batch_size, size), size + 1) if size % n == 0)
            filled = dataclasses.replace(filled, batch_size=batch)
        return filled

    def training_size(self, group_size: int) -> int:
        """Number of examples that a network of a group learns from."""
        return group_size

    def batch_for(self, size: int) -> int:
        """Examples per step of a network that learns from `size`; a recommended batch larger than that means
        all of them."""
        batch = size if self.batch_size is None else min(self.batch_size, size)
        if size % batch:
            raise ValueError(
                f"batch_size: expected a divisor of the group size {size}, got {batch}; take one."
            )
        return batch

    def rates(self) -> np.ndarray:
        """Learning rate of each step: half a cosine from the first rate to the last."""
        progress = np.arange(self.num_steps) / self.num_steps
        fraction = self.final_rate + (1.0 - self.final_rate) * 0.5 * (1.0 + np.cos(np.pi * progress))
        return self.learning_rate * fraction


def check_groups(problem: InverseProblem, solver: NetworkTraining, count: int) -> int:
    """The size of the groups that N problems are split into; raises ValueError if the solver does not fit
    them."""
    group_size = solver.group_size or count
    if count % group_size:
        nearest = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(n - group_size))
        kind = f"a divisor of the {count} problems"
        raise ValueError(f"group_size: expected {kind}, got {group_size}; the nearest is {nearest}.")
    if solver.clip_to_bounds and problem.bounds is None:
        name = problem.name
        raise ValueError(f"clip_to_bounds: expected bounds, got {name!r} without; set it to False.")
    return group_size


def grouped(data: Dataset, num_groups: int):
    """What networks see, (y, context, identifiers), with leaves (G, n, ...)."""
    return jax.tree.map(
        lambda leaf: leaf.reshape(num_groups, -1, *leaf.shape[1:]), (data.y, data.context, data.identifiers)
    )


class Networks:
    """M networks side by side.

    Arguments:
        problem, solver: the solver with all its hyperparameters filled in.
        inputs: what the networks see, from `grouped`.
        groups: which of the groups each network belongs to, shape (M,).
        batch: b, problems of its group that each network sees at a time; a divisor of n.
        mesh: devices to work on; None for JAX's default device. If their number divides M, each has some of
            the networks; else it must divide b, and each has some of the problems of all networks.
    """

    def __init__(
        self, problem: InverseProblem, solver: NetworkTraining, inputs, groups, batch: int, mesh=None
    ):
        split = mesh is not None and len(groups) % mesh.size != 0
        if split:
            check_shares(mesh, batch, "problems of a batch")
        self.num_shares = mesh.size if mesh is not None and split else 1
        self.problem, self.solver, self.inputs = problem, solver, placed(inputs, mesh, ALL)
        self.groups = placed(jnp.asarray(groups), mesh, ALL if split else EACH)
        self.make_network = solver.network or network_for(problem, solver.inputs)
        self.box = problem if solver.clip_to_bounds else None
        self.programs = network_programs(self.make_network, self.box, split)
        self.beginning = initialize(self.make_network, solver.optimizer, split)
        self.learning = learn(
            solver.optimizer, float(solver.clip_problem), float(solver.clip_global), self.box, split
        )
        self.begun, self.compile_seconds, self.run_seconds = time.perf_counter(), 0.0, 0.0
        self._ready: dict[Program, Callable] = {}  # each program meets arguments of one shape only
        size = jax.tree.leaves(inputs)[0].shape[1]
        self.blocks = [
            np.broadcast_to(np.arange(first, first + batch, dtype=np.int32), (len(groups), batch))
            for first in range(0, size, batch)
        ]
        self._whole = self._gathered(self.blocks[0]) if len(self.blocks) == 1 else None

    def call(self, program: Program, *arguments):
        if program not in self._ready:
            self._ready[program], seconds = program.compiled(*arguments)
            self.compile_seconds += seconds
        return self._ready[program](*arguments)

    def stop_clock(self) -> None:
        """Keep the wall time since the beginning, without compilation."""
        self.run_seconds = time.perf_counter() - self.begun - self.compile_seconds

    def initialize(self, seeds) -> None:
        """First weights; those of group g depend on the seed and on g alone. Networks are ordered by seed,
        then by group."""
        num_groups, mesh = len(self.groups) // len(seeds), mesh_of([self.groups])
        keys = [random_streams(seed, "networks", num_groups) for seed in seeds]
        self.weights, self.state = self.call(self.beginning, placed(jnp.concatenate(keys), mesh, ALL))
        self._rates = self.solver.rates().astype(jax.tree.leaves(self.weights)[0].dtype)

    def _gathered(self, chosen):
        return self.call(self.programs.gather, self.inputs, self.groups, chosen)

    def gather(self, chosen):
        """Inputs of the networks, context and targets of the problems `chosen`, shape (M, b)."""
        return self._gathered(chosen) if self._whole is None else self._whole

    def propose(self, part):
        """x (M b, d), the outputs before the box was applied (M, b, d), and their pull-back."""
        return self.call(self.programs.propose, self.weights, part)

    def learn(self, step: int, pull_back, raw, gradient) -> None:
        """Descend the mean of L_i over the batch, given its gradients in x (M b, d)."""
        self.weights, self.state = self.call(
            self.learning, self.weights, self.state, self._rates[step], pull_back, raw, gradient
        )

    def on_host(self, rows) -> np.ndarray:
        """Values (M b, ...) of the problems of a batch as NumPy array (M, b, ...)."""
        values = on_host(rows)
        # Each device has its own share of all groups.
        shares = values.reshape(self.num_shares, len(self.groups), -1, *values.shape[1:])
        return np.moveaxis(shares, 0, 1).reshape(len(self.groups), -1, *values.shape[1:])

    def flat(self, values: np.ndarray):
        """Values (M, b, ...) in the order of the rows (M b, ...) that `propose` answers; the inverse of
        `on_host`."""
        shares = values.reshape(len(self.groups), self.num_shares, -1, *values.shape[2:])
        rows = np.moveaxis(shares, 1, 0).reshape(-1, *values.shape[2:])
        return placed(rows, mesh_of([self.groups]))

    def outputs(self) -> np.ndarray:
        """What the networks say now of all their problems, shape (M, n, d)."""
        parts = [self.on_host(self.propose(self.gather(chosen)[0])[0]) for chosen in self.blocks]
        return np.concatenate(parts, axis=1)


def joined(values, num_seeds: int) -> np.ndarray:
    """(S G, n, ...) of all sweeps -> (S, N, ...)"""
    array = np.concatenate(values)
    return array.reshape(num_seeds, -1, *array.shape[2:])


def visiting_order(seeds, num_groups: int, size: int, batch: int, num_steps: int) -> np.ndarray:
    """Which of its examples each network sees in each step, shape (S * G, steps, b): a new permutation each
    epoch."""
    if batch == size:
        everything = np.arange(size, dtype=np.int32)
        return np.broadcast_to(everything, (len(seeds) * num_groups, num_steps, size))
    epochs = np.tile(np.arange(size, dtype=np.int32), (-(-num_steps * batch // size), 1))
    generators = [np.random.default_rng([seed, group, 1]) for seed in seeds for group in range(num_groups)]
    orders = [generator.permuted(epochs, axis=1).reshape(-1, batch)[:num_steps] for generator in generators]
    return np.array(orders)


def describe(solver: NetworkTraining) -> str:
    """The solver as text; functions are named, since their addresses would differ between runs."""
    values = {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}
    if values.get("training_loss", 0) is None:
        del values["training_loss"]
    for name, value in values.items():
        if callable(value):
            values[name] = getattr(value, "__qualname__", type(value).__name__)
    return f"{type(solver).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"
