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

LARGE_LOSS = 1e30


@dataclasses.dataclass(frozen=True)
class JointOptimization:
    """x_i = net(y_i, c_i, gamma_i; theta), trained on sum_i L(F(x_i, c_i), y_i) over a group of n problems.

    The N problems are split into N / n groups of neighbours with one network each; all groups and all seeds run
    under one vmap. Each step evaluates the loss and its gradient g_i in x once per problem of the batch, clips
    g_i, and pulls it back through the network. Where the problem has a training loss, g_i is the gradient of that one;
    the same simulation gives L, by which the best point is chosen and which the result reports. A problem whose
    simulation is not finite counts with a large loss and a zero gradient, so that it cannot spoil the others. The result holds the best x_i that was evaluated.

    Arguments (those that are None take the problem's recommendation):
        group_size: n, number of problems that share a network; all N when None. Must divide N.
        network: function key -> network, where a network is a callable (y, context, identifier) -> x (d,).
        inputs: what the default network sees: "targets", "targets+identifiers" or "identifiers".
        num_steps: training steps.
        learning_rate: of Adam at the start; half a cosine takes it to `final_rate` times that.
        final_rate: fraction of the learning rate at the end, dimensionless.
        batch_size: problems per step; the whole group when None. Must divide n when smaller than n.
        clip_problem: largest norm of each g_i, unit loss / unit x; infinity switches clipping off.
        clip_global: largest norm of the gradient in theta.
        clip_to_bounds: clip x_i to the box of the prior, drop gradients that point out of it, and pull back
            outputs that lie outside.
    Result extras: x_initial and x_final (N, d), the first and last outputs of the network; num_diverged (N,),
        how many evaluations were not finite; network, the trained networks stacked along their leading axes (groups).
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

    def __post_init__(self):
        for name in ("group_size", "num_steps", "batch_size"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
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


class Carry(NamedTuple):
    weights: Any
    optimizer: Any
    x: jax.Array
    loss: jax.Array
    num_diverged: jax.Array


@functools.lru_cache(maxsize=32)
def _programs(problem: InverseProblem, solver: JointOptimization, group_size: int):
    """The programs of one group: initialize, train for some steps, and evaluate the outputs."""
    make_network = solver.network or network_for(problem, solver.inputs)
    batch = solver.batch_for(group_size)
    schedule = optax.cosine_decay_schedule(solver.learning_rate, solver.num_steps, alpha=solver.final_rate)
    parts = [] if np.isinf(solver.clip_global) else [optax.clip_by_global_norm(solver.clip_global)]
    optimizer = optax.chain(*parts, optax.scale_by_adam(), optax.scale_by_learning_rate(schedule))
    static = eqx.partition(eqx.filter_eval_shape(make_network, jax.random.key(0)), eqx.is_array_like)[1]

    def outputs(weights, data: Dataset):
        network = eqx.combine(weights, static)
        return jax.vmap(network)(data.y, data.context, data.identifiers)

    def bounded(x):
        if not solver.clip_to_bounds:
            return x
        lower, upper = (jnp.asarray(bound, x.dtype) for bound in problem.bounds)
        return jnp.clip(x, lower, upper)

    def objectives(x, context, y):
        """What is descended, and the loss L: one simulation for both."""
        output = problem.simulate(x, context)
        loss = problem.loss(output, y)
        return loss if problem.training_loss is None else problem.training_loss(output, y), loss

    def evaluate(x, data: Dataset):
        (_, loss), gradient = jax.vmap(jax.value_and_grad(objectives, has_aux=True))(x, data.context, data.y)
        finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient), axis=1) & jnp.all(jnp.isfinite(x), axis=1)
        return jnp.where(finite, loss, LARGE_LOSS), jnp.where(finite[:, None], gradient, 0.0), finite

    def initialize(key, data: Dataset):
        weights = eqx.partition(make_network(key), eqx.is_array_like)[0]
        weights = jax.tree.map(jnp.asarray, weights)
        carry = Carry(weights, optimizer.init(weights), jnp.zeros_like(data.x0),
                      jnp.full(group_size, jnp.inf, data.x0.dtype), jnp.zeros(group_size, jnp.int32))
        return carry, bounded(outputs(weights, data))

    def step(data: Dataset, carry: Carry, chosen):
        part = data if batch == group_size else jax.tree.map(lambda leaf: leaf[chosen], data)
        raw, pull_back = jax.vjp(lambda weights: outputs(weights, part), carry.weights)
        x = bounded(raw)
        loss, gradient, finite = evaluate(x, part)
        if solver.clip_to_bounds:
            outside = raw - x
            gradient = jnp.where(outside * gradient < 0.0, 0.0, gradient) + outside
        if not np.isinf(solver.clip_problem):
            norm = jnp.linalg.norm(gradient, axis=1, keepdims=True)
            gradient = gradient * jnp.minimum(1.0, solver.clip_problem / jnp.maximum(norm, 1e-30))
        (weight_gradient,) = pull_back(gradient / batch)
        change, optimizer_state = optimizer.update(weight_gradient, carry.optimizer, carry.weights)
        weights = optax.apply_updates(carry.weights, change)
        if batch == group_size:
            better = loss < carry.loss
            best_x, best_loss = jnp.where(better[:, None], x, carry.x), jnp.where(better, loss, carry.loss)
            num_diverged = carry.num_diverged + ~finite
        else:
            better = loss < carry.loss[chosen]
            best_x = carry.x.at[chosen].set(jnp.where(better[:, None], x, carry.x[chosen]))
            best_loss = carry.loss.at[chosen].min(loss)
            num_diverged = carry.num_diverged.at[chosen].add(~finite)
        return Carry(weights, optimizer_state, best_x, best_loss, num_diverged), loss

    def train(carry: Carry, data: Dataset, order):
        """Steps over the rows of `order` (steps, batch), the problems of each step."""
        return jax.lax.scan(functools.partial(step, data), carry, order)

    def finish(carry: Carry, data: Dataset):
        x = bounded(outputs(carry.weights, data))
        loss, _, finite = evaluate(x, data)
        better = loss < carry.loss
        best = carry._replace(x=jnp.where(better[:, None], x, carry.x), loss=jnp.where(better, loss, carry.loss),
                              num_diverged=carry.num_diverged + ~finite)
        return best, x, loss

    def over_groups_and_seeds(function, axes):
        """vmap over groups, then over seeds; data belong to a group and are the same for all seeds."""
        over_groups = jax.vmap(function)
        if jax.default_backend() != "cpu":
            return jax.vmap(over_groups, in_axes=axes)

        def seed_by_seed(*arguments):
            # On a CPU one seed after the other keeps weights and activations in the cache: about twice as fast.
            mapped = [value for value, axis in zip(arguments, axes) if axis == 0]

            def one_seed(values):
                values = iter(values)
                return over_groups(*(next(values) if axis == 0 else value for value, axis in zip(arguments, axes)))

            return jax.lax.map(one_seed, mapped)

        return seed_by_seed

    return {
        "initialize": jax.jit(over_groups_and_seeds(initialize, (0, None))),
        "train": jax.jit(over_groups_and_seeds(train, (0, None, 0)), donate_argnums=0),
        "finish": jax.jit(over_groups_and_seeds(finish, (0, None))),
        "static": static,
        "compiled": {},
    }


def _visiting_order(seeds, num_groups: int, group_size: int, batch: int, num_steps: int) -> np.ndarray:
    """Which problems of the group each step sees: random permutations, one per epoch, shape (S, G, steps, batch)."""
    if batch == group_size:
        return np.zeros((len(seeds), num_groups, num_steps, 0), np.int32)  # nothing to choose
    epochs = -(-num_steps * batch // group_size)
    orders = [
        [np.random.default_rng([seed, group, 1]).permuted(np.tile(np.arange(group_size, dtype=np.int32), (epochs, 1)), axis=1)
         .reshape(-1, batch)[:num_steps] for group in range(num_groups)]
        for seed in seeds
    ]
    return np.array(orders)


def run_joint(problem: InverseProblem, data: Dataset, solver: JointOptimization, seeds: tuple[int, ...]) -> Result:
    """Train the networks of all groups and seeds. Arrays of the result have the leading axis of seeds."""
    count, dimension = data.num_problems, problem.dimension
    group_size = solver.group_size or count
    if count % group_size:
        nearest = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(n - group_size))
        raise ValueError(f"group_size: expected a divisor of the {count} problems, got {group_size}; the nearest is {nearest}.")
    if solver.clip_to_bounds and problem.bounds is None:
        raise ValueError(f"clip_to_bounds: expected a problem with bounds, got {problem.name!r} without; set it to False.")
    num_groups, num_seeds = count // group_size, len(seeds)
    batch = solver.batch_for(group_size)
    programs = _programs(problem, solver, group_size)

    plain = dataclasses.replace(data, x_true=None, seed=None)
    grouped = jax.tree.map(lambda leaf: leaf.reshape(num_groups, group_size, *leaf.shape[1:]), plain)
    keys = jnp.stack([jax.vmap(jax.random.fold_in, (None, 0))(random_stream(s, "networks"), jnp.arange(num_groups)) for s in seeds])
    order = _visiting_order(seeds, num_groups, group_size, batch, solver.num_steps)
    chunk = max((n for n in range(1, 101) if solver.num_steps % n == 0), default=1)
    chunk = chunk if chunk >= 10 else solver.num_steps

    compile_seconds = 0.0

    def compiled(name, *arguments):
        nonlocal compile_seconds
        signature = (name, tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(arguments)))
        if signature not in programs["compiled"]:
            begin = time.perf_counter()
            programs["compiled"][signature] = programs[name].lower(*arguments).compile()
            compile_seconds += time.perf_counter() - begin
        return programs["compiled"][signature](*arguments)

    start = time.perf_counter()
    losses = []
    carry, x_initial = compiled("initialize", keys, grouped)
    label = f"JointOptimization on {problem.name}, n = {group_size}"
    with progress_bar(label, total=solver.num_steps) as report:
        for first in range(0, solver.num_steps, chunk):
            carry, loss = compiled("train", carry, grouped, jnp.asarray(order[:, :, first : first + chunk]))
            losses.append(np.asarray(loss))
            report(first + chunk)
    carry, x_final, final_loss = compiled("finish", carry, grouped)
    carry, x_initial, x_final, final_loss = jax.block_until_ready((carry, x_initial, x_final, final_loss))
    run_seconds = time.perf_counter() - start - compile_seconds

    history, num_evaluations = _history(np.concatenate(losses, axis=2), order, np.asarray(final_loss), group_size)

    def flat(array):
        array = np.asarray(array)
        return array.reshape(num_seeds, count, *array.shape[3:])

    loss, num_diverged = flat(carry.loss), flat(carry.num_diverged)
    solved = loss < np.asarray(data.threshold)
    status = np.where(num_diverged > 0, Status.DIVERGED, Status.BUDGET_SPENT)
    return Result(
        x=flat(carry.x), loss=loss, loss_history=flat(history), num_evaluations=flat(num_evaluations), solved=solved,
        status=np.where(solved, Status.SOLVED, status).astype(np.int32), compile_seconds=compile_seconds, run_seconds=run_seconds,
        solver=_describe(solver), seed=seeds,
        extras={"x_initial": flat(x_initial), "x_final": flat(x_final), "num_diverged": num_diverged,
                "network": eqx.combine(carry.weights, programs["static"])},
    )


def _describe(solver: JointOptimization) -> str:
    """The solver as text; a network function is named, since its address would differ between runs."""
    values = {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}
    if callable(values["network"]):
        values["network"] = getattr(values["network"], "__qualname__", type(values["network"]).__name__)
    return "JointOptimization(" + ", ".join(f"{name}={value!r}" for name, value in values.items()) + ")"


def _history(losses, order, final_loss, group_size: int):
    """Best loss after k evaluations of each problem, and how many there were, from the losses in visiting order."""
    num_seeds, num_groups, num_steps, batch = losses.shape
    if batch == group_size:
        history = np.concatenate([np.swapaxes(losses, 2, 3), final_loss[..., None]], axis=3)
        counts = np.full(final_loss.shape, num_steps + 1, np.int32)
    else:
        epochs = -(-num_steps * batch // group_size)
        history = np.full((num_seeds, num_groups, group_size, epochs + 1), np.inf, losses.dtype)
        epoch = np.arange(num_steps) // (group_size // batch)
        seed, group = np.ogrid[:num_seeds, :num_groups]
        history[seed[..., None, None], group[..., None, None], order, epoch[None, None, :, None]] = losses
        counts = 1 + np.isfinite(history).sum(axis=3).astype(np.int32)
        history[np.arange(num_seeds)[:, None, None], np.arange(num_groups)[None, :, None], np.arange(group_size)[None, None], counts - 1] = final_loss
    return np.minimum.accumulate(history, axis=3), counts
