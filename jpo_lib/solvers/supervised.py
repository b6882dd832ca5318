"""Supervised learning of the inverse map: the control that needs the prior and a simulator, but no gradient
of it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_counts
from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Result, random_stream
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.trained import result_of, trained_networks
from jpo_lib.solvers.training import Networks, NetworkTraining, check_groups, grouped, joined, visiting_order


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
        check_counts(num_pairs=self.num_pairs)

    def recommended(self, problem):
        # The network, steps and rates of joint optimization; gradients are other ones, and clipped otherwise.
        joint = dict(problem.recommended.solvers.get("JointOptimization", {}))
        joint.pop("clip_problem", None)
        return {**joint, **super().recommended(problem)}

    def training_size(self, group_size: int) -> int:
        return self.num_pairs or group_size

    def run(
        self, problem: InverseProblem, data: Dataset, seeds: tuple[int, ...], x0, restarts, mesh
    ) -> Result:
        del x0, restarts  # `solve` takes none
        count = data.num_problems
        group_size = check_groups(problem, self, count)
        num_groups, num_pairs = count // group_size, self.training_size(group_size)
        batch = self.batch_for(num_pairs)
        pairs = [draw_pairs(problem, num_groups * num_pairs, seed) for seed in seeds]
        if problem.bounds is None:
            scale = np.std(np.concatenate([np.asarray(p.x_true) for p in pairs]), axis=0) + 1e-30
        else:
            scale = 0.5 * (np.asarray(problem.bounds[1]) - np.asarray(problem.bounds[0]))

        trained, x_pairs = [], []
        label = f"Supervised on {problem.name}, {num_pairs} pairs"
        with progress_bar(label, total=self.num_steps * len(seeds)) as report:
            for number, (seed, known) in enumerate(zip(seeds, pairs, strict=True)):
                groups = np.arange(num_groups)
                networks = Networks(problem, self, grouped(known, num_groups), groups, batch, mesh)
                networks.initialize((seed,))
                truth = np.asarray(known.x_true).reshape(num_groups, num_pairs, -1)
                order = visiting_order((seed,), num_groups, num_pairs, batch, self.num_steps)
                for step in range(self.num_steps):
                    chosen = order[:, step]
                    x, raw, pull_back = networks.propose(networks.gather(chosen)[0])
                    target = networks.flat(truth[groups[:, None], chosen])
                    gradient = (2.0 * problem.difference(x, target) / scale**2).astype(x.dtype)
                    networks.learn(step, pull_back, raw, gradient)
                    report(number * self.num_steps + step + 1)
                x_pairs.append(networks.outputs())
                networks.stop_clock()
                trained.append(networks)
        networks = trained_networks(trained, seeds)
        x = networks(data)
        loss, compile_seconds = _losses(problem, data, x, self.batch_size)
        # Each problem pays its share of the pairs; the shares of a group add up to m.
        shares = np.tile(np.diff(np.arange(group_size + 1) * num_pairs // group_size), num_groups)
        spent = np.broadcast_to(shares + 1, loss.shape).astype(np.int32)
        history = np.full((*loss.shape, int(spent.max())), np.inf, loss.dtype)
        # Nothing is known before the answer.
        np.put_along_axis(history, spent[..., None] - 1, loss[..., None], axis=-1)
        without_seeds = [dataclasses.replace(known, seed=None) for known in pairs]
        stacked_pairs = jax.tree.map(lambda *leaves: np.stack(leaves), *without_seeds)
        return result_of(
            networks,
            data,
            seeds,
            {"pairs": stacked_pairs, "x_pairs": joined(x_pairs, len(seeds))},
            diverged=~np.isfinite(loss),
            x=x,
            loss=loss,
            loss_history=history,
            num_evaluations=np.zeros_like(spent),
            num_simulations=spent,
            compile_seconds=compile_seconds + sum(networks.compile_seconds for networks in trained),
            run_seconds=sum(networks.run_seconds for networks in trained),
        )


def draw_pairs(problem: InverseProblem, count: int, seed: int) -> Dataset:
    """Pairs of parameters and targets from the prior; other draws than those of `sample_dataset` with the
    same seed."""
    stream = int(jax.random.bits(random_stream(seed, "pairs"), dtype=jnp.uint32)) >> 1
    return problem.sample_dataset(count, stream)


def _losses(problem: InverseProblem, data: Dataset, x: np.ndarray, batch: int | None):
    """Losses (S, N) of the answers x (S, N, d), and how long their program took to compile."""
    # In blocks of the training's batch where that is possible: the same shape as everywhere else, and little
    # memory.
    count = data.num_problems
    size = batch if batch is not None and count % batch == 0 else count
    blocks = [(slice(first, first + size), data[first : first + size]) for first in range(0, count, size)]
    one = blocks[0][1]
    program, seconds = evaluation(problem).compiled(jnp.asarray(x[0, :size]), one.context, one.y)
    losses = [
        np.asarray(program(jnp.asarray(answer[part]), block.context, block.y)[0])
        for answer in x
        for part, block in blocks
    ]
    return np.concatenate(losses).reshape(x.shape[:-1]), seconds
