"""Time and memory of one kind of work, measured here.

Times differ from run to run and from machine to machine. They are therefore kept apart from the results of
studies, which are equal bit for bit whenever they are computed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jpo_lib._processors import usable_cores
from jpo_lib.problem import InverseProblem, check_integer
from jpo_lib.solvers import BFGS, JointOptimization, solve
from jpo_lib.solvers.evaluation import block_size, evaluation

BATCH = 256  # problems per step when a network is trained on many
EPOCHS = 4
# What `measure` times, in words. Each is given per problem.
WORKS = {
    "evaluation": "one evaluation (loss and gradient)",
    "training": "one visit by the training of a network",
    "solution": "one solution by BFGS",
}


def measured_seconds(call: Callable[[], Any], repeats: int, shortest: float = 0.02) -> list[float]:
    """Wall times of a call in seconds. The first call is not counted.

    Arguments:
        call: does the work; what it returns is waited for.
        repeats: number of measurements.
        shortest: each measurement repeats the call until it has lasted this long, seconds.
    """
    check_integer("repeats", repeats, 1)
    begin = time.perf_counter()
    jax.block_until_ready(call())
    inner = max(1, int(shortest / max(time.perf_counter() - begin, 1e-9)))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(inner - 1):
            call()
        jax.block_until_ready(call())
        seconds.append((time.perf_counter() - begin) / inner)
    return seconds


def measure(
    problem: InverseProblem, work: str, num_problems: int, *, seed: int = 990, repeats: int = 5
) -> dict[str, Any]:
    """How long one kind of work takes on N problems together, per problem, on this machine.

    "evaluation" is one call of the compiled loss and gradient; "training" four epochs of joint optimization
    of all N problems with minibatches of at most 256, with the evaluation of all of them at its end;
    "solution" is `BFGS()` from the starting points of the data. Compilation is not included.

    Arguments:
        problem: the family of problems.
        work: "evaluation", "training" or "solution".
        num_problems: N.
        seed: of the data.
        repeats: number of measurements.
    Returns:
        {"problem", "work", "n", "seconds", "low", "high", "repeats", "compile_seconds"}: seconds per problem
        (for training: per visit of a problem), and for "evaluation" also "bytes": memory of arguments,
        results and intermediate arrays per problem, as the compiler states it.
    Raises:
        ValueError: if the kind of work is unknown or a number is out of range.
    """
    if work not in WORKS:
        raise ValueError(f"work: expected one of {', '.join(WORKS)}, got {work!r}; choose one of them.")
    data = problem.sample_dataset(num_problems, seed)
    row: dict[str, Any] = {"problem": problem.name, "work": work, "n": num_problems}
    visits = num_problems * (EPOCHS if work == "training" else 1)
    if work == "evaluation":
        arguments = data.x0, data.context, data.y
        with problem.precision():
            program, row["compile_seconds"] = evaluation(problem).compiled(*arguments)
            seconds = measured_seconds(lambda: program(*arguments), repeats)
            held = _bytes(problem, arguments)
        if held is not None:
            row["bytes"] = held / num_problems
    else:
        solver = BFGS()
        if work == "training":
            batch = min(BATCH, num_problems)
            steps = EPOCHS * num_problems // batch
            solver = JointOptimization(group_size=num_problems, batch_size=batch, num_steps=steps)
        results = [solve(problem, data, solver) for _ in range(repeats + 1)]
        row["compile_seconds"] = results[0].compile_seconds
        seconds = [result.run_seconds for result in results[1:]]
    spent = {"seconds": float(np.median(seconds)), "low": min(seconds), "high": max(seconds)}
    return row | {name: value / visits for name, value in spent.items()} | {"repeats": repeats}


def _bytes(problem: InverseProblem, arguments) -> float | None:
    """Memory of arguments, results and intermediate arrays of an evaluation, where the compiler states it.
    Each processor works on one block at a time."""
    count = len(arguments[0])
    size = block_size(problem, count)
    program, _ = evaluation(problem).compiled(*jax.tree.map(lambda leaf: leaf[:size], arguments))
    analysis: Any = program  # compiled, as `compiled` says
    memory = analysis.memory_analysis()
    if memory is None:
        return None
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return kept * count / size + memory.temp_size_in_bytes * min(usable_cores(), -(-count // size))
