"""Supervised learning of the inverse map: the control that needs the prior and a simulator, but no gradient
of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Result, Status, check_integer, random_stream
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.solver import ARRAYS
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


@dataclasses.dataclass(frozen=True)
class Supervised(NetworkTraining):
    """min_theta sum_j |net(F(x_j, c_j), c_j; theta) - x_j|^2 / s^2 over m simulated pairs,  then  x_i =
    net(y_i, c_i; theta).

    The pairs are drawn as the problems themselves are: x_j and c_j from the prior, the target with its noise.
    They share no random numbers with any data set. The N problems of the data are split into N / n groups
    with one network each, as for `JointOptimization`; each network has pairs of its own, and never sees the
    targets of its group before it answers them. s is the half width of the prior box for each parameter, or
    the spread of the x_j where the problem has no box. Differences of periodic parameters are taken the short
    way round.

    Each simulated pair is a run of the simulation without a gradient, and so is each answer, because its loss
    must be known. A group of n problems shares its m pairs: num_simulations adds up to m + n over the group,
    and num_evaluations is zero. Training steps simulate nothing and cost nothing in this unit, however many
    they are.

    Arguments (those that are None take what the problem recommends for JointOptimization):
        group_size: n, number of problems that share a network; all N when None. Must divide N.
        num_pairs: m, number of pairs that each network learns from; n when None.
        network, inputs, num_steps, optimizer, learning_rate, final_rate, clip_global: as for
            JointOptimization. "targets" is the only input that makes sense, since identifiers of pairs say
            nothing about those of the problems.
        batch_size: pairs per step; all of them when None. Must divide m when smaller than m.
        clip_problem: largest norm of the gradient of each pair, unit 1 / unit x; infinity when None.
        clip_to_bounds: clip the answers to the box of the prior; see JointOptimization.
    Result extras: network, the trained networks stacked along their leading axes (groups), see
        `Result.network`; pairs, the data set of the pairs of
        all groups, in their order (with several seeds its arrays have a leading axis, too); x_pairs (N m / n,
        d), what the trained networks answer to them.
    Raises:
        ValueError: if a number is out of range or sizes do not divide.

    Source: learning from simulations in general: Cranmer, Brehmer & Louppe (2020),
        doi:10.1073/pnas.1912789117.
    """

    num_pairs: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.num_pairs is not None:
            check_integer("num_pairs", self.num_pairs, 1)

    def recommended(self, problem):
        # The network, steps and rates of joint optimization; gradients are other ones, and clipped otherwise.
        joint = dict(problem.recommended.solvers.get("JointOptimization", {}))
        joint.pop("clip_problem", None)
        return {**joint, **super().recommended(problem)}

    def training_size(self, group_size: int) -> int:
        return self.num_pairs or group_size

    def train(self, problem, data, seeds, mesh):
        return run_supervised(problem, data, self, seeds, mesh)


def draw_pairs(problem: InverseProblem, count: int, seed: int) -> Dataset:
    """Pairs of parameters and targets from the prior; other draws than those of `sample_dataset` with the
    same seed."""
    stream = int(jax.random.bits(random_stream(seed, "pairs"), dtype=jnp.uint32)) >> 1
    return problem.sample_dataset(count, stream)


def run_supervised(
    problem: InverseProblem, data: Dataset, solver: Supervised, seeds: tuple[int, ...], mesh=None
) -> Result:
    """Train the networks of all groups and seeds on pairs of their own, then ask them about the data."""
    count = data.num_problems
    group_size = check_groups(problem, solver, count)
    num_groups, num_pairs = count // group_size, solver.training_size(group_size)
    batch = solver.batch_for(num_pairs)
    pairs = [draw_pairs(problem, num_groups * num_pairs, seed) for seed in seeds]
    if problem.bounds is None:
        scale = np.std(np.concatenate([np.asarray(p.x_true) for p in pairs]), axis=0) + 1e-30
    else:
        scale = 0.5 * (np.asarray(problem.bounds[1]) - np.asarray(problem.bounds[0]))

    trained, x_pairs = [], []
    with progress_bar(
        f"Supervised on {problem.name}, {num_pairs} pairs", total=solver.num_steps * len(seeds)
    ) as report:
        for number, (seed, known) in enumerate(zip(seeds, pairs)):
            networks = Networks(
                problem, solver, grouped(known, num_groups), np.arange(num_groups), batch, mesh
            )
            networks.initialize((seed,))
            truth = np.asarray(known.x_true).reshape(num_groups, num_pairs, -1)
            order = visiting_order((seed,), num_groups, num_pairs, batch, solver.num_steps)
            for step in range(solver.num_steps):
                chosen = order[:, step]
                x, raw, pull_back = networks.propose(networks.gather(chosen)[0])
                target = networks.flat(truth[np.arange(num_groups)[:, None], chosen])
                networks.learn(
                    step, pull_back, raw, (2.0 * problem.difference(x, target) / scale**2).astype(x.dtype)
                )
                report(number * solver.num_steps + step + 1)
            trained.append(networks)
            x_pairs.append(networks.outputs())
    network = stacked_networks(trained, len(seeds))
    run_seconds = sum(networks.run_seconds for networks in trained)
    # Each problem pays its share of the pairs; the shares of a group add up to m.
    shares = np.diff(np.arange(group_size + 1) * num_pairs // group_size)
    unknown: dict[str, Any] = dict.fromkeys(ARRAYS)  # until the networks have answered
    result = Result(
        **unknown,
        compile_seconds=sum(networks.compile_seconds for networks in trained),
        run_seconds=run_seconds,
        solver=describe(solver),
        seed=seeds,
        extras={
            "network": network,
            "trained": TrainedNetworks(network, problem, solver),
            "pairs": _stacked(pairs),
            "x_pairs": joined(x_pairs, len(seeds)),
        },
    )
    return _with_answers(problem, data, result, np.tile(shares, num_groups))


def _stacked(pairs: list[Dataset]) -> Dataset:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(dataclasses.replace(p, seed=None) for p in pairs))


def _with_answers(problem: InverseProblem, data: Dataset, result: Result, shares: np.ndarray) -> Result:
    """The result with what the networks answer to the problems of the data, and what that costs and is
    worth."""
    x = result.network(data)
    # In blocks of the training's batch where that is possible: the same shape as everywhere else, and little
    # memory.
    count, batch = data.num_problems, result.network.solver.batch_size
    size = batch if batch is not None and count % batch == 0 else count
    blocks = [(slice(first, first + size), data[first : first + size]) for first in range(0, count, size)]
    program, compile_seconds = evaluation(problem).compiled(
        jnp.asarray(x[0, :size]), blocks[0][1].context, blocks[0][1].y
    )
    loss = np.stack(
        [
            np.concatenate(
                [
                    np.asarray(program(jnp.asarray(answer[part]), block.context, block.y)[0])
                    for part, block in blocks
                ]
            )
            for answer in x
        ]
    )
    finite = np.isfinite(loss)
    solved = loss < np.asarray(data.threshold)
    spent = np.broadcast_to(shares + 1, loss.shape).astype(np.int32)
    history = np.full((*loss.shape, int(spent.max())), np.inf, loss.dtype)
    np.put_along_axis(
        history, spent[..., None] - 1, loss[..., None], axis=-1
    )  # nothing is known before the answer
    return dataclasses.replace(
        result,
        x=x,
        loss=loss,
        loss_history=np.minimum.accumulate(history, axis=-1),
        num_evaluations=np.zeros_like(spent),
        num_simulations=spent,
        solved=solved,
        status=np.where(solved, Status.SOLVED, np.where(finite, Status.BUDGET_SPENT, Status.DIVERGED)).astype(
            np.int32
        ),
        compile_seconds=result.compile_seconds + compile_seconds,
    )
