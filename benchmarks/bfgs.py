"""A whole run of BFGS on many problems: wall time per problem, and how many are solved."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

import jpo_lib as jpo
from benchmarks.cases import Side

SEED = 990


def _problem(name: str, num_problems: int):
    problem = jpo.PROBLEMS[name]()
    return problem, problem.sample_dataset(num_problems, SEED)


def _solved(solved, more: str = "") -> dict:
    """Solved rate as text and number."""
    count, total = int(np.sum(solved)), len(solved)
    return {
        "text": f"solved {count} of {total}{more}",
        "numbers": {"solved": count / total, "problems": total},
    }


def ours(problem: str, num_problems: int, loop: int) -> Side:
    problem, data = _problem(problem, num_problems)
    result = jpo.solve(problem, data, jpo.BFGS())
    first = "" if loop >= num_problems else f" ({int(result.solved[:loop].sum())} of the first {loop})"
    made = Side(
        lambda: jpo.solve(problem, data, jpo.BFGS()).run_seconds,
        num_problems,
        result.compile_seconds,
        timed=True,
        **_solved(result.solved, first),
    )
    made.numbers = {
        **made.numbers,
        "solved_first": float(result.solved[:loop].mean()),
        "evaluations": float(result.num_evaluations.mean()),
    }
    return made


def scipy_side(problem: str, num_problems: int, loop: int) -> Side:
    """One problem after the other, SciPy's BFGS with the loss and gradient compiled by JAX."""
    from scipy.optimize import minimize

    family, data = _problem(problem, num_problems)
    data = data[:loop]
    compiled = jax.jit(jax.value_and_grad(family.objective))
    y, context, x0 = np.asarray(data.y), jax.tree.map(np.asarray, data.context), np.asarray(data.x0)

    def one(i):
        own = jax.tree.map(lambda leaf: leaf[i], context)

        def objective(x):
            loss, gradient = compiled(jnp.asarray(x, x0.dtype), own, y[i])
            return float(loss), np.asarray(gradient, float)

        return minimize(objective, x0[i].astype(float), jac=True, method="BFGS")

    begin = time.perf_counter()
    jax.block_until_ready(compiled(jnp.asarray(x0[0]), jax.tree.map(lambda leaf: leaf[0], context), y[0]))
    seconds = time.perf_counter() - begin
    losses = np.array([one(i).fun for i in range(loop)])
    return Side(
        lambda: [one(i) for i in range(loop)] and 0.0,
        loop,
        seconds,
        **_solved(losses < np.asarray(data.threshold)),
    )


def optimistix_side(problem: str, num_problems: int, loop: int) -> Side:
    """All problems under one vmap. Its tolerances are those at which it solves as many problems as it can."""
    import optimistix as optx

    family, data = _problem(problem, num_problems)
    solver = optx.BFGS(rtol=1e-6, atol=1e-6)

    def one(x0, context, y):
        solution = optx.minimise(
            lambda x, _: family.objective(x, context, y), solver, x0, max_steps=256, throw=False
        )
        return family.objective(solution.value, context, y)

    arguments = data.x0, data.context, data.y
    begin = time.perf_counter()
    program = jax.jit(jax.vmap(one)).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    return Side(
        lambda: program(*arguments), num_problems, seconds, **_solved(program(*arguments) < data.threshold)
    )
