"""Attempts at long motions of the Kuramoto–Sivashinsky equation, where chaos makes the landscape rough.

    python -m jpo_book.attempts.kuramoto_sivashinsky recipe multi_start --horizon 40 --group-size 1024 --data-seed 0

appends one row per attempt to results/attempts/kuramoto_sivashinsky.csv, and replaces the row of the same attempt.
All attempts are judged on the first 256 problems of a data set, and every simulation with its gradient counts:
training, refinement, restarts. Motions of other lengths count in proportion to their length.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jpo_book.attempts.untried import Unrolled, scale_by_soap
from jpo_book.files import root_folder
from jpo_book.studies import source_hash
from jpo_lib.networks.kuramoto_sivashinsky import RingEncoder
from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.problems.kuramoto_sivashinsky import kuramoto_sivashinsky
from jpo_lib.solvers import BFGS, JointOptimization, MultiStart, solve
from jpo_lib.solvers.refinement import continued, first_problems, refine
from jpo_lib.solvers.training import OPTIMIZERS

REPORTED = 256
COLUMNS = (
    "attempt",
    "horizon",
    "group_size",
    "data_seed",
    "network_seed",
    "solved_before_refinement",
    "training_evaluations",
    "solved_one_run",
    "evaluations_one_run",
    "solved",
    "evaluations",
    "seconds",
    "code",
)
KEY = COLUMNS[:5]


def results_file() -> Path:
    return root_folder() / "results" / "attempts" / "kuramoto_sivashinsky.csv"


def _judged(problem, data, joint) -> dict:
    """One BFGS run from the best answer, and the whole refinement, with all evaluations per problem."""
    options = problem.defaults["refine"]
    one, all_runs = (
        continued(joint, refine(problem, data, joint, **{**options, **change}))
        for change in ({"num_starts": 1}, {})
    )
    return {
        "solved_before_refinement": joint.solved.mean(),
        "training_evaluations": joint.num_evaluations.mean(),
        "solved_one_run": one.solved.mean(),
        "evaluations_one_run": one.num_evaluations.mean(),
        "solved": all_runs.solved.mean(),
        "evaluations": all_runs.num_evaluations.mean(),
    }


def _train(problem, data, group_size: int, seed, **options):
    return first_problems(
        solve(problem, data, JointOptimization(group_size=group_size, **options), seed=seed), REPORTED
    )


def recipe(problem: InverseProblem, data: Dataset, group_size: int, seed: int, **options) -> dict:
    """Joint optimization as the problem recommends it, then refinement."""
    return _judged(problem, data[:REPORTED], _train(problem, data, group_size, seed, **options))


def short_training_four_runs(problem, data, group_size, seed) -> dict:
    """Two thirds of the training steps, and up to four runs of BFGS."""
    problem = dataclasses.replace(
        problem, defaults={**problem.defaults, "refine": {**problem.defaults["refine"], "num_starts": 4}}
    )
    return recipe(
        problem, data, group_size, seed, num_steps=problem.defaults["JointOptimization"]["num_steps"] * 2 // 3
    )


def half_training(*arguments) -> dict:
    """Half as many training steps."""
    return recipe(*arguments, num_steps=arguments[0].defaults["JointOptimization"]["num_steps"] // 2)


def double_training(*arguments) -> dict:
    """Twice as many training steps."""
    return recipe(*arguments, num_steps=arguments[0].defaults["JointOptimization"]["num_steps"] * 2)


def small_batches(*arguments) -> dict:
    """Batches of 32 instead of 64, twice as many steps: as many evaluations."""
    return recipe(
        *arguments, batch_size=32, num_steps=2 * arguments[0].defaults["JointOptimization"]["num_steps"]
    )


def plain_loss(problem, *arguments) -> dict:
    """Training on the mean squared error itself."""
    return recipe(dataclasses.replace(problem, training_loss=None), *arguments)


def no_box(*arguments) -> dict:
    """The network's output is not clipped to the prior box."""
    return recipe(*arguments, clip_to_bounds=False)


def plain_network(*arguments) -> dict:
    """A usual convolutional network, without the symmetries; its best learning rate is smaller."""
    return recipe(
        *arguments,
        network=lambda key: RingEncoder(key, num_points=128, equivariant=False),
        learning_rate=4e-3,
    )


