"""Joint parameter optimization: one network learns the solutions of many inverse problems at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Result, check_integer
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.trained import result_of, trained_networks
from jpo_lib.solvers.training import Networks, NetworkTraining, check_groups, grouped, joined, visiting_order

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

    def run(
        self, problem: InverseProblem, data: Dataset, seeds: tuple[int, ...], x0, restarts, mesh
    ) -> Result:
        del x0, restarts  # `solve` takes none
        count = data.num_problems
        group_size = check_groups(problem, self, count)
        num_groups = count // group_size
        inputs = grouped(data, num_groups)

        # On a CPU one seed after the other keeps weights and activations in the cache; an accelerator wants
        # large batches.
        sweeps = [(seed,) for seed in seeds] if jax.default_backend() == "cpu" else [seeds]
        label = f"JointOptimization on {problem.name}, n = {group_size}"
        records, trained = [], []
        with progress_bar(label, total=self.num_steps * len(sweeps)) as report:
            for number, sweep in enumerate(sweeps):
                batch, groups = self.batch_for(group_size), np.tile(np.arange(num_groups), len(sweep))
                networks = Networks(problem, self, inputs, groups, batch, mesh)
                networks.initialize(sweep)
                order = visiting_order(sweep, num_groups, group_size, batch, self.num_steps)
                first = number * self.num_steps
                records.append(_train(problem, self, networks, order, lambda done, n=first: report(n + done)))
                networks.stop_clock()
                trained.append(networks)

        def of_all(name: str) -> np.ndarray:
            return joined([getattr(record, name) for record in records], len(seeds))

        num_diverged = of_all("num_diverged")
        extras = {"x_initial": of_all("x_initial"), "x_final": of_all("last_x"), "num_diverged": num_diverged}
        if self.num_recorded:
            extras["recorded_steps"] = records[0].steps
            for name, kept in (("x_recorded", "before"), ("x_recorded_next", "after")):
                each = zip(*(getattr(record, kept) for record in records), strict=True)
                extras[name] = np.stack([joined(parts, len(seeds)) for parts in each], axis=1)
        return result_of(
            trained_networks(trained, seeds),
            data,
            seeds,
            extras,
            diverged=num_diverged > 0,
            run_seconds=sum(networks.run_seconds for networks in trained),
            compile_seconds=sum(networks.compile_seconds for networks in trained),
            **{name: of_all(name) for name in ("x", "loss", "loss_history", "num_evaluations")},
        )


class _Record:
    """The best point of each problem of M networks, its best loss after each of its evaluations, and the
    outputs of the networks at some steps."""

    def __init__(self, x_initial: np.ndarray, longest: int, steps: np.ndarray):
        shape, dtype = x_initial.shape[:2], x_initial.dtype
        self.x_initial, self.steps = x_initial, steps
        self.x, self.loss = np.zeros_like(x_initial), np.full(shape, np.inf, dtype)
        self.num_diverged, self.num_evaluations = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        self.loss_history = np.full((*shape, longest), np.inf, dtype)
        self.last_x = self.x.copy()
        self.before, self.after = [], []

    def add(self, chosen, x, loss):
        """Take in one evaluation of the problems `chosen` (M, b) at x (M, b, d)."""
        at = np.arange(len(self.x))[:, None], chosen
        finite = np.isfinite(loss) & np.isfinite(x).all(axis=-1)
        loss = np.where(finite, loss, LARGE_LOSS)
        better = loss < self.loss[at]
        self.x[at] = np.where(better[..., None], x, self.x[at])
        self.loss[at] = np.where(better, loss, self.loss[at])
        self.loss_history[(*at, self.num_evaluations[at])] = loss
        self.num_diverged[at] += ~finite
        self.num_evaluations[at] += 1
        self.last_x[at] = x


def _train(problem: InverseProblem, solver: JointOptimization, networks: Networks, order, report) -> _Record:
    """Train M networks side by side; each sees the problems `order` (M, steps, b)."""
    evaluate = evaluation(problem, solver.training_loss or problem.training_loss)
    x_initial, num_steps = networks.outputs(), solver.num_steps
    group_size, batch = x_initial.shape[1], order.shape[2]
    longest = num_steps + 1 if batch == group_size else -(-num_steps * batch // group_size) + 1
    steps = np.unique(np.linspace(0, num_steps - 1, solver.num_recorded).astype(int))
    record, waiting = _Record(x_initial, longest, steps), []

    def take_in(chosen, x, loss):
        record.add(chosen, networks.on_host(x), networks.on_host(loss))

    for step in range(num_steps):
        if step in steps:
            record.before.append(networks.outputs())
        chosen = order[:, step]
        part, context, y = networks.gather(chosen)
        x, raw, pull_back = networks.propose(part)
        loss, gradient = networks.call(evaluate, x, context, y)
        networks.learn(step, pull_back, raw, gradient)
        if step in steps:
            record.after.append(networks.outputs())
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
    return record
