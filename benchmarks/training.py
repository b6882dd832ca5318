"""One step of joint optimization, and its two parts measured apart:
the simulator and the network, each with its gradient."""

from __future__ import annotations

import dataclasses
import time

import equinox as eqx
import jax
import jax.numpy as jnp

import jpo_lib as jpo
from benchmarks.cases import Side
from jpo_lib.networks import network_for
from jpo_lib.solvers import complete
from jpo_lib.solvers.evaluation import evaluation

SEED = 990
STEPS = 10, 30  # the difference leaves out what a run does before its first step and after its last one


def prepared(name: str, num_problems: int):
    problem = jpo.PROBLEMS[name]()
    solver = complete(problem, jpo.JointOptimization(group_size=num_problems), num_problems)
    return (
        problem,
        problem.sample_dataset(num_problems, SEED),
        solver,
        min(solver.batch_size or num_problems, num_problems),
    )


def ours(problem: str, num_problems: int) -> Side:
    family, data, solver, batch = prepared(problem, num_problems)
    short, long = (dataclasses.replace(solver, num_steps=number) for number in STEPS)
    first = jpo.solve(family, data, short)
    compile_seconds = first.compile_seconds + jpo.solve(family, data, long).compile_seconds

    def step() -> float:
        few, many = (jpo.solve(family, data, s).run_seconds for s in (short, long))
        return (many - few) / (STEPS[1] - STEPS[0])

    return Side(step, 1, compile_seconds, text=f"minibatch of {batch}", timed=True, whole=False)


def network_program(problem, data):
    """weights, gradient in x -> x and the gradient in the weights,
    forward and backward in one program; and its weights."""
    network = network_for(problem)(jax.random.key(0))
    weights, static = eqx.partition(network, eqx.is_inexact_array)

    def apply(weights):
        return jax.vmap(eqx.combine(weights, static))(data.y, data.context, data.identifiers)

    def forward_and_backward(weights, gradient):
        x, pull_back = jax.vjp(apply, weights)
        return x, pull_back(gradient)

    return jax.jit(forward_and_backward).lower(weights, jnp.zeros_like(data.x0)).compile(), weights


def parts(problem: str, num_problems: int) -> Side:
    family, data, _, batch = prepared(problem, num_problems)
    data = data[:batch]
    with family.precision():
        simulate, seconds = evaluation(family, family.training_loss).compiled(data.x0, data.context, data.y)
        _, gradient = simulate(data.x0, data.context, data.y)
        begin = time.perf_counter()
        train, weights = network_program(family, data)
        seconds += time.perf_counter() - begin

    def one_of_each():
        x, _ = result = train(weights, gradient)
        return simulate(x, data.context, data.y), result

    return Side(one_of_each, 1, seconds, text=f"minibatch of {batch}")
