"""What trained networks know about problems that they were not trained on.

Networks are trained on n problems by joint optimization, and on n simulated pairs by supervised learning.
Both are asked about M unseen problems from the same prior. This module and what it imports decide the
numbers; their source is part of a study's identity.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jpo_book.studies.run_solvers import with_network
from jpo_lib.problem import Dataset, InverseProblem, Result, random_stream
from jpo_lib.solvers import BFGS, JointOptimization, MultiStart, Supervised, solve
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.refinement import continued, first_problems

# What each name in the dimension "solver" means. "Known" problems are the N problems of the data set. Joint
# optimization was trained on them. Supervised networks were not: they know pairs of their own. "Unseen"
# problems are as many others, which no network was trained on.
SOLVERS = {
    "BFGS": "one run of BFGS, known problems",
    "MultiStart": "multi-start BFGS, known problems",
    "Joint": "best answer that joint optimization evaluated during training, known problems",
    "JointLast": "answer of the trained network, known problems: to compare the unseen ones with",
    "JointRefined": "BFGS from Joint, known problems; evaluations include the training",
    "Supervised": "answer of the supervised network, known problems, which it has not seen; with its pairs",
    "SupervisedRefined": "BFGS from Supervised, known problems; evaluations include the pairs",
    "SupervisedTraining": "answer of the supervised network to its own training pairs",
    "BFGSUnseen": "one run of BFGS, unseen problems",
    "MultiStartUnseen": "multi-start BFGS, unseen problems",
    "JointUnseen": "answer of the network of joint optimization, unseen problems; without training",
    "JointUnseenRefined": "BFGS from JointUnseen; evaluations without training",
    "SupervisedUnseen": "answer of the supervised network, unseen problems; evaluations without pairs",
    "SupervisedUnseenRefined": "BFGS from SupervisedUnseen; evaluations without pairs",
}


def run_generalization_cell(problem: InverseProblem, cell) -> tuple[xr.Dataset, dict[str, float]]:
    """`run_generalization` for a cell of a study."""
    return run_generalization(
        problem, cell.num_problems, cell.data_seed, cell.group_size, cell.network_seeds, cell.options
    )


def unseen_problems(problem: InverseProblem, count: int, data_seed: int) -> Dataset:
    """M problems from the same prior that share no random numbers with the data set of this seed."""
    return problem.sample_dataset(
        count, int(jax.random.bits(random_stream(data_seed, "unseen"), dtype=jnp.uint32)) >> 1
    )


@functools.lru_cache(maxsize=16)
def _classical(problem: InverseProblem, count: int, data_seed: int) -> dict[str, Result]:
    """Solvers that know nothing of n: the same results for all cells with these problems."""
    results = {}
    for suffix, data in (
        ("", problem.sample_dataset(count, data_seed)),
        ("Unseen", unseen_problems(problem, count, data_seed)),
    ):
        results[f"BFGS{suffix}"] = solve(problem, data, BFGS(), seed=data_seed)
        results[f"MultiStart{suffix}"] = solve(problem, data, MultiStart(), seed=data_seed)
    return results


def run_generalization(
    problem: InverseProblem,
    num_problems: int,
    data_seed: int,
    group_size: int,
    network_seeds: Sequence[int],
    options: Mapping[str, Any],
) -> tuple[xr.Dataset, dict[str, float]]:
    """Networks trained on n problems each, asked about problems that they know and problems that they do not.

    The N known problems are split into N / n groups with one network each. Each of these networks answers its
    own n problems and n unseen ones, so that every network is asked and N answers of each kind stand for one
    seed. When n is larger than N, one network learns from n problems and is asked about the first N of them
    and N unseen ones.

    Arguments:
        problem, num_problems, data_seed, network_seeds: the family, N, and the seeds of the data and of the
            networks.
        group_size: n, number of training problems, and of training pairs.
        options: of JointOptimization; "supervised" holds what is different for Supervised.
    Returns:
        loss, solved and num_evaluations (solver, network_seed, problem), see `SOLVERS`, with
        num_training_evaluations: what the training cost per training problem. BFGS and MultiStart depend on
        neither n nor the network, and are repeated. And the seconds of each method.
    """
    options = with_network(problem, options)
    changes = options.pop("supervised", {})
    everything = problem.sample_dataset(max(num_problems, group_size), data_seed)
    known, unseen = everything[:num_problems], unseen_problems(problem, num_problems, data_seed)
    seeds = list(network_seeds)
    trained = {
        "Joint": solve(problem, everything, JointOptimization(group_size=group_size, **options), seed=seeds),
        "Supervised": solve(
            problem,
            everything,
            Supervised(**{**_shared(options), "group_size": group_size, **changes}),
            seed=seeds,
        ),
    }
    table = _Table(seeds, num_problems)
    seconds: dict[str, float] = {}
    for name, result in trained.items():
        first = first_problems(result, num_problems)
        refined = solve(problem, known, BFGS(), x0=first.x, seed=seeds)
        answers = solve(problem, unseen, BFGS(), x0=result.network(unseen), seed=seeds)
        training = _runs(first)
        table.add(name, first, training)
        table.add(f"{name}Refined", continued(first, refined), training)
        table.add_first_step(f"{name}Unseen", answers, unseen, training)
        table.add(f"{name}UnseenRefined", answers, training)
        seconds |= {
            f"{name}.compile": round(result.compile_seconds, 4),
            f"{name}.run": round(result.run_seconds, 4),
        }
    table.add_answers(
        "JointLast",
        problem,
        [known] * len(seeds),
        trained["Joint"].extras["x_final"][:, :num_problems],
        trained["Joint"],
    )
    supervised = trained["Supervised"].extras
    pairs = [
        jax.tree.map(lambda leaf, k=k: leaf[k], supervised["pairs"])[:num_problems] for k in range(len(seeds))
    ]
    table.add_answers(
        "SupervisedTraining", problem, pairs, supervised["x_pairs"][:, :num_problems], trained["Supervised"]
    )
    for name, result in _classical(problem, num_problems, data_seed).items():
        table.add(name, result, np.zeros_like(result.num_evaluations))
    study = table.dataset().assign(
        threshold=("problem", np.asarray(known.threshold)),
        threshold_unseen=("problem", np.asarray(unseen.threshold)),
    )
    return study, seconds


def _shared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of JointOptimization that mean the same for Supervised."""
    return {name: value for name, value in options.items() if name not in ("clip_problem", "num_recorded")}


