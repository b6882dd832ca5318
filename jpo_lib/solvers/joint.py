"""Joint parameter optimization: one network learns the solutions of many inverse problems at once."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jpo_lib.networks.dense import network_for
from jpo_lib.problem import Dataset, InverseProblem, Result, Status, check_integer, check_positive, random_stream
from jpo_lib.progress import progress_bar
from jpo_lib.solvers.evaluation import Program, evaluation

LARGE_LOSS = 1e30
OPTIMIZERS = {"adam": optax.scale_by_adam, "sgd": optax.identity, "rmsprop": optax.scale_by_rms}


@dataclasses.dataclass(frozen=True)
class JointOptimization:
    """x_i = net(y_i, c_i, gamma_i; theta), trained on sum_i L(F(x_i, c_i), y_i) over a group of n problems.

    The N problems are split into N / n groups of neighbours with one network each; all groups run under one vmap,
    and on an accelerator all seeds. Each step evaluates the loss and its gradient g_i in x once per problem of the batch, clips
    g_i, and pulls it back through the network. Where the problem has a training loss, g_i is the gradient of that one;
    the same simulation gives L, by which the best point is chosen and which the result reports. A problem whose
    simulation is not finite counts with a large loss and a zero gradient, so that it cannot spoil the others. The result holds the best x_i that was evaluated.

    Arguments (those that are None take the problem's recommendation):
        group_size: n, number of problems that share a network; all N when None. Must divide N.
        network: function key -> network, where a network is a callable (y, context, identifier) -> x (d,).
        inputs: what the default network sees: "targets", "targets+identifiers" or "identifiers".
        num_steps: training steps.
        optimizer: "adam", "sgd" or "rmsprop", as optax defines them.
        learning_rate: of the optimizer at the start; half a cosine takes it to `final_rate` times that.
        final_rate: fraction of the learning rate at the end, dimensionless.
        batch_size: problems per step; the whole group when None. Must divide n when smaller than n.
        clip_problem: largest norm of each g_i, unit loss / unit x; infinity switches clipping off.
        clip_global: largest norm of the gradient in theta.
        clip_to_bounds: clip x_i to the box of the prior, drop gradients that point out of it, and pull back
            outputs that lie outside.
        num_recorded: K, number of evenly spaced steps at which the outputs for all problems are recorded.
    Result extras: x_initial and x_final (N, d), the first and last outputs of the network; num_diverged (N,),
        how many evaluations were not finite; network, the trained networks stacked along their leading axes (groups). With num_recorded: recorded_steps (K,),
        x_recorded and x_recorded_next (K, N, d), the outputs before and after each of these steps.
    Raises:
        ValueError: if a number is out of range or sizes do not divide.

    Source: Holl & Thuerey (2024), arXiv 2408.08119.
    """

    group_size: int | None = None
    network: Callable | None = None
    inputs: str = "targets"
    num_steps: int | None = None
    learning_rate: float | None = None
    final_rate: float | None = None
    batch_size: int | None = None
    clip_problem: float | None = None
    clip_global: float | None = None
    clip_to_bounds: bool | None = None
    optimizer: str = "adam"
    num_recorded: int = 0

    def __post_init__(self):
        for name in ("group_size", "num_steps", "batch_size"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
        check_integer("num_recorded", self.num_recorded, 0)
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}; use one of them.")
        if self.learning_rate is not None:
            check_positive(learning_rate=self.learning_rate)
        if self.final_rate is not None and not 0 <= self.final_rate <= 1:
            raise ValueError(f"final_rate: expected a number between 0 and 1, got {self.final_rate!r}; it is a fraction of the learning rate.")
        for name in ("clip_problem", "clip_global"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: expected a number above zero (infinity to switch it off), got {value!r}; pass such a number.")

    def with_defaults(self, defaults):
        general = dict(num_steps=400, learning_rate=1e-3, final_rate=0.0, clip_problem=np.inf, clip_global=np.inf, clip_to_bounds=False)
        open_fields = {
            name: defaults.get(name, value) for name, value in {**general, "batch_size": None}.items() if getattr(self, name) is None
        }
        return dataclasses.replace(self, **open_fields)

    def batch_for(self, group_size: int) -> int:
        """Problems per step in a group; a recommended batch larger than the group means the whole group."""
        batch = group_size if self.batch_size is None else min(self.batch_size, group_size)
        if group_size % batch:
            raise ValueError(f"batch_size: expected a divisor of the group size {group_size}, got {batch}; choose such a number.")
        return batch


class Programs(NamedTuple):
    """The compiled parts of a training step, for a batch of M networks with b problems each."""

    initialize: Program  # keys (M,) -> weights, state of the optimizer
    gather: Program  # data, group of each network (M,), chosen problems (M, b) -> inputs of the networks, context and targets
    propose: Program  # weights, inputs -> x (M b, d), outputs before the box was applied, their pull-back
    learn: Program  # weights, optimizer, pull-back, outputs, gradient in x (M b, d) -> weights, optimizer
    static: Any  # the part of a network that is not trained


@functools.lru_cache(maxsize=32)
def _programs(problem: InverseProblem, solver: JointOptimization) -> Programs:
    """Programs of a solver without sizes: those follow from the arguments, so that equal shapes share them."""
    make_network = solver.network or network_for(problem, solver.inputs)
    schedule = optax.cosine_decay_schedule(solver.learning_rate, solver.num_steps, alpha=solver.final_rate)
    clip = optax.identity() if np.isinf(solver.clip_global) else optax.clip_by_global_norm(solver.clip_global)
    optimizer = optax.chain(clip, OPTIMIZERS[solver.optimizer](), optax.scale_by_learning_rate(schedule))
    static = eqx.partition(eqx.filter_eval_shape(make_network, jax.random.key(0)), eqx.is_array_like)[1]

    def bounded(x):
        if not solver.clip_to_bounds:
            return x
        lower, upper = (jnp.asarray(bound, x.dtype) for bound in problem.bounds)
        return jnp.clip(x, lower, upper)

    def initialize_one(key):
        weights = jax.tree.map(jnp.asarray, eqx.partition(make_network(key), eqx.is_array_like)[0])
        return weights, optimizer.init(weights)

    def gather(inputs, groups, chosen):
        part = jax.tree.map(lambda leaf: leaf[groups[:, None], chosen], inputs)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), part)
        return part, flat[1], flat[0]

    def propose(weights, part):
        def outputs(weights, part):
            return jax.vmap(lambda *inputs: eqx.combine(weights, static)(*inputs))(*part)

        raw, pull_back = jax.vjp(lambda weights: jax.vmap(outputs)(weights, part), weights)
        return bounded(raw).reshape(-1, raw.shape[-1]), raw, pull_back

    def learn(weights, state, pull_back, raw, gradient):
        gradient = gradient.reshape(raw.shape)
        if solver.clip_to_bounds:
            outside = raw - bounded(raw)
            gradient = jnp.where(outside * gradient < 0.0, 0.0, gradient) + outside
        if not np.isinf(solver.clip_problem):
            norm = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
            gradient = gradient * jnp.minimum(1.0, solver.clip_problem / jnp.maximum(norm, 1e-30))
        (weight_gradient,) = pull_back(gradient / raw.shape[1])
        change, state = jax.vmap(optimizer.update)(weight_gradient, state, weights)
        return optax.apply_updates(weights, change), state

    return Programs(Program(jax.vmap(initialize_one)), Program(gather), Program(propose), Program(learn, donate=(0, 1)), static)


def _visiting_order(seeds, num_groups: int, group_size: int, batch: int, num_steps: int) -> np.ndarray:
    """Which problems of its group each network sees in each step, shape (S * G, steps, b): a new permutation each epoch."""
    if batch == group_size:
        everything = np.arange(group_size, dtype=np.int32)
        return np.broadcast_to(everything, (len(seeds) * num_groups, num_steps, group_size))
    epochs = -(-num_steps * batch // group_size)
    return np.array([
        np.random.default_rng([seed, group, 1]).permuted(np.tile(np.arange(group_size, dtype=np.int32), (epochs, 1)), axis=1)
        .reshape(-1, batch)[:num_steps] for seed in seeds for group in range(num_groups)
    ])


class _Record:
    """The best point of each problem of M networks, and its best loss after each of its evaluations."""

    def __init__(self, num_networks: int, group_size: int, dimension: int, longest: int, dtype):
        self.x = np.zeros((num_networks, group_size, dimension), dtype)
        self.loss = np.full((num_networks, group_size), np.inf, dtype)
        self.num_diverged = np.zeros((num_networks, group_size), np.int32)
        self.num_evaluations = np.zeros((num_networks, group_size), np.int32)
        self.history = np.full((num_networks, group_size, longest), np.inf, dtype)
        self.last_x, self.last_loss = self.x.copy(), self.loss.copy()
        self.rows = np.arange(num_networks)[:, None]

    def add(self, chosen, x, loss):
        """Take in one evaluation of the problems `chosen` (M, b) at x (M b, d)."""
        at = self.rows, chosen
        x, loss = np.asarray(x).reshape(*chosen.shape, -1), np.asarray(loss).reshape(chosen.shape)
        finite = np.isfinite(loss) & np.isfinite(x).all(axis=-1)
        loss = np.where(finite, loss, LARGE_LOSS)
        better = loss < self.loss[at]
        self.x[at] = np.where(better[..., None], x, self.x[at])
        self.loss[at] = np.where(better, loss, self.loss[at])
        self.history[(*at, self.num_evaluations[at])] = loss
        self.num_diverged[at] += ~finite
        self.num_evaluations[at] += 1
        self.last_x[at], self.last_loss[at] = x, loss


def run_joint(problem: InverseProblem, data: Dataset, solver: JointOptimization, seeds: tuple[int, ...]) -> Result:
    """Train the networks of all groups and seeds. Arrays of the result have the leading axis of seeds."""
    count, dimension = data.num_problems, problem.dimension
    group_size = solver.group_size or count
    if count % group_size:
        nearest = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(n - group_size))
        raise ValueError(f"group_size: expected a divisor of the {count} problems, got {group_size}; the nearest is {nearest}.")
    if solver.clip_to_bounds and problem.bounds is None:
        raise ValueError(f"clip_to_bounds: expected a problem with bounds, got {problem.name!r} without; set it to False.")
    num_groups, batch = count // group_size, solver.batch_for(group_size)
    inputs = jax.tree.map(lambda leaf: leaf.reshape(num_groups, group_size, *leaf.shape[1:]), (data.y, data.context, data.identifiers))

    # On a CPU one seed after the other keeps weights and activations in the cache; an accelerator wants large batches.
    sweeps = [(seed,) for seed in seeds] if jax.default_backend() == "cpu" else [seeds]
    label = f"JointOptimization on {problem.name}, n = {group_size}"
    with progress_bar(label, total=solver.num_steps * len(sweeps)) as report:
        parts = [
            _train(problem, inputs, solver, sweep, (num_groups, group_size, batch, dimension),
                   lambda done, number=number: report(number * solver.num_steps + done))
            for number, sweep in enumerate(sweeps)
        ]

    def joined(values):
        """(S G, n, ...) of all sweeps -> (S, N, ...)"""
        array = np.concatenate(values)
        return array.reshape(len(seeds), count, *array.shape[2:])

    records = [part["record"] for part in parts]
    x, loss, num_diverged, num_evaluations, x_final = (
        joined([getattr(record, name) for record in records]) for name in ("x", "loss", "num_diverged", "num_evaluations", "last_x"))
    solved = loss < np.asarray(data.threshold)
    status = np.where(num_diverged > 0, Status.DIVERGED, Status.BUDGET_SPENT)
    extras = {"x_initial": joined([part["x_initial"] for part in parts]), "x_final": x_final, "num_diverged": num_diverged}
    if solver.num_recorded:
        extras["recorded_steps"] = parts[0]["recorded_steps"]
        for name in ("x_recorded", "x_recorded_next"):
            extras[name] = np.stack([joined([part[name][k] for part in parts]) for k in range(len(extras["recorded_steps"]))], axis=1)
    weights = jax.tree.map(lambda *leaves: np.concatenate(leaves).reshape(len(seeds), num_groups, *leaves[0].shape[1:]),
                           *(part["weights"] for part in parts))
    extras["network"] = eqx.combine(weights, parts[0]["static"])
    return Result(
        x=x, loss=loss, loss_history=np.minimum.accumulate(joined([record.history for record in records]), axis=-1),
        num_evaluations=num_evaluations, solved=solved, status=np.where(solved, Status.SOLVED, status).astype(np.int32),
        compile_seconds=sum(part["compile_seconds"] for part in parts), run_seconds=sum(part["run_seconds"] for part in parts),
        solver=_describe(solver), seed=seeds, extras=extras,
    )


def _train(problem, inputs, solver, seeds, sizes, report) -> dict[str, Any]:
    """Train the M = S * G networks of some seeds side by side."""
    num_groups, group_size, batch, dimension = sizes
    clock, compile_seconds = time.perf_counter(), 0.0
    ready: dict[Program, Callable] = {}  # each program meets arguments of one shape only

    def call(program: Program, *arguments):
        nonlocal compile_seconds
        if program not in ready:
            ready[program], seconds = program.compiled(*arguments)
            compile_seconds += seconds
        return ready[program](*arguments)

    programs = _programs(problem, dataclasses.replace(solver, group_size=None, batch_size=None, num_recorded=0))
    evaluate = evaluation(problem, training=True)
    num_networks, num_steps = len(seeds) * num_groups, solver.num_steps
    keys = jnp.concatenate([jax.vmap(jax.random.fold_in, (None, 0))(random_stream(s, "networks"), jnp.arange(num_groups)) for s in seeds])
    weights, state = call(programs.initialize, keys)
    groups = jnp.tile(jnp.arange(num_groups), len(seeds))
    order = _visiting_order(seeds, num_groups, group_size, batch, num_steps)
    everything = [np.broadcast_to(np.arange(first, first + batch, dtype=np.int32), (num_networks, batch)) for first in range(0, group_size, batch)]
    whole = call(programs.gather, inputs, groups, everything[0]) if len(everything) == 1 else None

    def gather(chosen):
        return call(programs.gather, inputs, groups, chosen) if whole is None else whole

    def outputs():
        """What the networks say now of all their problems, shape (M, n, d)."""
        parts = [np.asarray(call(programs.propose, weights, gather(chosen)[0])[0]) for chosen in everything]
        return np.concatenate([part.reshape(num_networks, batch, dimension) for part in parts], axis=1)

    x_initial = outputs()
    longest = num_steps + 1 if batch == group_size else -(-num_steps * batch // group_size) + 1
    record = _Record(num_networks, group_size, dimension, longest, x_initial.dtype)
    recorded_steps = np.unique(np.linspace(0, num_steps - 1, solver.num_recorded).astype(int)) if solver.num_recorded else np.array([], int)
    before, after, waiting = [], [], []
    for step in range(num_steps):
        if step in recorded_steps:
            before.append(outputs())
        chosen = order[:, step]
        part, context, y = gather(chosen)
        x, raw, pull_back = call(programs.propose, weights, part)
        loss, gradient = call(evaluate, x, context, y)
        weights, state = call(programs.learn, weights, state, pull_back, raw, gradient)
        if step in recorded_steps:
            after.append(outputs())
        # Read a step's outcome when the next one is already under way, so that an accelerator need not wait.
        waiting.append((chosen, x, loss))
        if len(waiting) > 1:
            record.add(*waiting.pop(0))
        report(step + 1)
    for outcome in waiting:
        record.add(*outcome)
    for chosen in everything:
        part, context, y = gather(chosen)
        x = call(programs.propose, weights, part)[0]
        record.add(chosen, x, call(evaluate, x, context, y)[0])
    return {
        "record": record, "x_initial": x_initial, "weights": jax.tree.map(np.asarray, weights), "static": programs.static,
        "recorded_steps": recorded_steps, "x_recorded": before, "x_recorded_next": after,
        "compile_seconds": compile_seconds, "run_seconds": time.perf_counter() - clock - compile_seconds,
    }


def _describe(solver: JointOptimization) -> str:
    """The solver as text; a network function is named, since its address would differ between runs."""
    values = {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}
    if callable(values["network"]):
        values["network"] = getattr(values["network"], "__qualname__", type(values["network"]).__name__)
    return "JointOptimization(" + ", ".join(f"{name}={value!r}" for name, value in values.items()) + ")"