def curriculum(problem, data, group_size, seed) -> dict:
    """Half of the steps on the state at half the horizon, which must have been observed too; then the full one."""
    settings = {name: value for name, value in problem.settings.items() if name != "float64"}
    short = kuramoto_sivashinsky(**{**settings, "horizon": problem.settings["horizon"] / 2, "float64": True})
    early = short.sample_dataset(data.num_problems, data.seed)
    assert np.array_equal(np.asarray(early.x_true), np.asarray(data.x_true))
    steps = problem.defaults["JointOptimization"]["num_steps"]
    first = solve(
        short,
        early,
        JointOptimization(group_size=group_size, num_steps=steps // 2, final_rate=0.3),
        seed=seed,
    )
    with problem.precision():
        trained = jax.tree.map(
            lambda leaf: leaf[0] if hasattr(leaf, "shape") else leaf, first.extras["network"]
        )
    second = _train(
        problem, data, group_size, seed, num_steps=steps // 2, learning_rate=1e-3, network=lambda key: trained
    )
    row = _judged(problem, data[:REPORTED], second)
    extra = 0.5 * float(first.num_evaluations[:REPORTED].mean())
    return {name: value + extra * ("evaluations" in name) for name, value in row.items()}


def soap(*arguments) -> dict:
    """The optimizer SOAP instead of Adam, with the learning rate of its authors."""
    return recipe(*arguments, optimizer="soap", learning_rate=3e-3)


def soap_large_rate(*arguments) -> dict:
    """The optimizer SOAP with the learning rate that is best for Adam."""
    return recipe(*arguments, optimizer="soap")


def unrolled(problem, data, group_size, seed) -> dict:
    """A network that simulates its first answer and corrects it; half of the steps, since each evaluation costs two."""
    steps = problem.defaults["JointOptimization"]["num_steps"] // 2
    row = recipe(problem, data, group_size, seed, network=lambda key: Unrolled(key, problem), num_steps=steps)
    within = row["training_evaluations"]  # as many simulations inside the network as outside
    return {name: value + within * ("evaluations" in name) for name, value in row.items()}


def best_of_four(problem, data, group_size, seed) -> dict:
    """Four networks with a quarter of the steps each; runs start from the best answers of all, the best one first."""
    steps = problem.defaults["JointOptimization"]["num_steps"] // 4
    joint = _train(problem, data, group_size, [4 * seed + k for k in range(4)], num_steps=steps)
    order = np.argsort(joint.loss, axis=0)
    x = np.take_along_axis(joint.x, order[..., None], axis=0)
    spent = joint.num_evaluations.sum(axis=0)
    cap = problem.defaults["refine"]["max_evaluations"]
    starts = problem.defaults["refine"]["num_starts"]
    one, several = (
        solve(
            problem,
            data[:REPORTED],
            MultiStart(BFGS(max_evaluations=cap), num_starts=k),
            x0=x[0],
            restarts=np.moveaxis(x[1:k], 0, 1) if k > 1 else None,
        )
        for k in (1, starts)
    )
    return {
        "solved_before_refinement": joint.solved.any(axis=0).mean(),
        "training_evaluations": spent.mean(),
        "solved_one_run": one.solved.mean(),
        "evaluations_one_run": (spent + one.num_evaluations).mean(),
        "solved": several.solved.mean(),
        "evaluations": (spent + several.num_evaluations).mean(),
    }


RUN, RUNS = 25, 14  # evaluations per run of BFGS in multi-start, and runs


@functools.lru_cache(maxsize=1)
def _multi_start(problem, data_seed: int):
    data = problem.sample_dataset(REPORTED, data_seed)
    return data, solve(
        problem, data, MultiStart(BFGS(), num_starts=RUNS, run_evaluations=RUN), seed=data_seed
    )


def _classical(solved, evaluations) -> dict:
    return {
        "solved_before_refinement": np.nan,
        "training_evaluations": 0.0,
        "solved_one_run": np.nan,
        "evaluations_one_run": np.nan,
        "solved": np.mean(solved),
        "evaluations": np.mean(evaluations),
    }


def _stopped_after(problem, data, runs: int) -> dict:
    """Multi-start that gives up after some runs: its beginning is the same."""
    data, result = _multi_start(problem, data.seed)
    last = min(RUN * runs, result.loss_history.shape[1])
    return _classical(
        result.loss_history[:, last - 1] < np.asarray(data.threshold),
        np.minimum(result.num_evaluations, last),
    )


def bfgs(problem, data, group_size, seed) -> dict:
    """One run of BFGS, not capped but stopped when solved."""
    result = solve(problem, data[:REPORTED], BFGS(stop_when_solved=True))
    return _classical(result.solved, result.num_evaluations)


def multi_start_2(problem, data, group_size, seed) -> dict:
    """Multi-start BFGS in runs of 25 evaluations, given up after 50."""
    return _stopped_after(problem, data, 2)


def multi_start_5(problem, data, group_size, seed) -> dict:
    """Multi-start BFGS in runs of 25 evaluations, given up after 125."""
    return _stopped_after(problem, data, 5)


def multi_start(problem, data, group_size, seed) -> dict:
    """Multi-start BFGS in runs of 25 evaluations, given up after 350."""
    return _stopped_after(problem, data, RUNS)


ATTEMPTS: dict[str, Callable] = {
    f.__name__: f
    for f in (
        bfgs,
        multi_start_2,
        multi_start_5,
        multi_start,
        recipe,
        short_training_four_runs,
        half_training,
        double_training,
        small_batches,
        plain_loss,
        no_box,
        plain_network,
        curriculum,
        best_of_four,
        soap,
        soap_large_rate,
        unrolled,
    )
}
OPTIMIZERS["soap"] = scale_by_soap
CLASSICAL = ("bfgs", "multi_start_2", "multi_start_5", "multi_start")


REPORTED_SEEDS = (
    0,
    1,
)  # data sets that nothing was chosen on; attempts were compared, and the recipe chosen, on others from 900 on


def frame(horizon: float, reported: bool | None = None):
    """The rows of one horizon as a data frame; `reported` picks the data seeds nothing was chosen on, or the others."""
    import pandas

    texts, whole = ("attempt", "code"), ("group_size", "data_seed", "network_seed")
    rows = pandas.DataFrame(
        [
            {k: v if k in texts else int(v) if k in whole else float(v) for k, v in row.items()}
            for row in load()
        ],
        columns=COLUMNS,
    )
    rows = rows[rows.horizon == horizon]
    return rows if reported is None else rows[rows.data_seed.isin(REPORTED_SEEDS) == reported]


def table(horizons, *, label: str, caption: str):
    """All attempts as a numbered table: means over seeds, tuning and reported data sets apart."""
    from jpo_book.pages.tables import markdown_table

    lines = []
    for horizon in horizons:
        for reported in (True, False):
            chosen = frame(horizon, reported)
            for name, function in ATTEMPTS.items():
                for size, rows in chosen[chosen.attempt == name].groupby("group_size"):
                    alone = name in CLASSICAL
                    lines.append(
                        [
                            (function.__doc__ or name).splitlines()[0].rstrip("."),
                            f"{horizon:g}",
                            "" if alone else int(size),
                            "reported" if reported else "tuning",
                            len(rows),
                            ""
                            if alone
                            else f"{rows.solved_one_run.mean():.3f} at {rows.evaluations_one_run.mean():.1f}",
                            f"{rows.solved.mean():.3f} at {rows.evaluations.mean():.1f}",
                        ]
                    )
    header = [
        "attempt",
        "T",
        "n",
        "data sets",
        "runs",
        "solved with one BFGS run, at evaluations",
        "solved in all, at evaluations",
    ]
    return markdown_table(header, lines, label=label, caption=caption)


def load() -> list[dict[str, str]]:
    """The rows of the result file."""
    path = results_file()
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []


def save(row: dict) -> None:
    """Add a row; one of the same attempt is replaced."""
    import fcntl

    path = results_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = {
            name: f"{row[name]:.4f}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS
        }
        rows = [r for r in load() if any(r[name] != text[name] for name in KEY)] + [text]
        names = list(ATTEMPTS)
        rows.sort(
            key=lambda r: (
                float(r["horizon"]),
                names.index(r["attempt"]),
                *(int(r[name]) for name in KEY[2:]),
            )
        )
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("attempts", nargs="+", choices=list(ATTEMPTS))
    parser.add_argument("--horizon", type=float, default=40.0)
    parser.add_argument("--group-size", type=int, default=1024)
    parser.add_argument("--data-seed", type=int, nargs="+", default=[0])
    parser.add_argument("--network-seed", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    problem = kuramoto_sivashinsky(horizon=arguments.horizon)
    code = source_hash("kuramoto_sivashinsky")[:12]  # now: the sources may change while this runs
    for data_seed in arguments.data_seed:
        data = problem.sample_dataset(max(REPORTED, arguments.group_size), data_seed)
        for name in arguments.attempts:
            classical = name in CLASSICAL
            for network_seed in arguments.network_seed[:1] if classical else arguments.network_seed:
                begin = time.perf_counter()
                row = ATTEMPTS[name](problem, data, arguments.group_size, network_seed)
                save(
                    {
                        "attempt": name,
                        "horizon": arguments.horizon,
                        "group_size": 1 if classical else arguments.group_size,
                        "data_seed": data_seed,
                        "network_seed": network_seed,
                        **{k: float(v) for k, v in row.items()},
                        "seconds": time.perf_counter() - begin,
                        "code": code,
                    }
                )
                print(
                    name, data_seed, network_seed, {k: round(float(v), 3) for k, v in row.items()}, flush=True
                )


if __name__ == "__main__":
    main()
