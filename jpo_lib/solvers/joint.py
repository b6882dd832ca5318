"""Joint parameter optimization: one network learns the solutions of many inverse problems at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Result, Status, check_integer
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.trained import TrainedNetworks
from jpo_lib.solvers.training import (
    Networks,
    NetworkTraining,
    check_groups,
    describe,
    grouped,
    joined,
    stacked_networks,
    visiting_order,
)

LARGE_LOSS = 1e30


@dataclasses.dataclass(frozen=True)
class JointOptimization(NetworkTraining):
    """x_i = net(y_i, c_i, gamma_i; theta), trained on sum_i L(F(x_i, c_i), y_i) over a group of n problems.

    The N problems are split into N / n groups of neighbours with one network each; all groups run under one
    vmap, and on an accelerator all seeds. Each step evaluates the loss and its gradient g_i in x once per
    problem of the batch, clips g_i, and pulls it back through the network. Where the problem has a training
    loss, g_i is the gradient of that one; the same simulation gives L, by which the best point is chosen and
    which the result reports. A problem whose simulation is not finite counts with a large loss and a zero
    gradient, so that it cannot spoil the others. The result holds the best x_i that was evaluated.

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
        training_loss: what is descended instead of the problem's training loss; see `InverseProblem`.
        num_recorded: K, number of evenly spaced steps at which the outputs for all problems are recorded.
    Result extras: x_initial and x_final (N, d), the first and last outputs of the network; num_diverged (N,),
        how many evaluations were not finite; network, the trained networks stacked along their leading axes
        (groups), see `Result.network`. With num_recorded: recorded_steps (K,), x_recorded and x_recorded_next
        (K, N, d), the outputs before and after each of these steps.
    Raises:
        ValueError: if a number is out of range or sizes do not divide.

    Source: Holl & Thuerey (2024), arXiv 2408.08119.
    """

    training_loss: Callable | None = None
    num_recorded: int = 0

    def __post_init__(self):
        super().__post_init__()
        check_integer("num_recorded", self.num_recorded, 0)

    def train(self, problem, data, seeds, mesh):
        return run_joint(problem, data, self, seeds, mesh)


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
        """Take in one evaluation of the problems `chosen` (M, b) at x (M, b, d)."""
        at = self.rows, chosen
        finite = np.isfinite(loss) & np.isfinite(x).all(axis=-1)
        loss = np.where(finite, loss, LARGE_LOSS)
        better = loss < self.loss[at]
        self.x[at] = np.where(better[..., None], x, self.x[at])
        self.loss[at] = np.where(better, loss, self.loss[at])
        self.history[(*at, self.num_evaluations[at])] = loss
        self.num_diverged[at] += ~finite
        self.num_evaluations[at] += 1
        self.last_x[at], self.last_loss[at] = x, loss


def run_joint(
    problem: InverseProblem, data: Dataset, solver: JointOptimization, seeds: tuple[int, ...], mesh=None
) -> Result:
    """Train the networks of all groups and seeds. Arrays of the result have the leading axis of seeds."""
    count = data.num_problems
    group_size = check_groups(problem, solver, count)
    num_groups, batch = count // group_size, solver.batch_for(group_size)
    inputs = grouped(data, num_groups)

    # On a CPU one seed after the other keeps weights and activations in the cache; an accelerator wants large
    # batches.
    sweeps = [(seed,) for seed in seeds] if jax.default_backend() == "cpu" else [seeds]
    label = f"JointOptimization on {problem.name}, n = {group_size}"
    with progress_bar(label, total=solver.num_steps * len(sweeps)) as report:
        parts = [
            _train(
                problem,
                inputs,
                solver,
                sweep,
                num_groups,
                batch,
                mesh,
                lambda done, number=number: report(number * solver.num_steps + done),
            )
            for number, sweep in enumerate(sweeps)
        ]

    records, trained = [part["record"] for part in parts], [part["networks"] for part in parts]
    x, loss, num_diverged, num_evaluations, x_final, history = (
        joined([getattr(record, name) for record in records], len(seeds))
        for name in ("x", "loss", "num_diverged", "num_evaluations", "last_x", "history")
    )
    solved = loss < np.asarray(data.threshold)
    status = np.where(num_diverged > 0, Status.DIVERGED, Status.BUDGET_SPENT)
    extras = {
        "x_initial": joined([part["x_initial"] for part in parts], len(seeds)),
        "x_final": x_final,
        "num_diverged": num_diverged,
    }
    if solver.num_recorded:
        extras["recorded_steps"] = parts[0]["recorded_steps"]
        for name in ("x_recorded", "x_recorded_next"):
            extras[name] = np.stack(
                [
                    joined([part[name][k] for part in parts], len(seeds))
                    for k in range(len(extras["recorded_steps"]))
                ],
                axis=1,
            )
    network = stacked_networks(trained, len(seeds))
    extras |= {"network": network, "trained": TrainedNetworks(network, problem, solver)}
    return Result(
        x=x,
        loss=loss,
        loss_history=np.minimum.accumulate(history, axis=-1),
        num_evaluations=num_evaluations,
        solved=solved,
        status=np.where(solved, Status.SOLVED, status).astype(np.int32),
        compile_seconds=sum(networks.compile_seconds for networks in trained),
        run_seconds=sum(part["run_seconds"] for part in parts),
        solver=describe(solver),
        seed=seeds,
        extras=extras,
    )


def _train(problem, inputs, solver, seeds, num_groups, batch, mesh, report) -> dict[str, Any]:
    """Train the M = S * G networks of some seeds side by side."""
    networks = Networks(problem, solver, inputs, np.tile(np.arange(num_groups), len(seeds)), batch, mesh)
    networks.initialize(seeds)
    evaluate = evaluation(problem, solver.training_loss or problem.training_loss)
    x_initial, num_steps = networks.outputs(), solver.num_steps
    num_networks, group_size, dimension = x_initial.shape
    order = visiting_order(seeds, num_groups, group_size, batch, num_steps)
    longest = num_steps + 1 if batch == group_size else -(-num_steps * batch // group_size) + 1
    record = _Record(num_networks, group_size, dimension, longest, x_initial.dtype)
    recorded_steps = (
        np.unique(np.linspace(0, num_steps - 1, solver.num_recorded).astype(int))
        if solver.num_recorded
        else np.array([], int)
    )
    before, after, waiting = [], [], []

    def take_in(chosen, x, loss):
        record.add(chosen, networks.on_host(x), networks.on_host(loss))

    for step in range(num_steps):
        if step in recorded_steps:
            before.append(networks.outputs())
        chosen = order[:, step]
        part, context, y = networks.gather(chosen)
        x, raw, pull_back = networks.propose(part)
        loss, gradient = networks.call(evaluate, x, context, y)
        networks.learn(step, pull_back, raw, gradient)
        if step in recorded_steps:
            after.append(networks.outputs())
        # Read a step's outcome when the next one is already under way, so that an accelerator need not wait.
        waiting.append((chosen, x, loss))
        if len(waiting) > 1:
            take_in(*waiting.pop(0))
        report(step + 1)
    for outcome in waiting:
        take_in(*outcome)
    for chosen in networks.blocks:
        part, context, y = networks.gather(chosen)
        x = networks.propose(part)[0]
        take_in(chosen, x, networks.call(evaluate, x, context, y)[0])
    return {
        "record": record,
        "x_initial": x_initial,
        "networks": networks,
        "run_seconds": networks.run_seconds,
        "recorded_steps": recorded_steps,
        "x_recorded": before,
        "x_recorded_next": after,
    }