def _runs(result: Result) -> np.ndarray:
    """Runs with a gradient or without; a simulated pair counts as one."""
    return result.num_runs.astype(result.num_evaluations.dtype)


class _Table:
    """Results of all methods, (solver, network_seed, problem)."""

    def __init__(self, seeds: list[int], num_problems: int):
        self.seeds, self.shape, self.rows = seeds, (len(seeds), num_problems), {}

    def add(self, name: str, result: Result, training) -> None:
        self._put(name, result.loss, result.solved, _runs(result), training)

    def add_first_step(self, name: str, result: Result, data: Dataset, training) -> None:
        """The answer that a refinement began with: its first evaluation."""
        loss = result.loss_history[..., 0]
        self._put(
            name, loss, loss < np.asarray(data.threshold), np.ones_like(result.num_evaluations), training
        )

    def add_answers(
        self, name: str, problem: InverseProblem, data: Sequence[Dataset], x: np.ndarray, trained: Result
    ) -> None:
        """Answers x (S, N, d) to the problems of one data set for each seed."""
        with problem.precision():
            program = evaluation(problem)
            loss = []
            for answers, known in zip(x, data):
                arguments = jnp.asarray(answers), *jax.tree.map(jnp.asarray, (known.context, known.y))
                loss.append(np.asarray(program.compiled(*arguments)[0](*arguments)[0]))
        solved = np.stack(loss) < np.stack([np.asarray(known.threshold) for known in data])
        cost = _runs(trained)[:, : self.shape[1]]
        self._put(name, np.stack(loss), solved, cost, cost)

    def _put(self, name, *columns) -> None:
        self.rows[name] = [np.broadcast_to(np.asarray(column), self.shape) for column in columns]

    def dataset(self) -> xr.Dataset:
        dims = ("solver", "network_seed", "problem")
        names = [name for name in SOLVERS if name in self.rows]
        columns = [np.stack([self.rows[name][k] for name in names]) for k in range(4)]
        # Losses that are not finite mean a diverged simulation: larger than any other, not missing.
        columns[0] = np.where(np.isfinite(columns[0]), columns[0], np.inf).astype(np.float32)
        kinds = ("loss", "solved", "num_evaluations", "num_training_evaluations")
        return xr.Dataset(
            {kind: (dims, column) for kind, column in zip(kinds, columns)},
            coords={"solver": names, "network_seed": self.seeds},
        )
