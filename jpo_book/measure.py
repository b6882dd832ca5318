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


def median_seconds(call: Callable[[], Any], repeats: int = 5, shortest: float = 0.02) -> dict[str, float]:
    """Wall time of a call in seconds: {"median", "low", "high", "repeats"}. The first call is not counted.

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
        result = call()
        jax.block_until_ready(result)
        seconds.append((time.perf_counter() - begin) / inner)
    return {
        "median": float(np.median(seconds)),
        "low": min(seconds),
        "high": max(seconds),
        "repeats": repeats,
    }


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
    if work == "evaluation":
        arguments = data.x0, data.context, data.y
        with problem.precision():
            program, row["compile_seconds"] = evaluation(problem).compiled(*arguments)
            spent = median_seconds(lambda: program(*arguments), repeats)
            held = _bytes(problem, arguments)
        if held is not None:
            row["bytes"] = held / num_problems
        visits = 1
    else:
        solver = BFGS()
        if work == "training":
            batch = min(BATCH, num_problems)
            solver = JointOptimization(
                group_size=num_problems, batch_size=batch, num_steps=EPOCHS * num_problems // batch
            )
        results = [solve(problem, data, solver) for _ in range(repeats + 1)]
        row["compile_seconds"] = results[0].compile_seconds
        seconds = [result.run_seconds for result in results[1:]]
        spent = {
            "median": float(np.median(seconds)),
            "low": min(seconds),
            "high": max(seconds),
            "repeats": repeats,
        }
        visits = EPOCHS if work == "training" else 1
    row |= {
        name: spent[key] / num_problems / visits
        for name, key in (("seconds", "median"), ("low", "low"), ("high", "high"))
    }
    return row | {"repeats": repeats}


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
