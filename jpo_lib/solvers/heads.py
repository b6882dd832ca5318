"""Best of k heads: networks propose k answers to each problem, and only the best of them counts.

Source: several starts from one network: Sharony et al. (2024), arXiv 2411.02158; the small share of the other
heads: Rupprecht et al. (2017), arXiv 1612.00197.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.networks.dense import middle_and_spread, network_for
from jpo_lib.problem import Dataset, InverseProblem, Result, Starts
from jpo_lib.solvers import JointOptimization, solve
from jpo_lib.solvers.evaluation import forward_evaluation
from jpo_lib.solvers.refinement import first_problems
from jpo_lib.solvers.training import NetworkTraining

SHARE = 0.05  # of its step that a head learns from a pair to which another one is nearer: none dies


class Heads(eqx.Module):
    """(x_1, ..., x_k) = (net_1(y, c), ..., net_k(y, c)) in a row, shape (k d,).

    Arguments:
        networks: k networks as one, whose arrays have a leading axis.
    """

    networks: Any

    def __call__(self, y, context, identifier=None):
        return jnp.ravel(eqx.filter_vmap(lambda network: network(y, context[0], identifier))(self.networks))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ManyAnswers(InverseProblem):
    """min_{x_1, ..., x_k} min_j L(F(x_j, c), y): the unknown are k answers in a row, shape (k d,).

    Its context is (c, y). All k answers are simulated, and the best one once more: an evaluation costs k runs
    without a gradient, and one with it. Where the context is (c, None), there is nothing to compare with, and
    the first answer is simulated alone.

    Arguments:
        plain: the problem with one answer.
        heads: k.
    """

    plain: InverseProblem
    heads: int

    def difference(self, x, other):
        """x_j - other_j for the j with the smallest distance in half widths of the prior, and SHARE times
        that for the others, shape (..., k d)."""
        x, other = (values.reshape(*values.shape[:-1], self.heads, -1) for values in (x, other))
        way = self.plain.difference(x, other)
        spread = np.asarray(middle_and_spread(self.plain)["spread"])
        length = ((way / spread) ** 2).sum(axis=-1, keepdims=True)
        won = length == length.min(axis=-2, keepdims=True)
        return (way * (won + SHARE * ~won).astype(way.dtype)).reshape(*x.shape[:-2], -1)


@functools.lru_cache(maxsize=64)
def many_answers(problem: InverseProblem, heads: int) -> ManyAnswers:
    """The problem whose unknown are k answers to another one, see `ManyAnswers`.

    Arguments:
        problem: without a prior term.
        heads: k.
    Raises:
        ValueError: if the problem has a prior term.
    """
    if problem.prior_loss is not None:
        raise ValueError(f"problem: expected no prior term, got {problem.name!r} with one; use one answer.")

    def simulate(x, known):
        (context, y), answers, best = known, x.reshape(heads, -1), 0
        if y is not None:
            tried = jax.lax.stop_gradient(answers)  # without a gradient each costs a forward run
            losses = jax.vmap(lambda x: problem.objective(x, context, y))(tried)
            best = jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))
        return problem.simulate(answers[best], context)

    def tiled(values):
        return None if values is None else np.tile(np.asarray(values), heads)

    changes = {
        "dimension": heads * problem.dimension,
        "simulate": simulate,
        "sample_x": lambda key: jnp.tile(problem.sample_x(key), heads),
        "sample_context": lambda key: (problem.sample_context and problem.sample_context(key), None),
        "bounds": problem.bounds and tuple(map(tiled, problem.bounds)),
        "scale": problem.scale and tuple(map(tiled, problem.scale)),
        "periods": tiled(problem.periods),
        "starts": Starts(),
    }
    fields = {field.name: getattr(problem, field.name) for field in dataclasses.fields(InverseProblem)}
    return ManyAnswers(**(fields | changes), plain=problem, heads=heads)


@functools.lru_cache(maxsize=64)
def several(make: Callable, heads: int) -> Callable:
    """The function key -> `Heads` of k networks, the first of which is that of the key itself."""

    def build(key):
        keys = jnp.concatenate([key[None], jax.random.split(key, heads)[1:]])
        return Heads(eqx.filter_vmap(make)(keys))

    return build


def answers_of_heads(
    problem: InverseProblem,
    everything: Dataset,
    solver: NetworkTraining,
    heads: int,
    seeds: list[int],
    num_problems: int,
) -> Result:
    """The best of k answers to each problem; extras: others (S, N, k - 1, d), the others from the best to the
    worst.

    JointOptimization pays for an evaluation and k runs without a gradient at each visit of a problem, and for
    k more to compare the heads where their best was best; Supervised for its pairs and the k answers.

    Arguments:
        problem: the family of problems.
        everything: the problems that networks are trained on, or asked about.
        solver: Supervised or JointOptimization; its network is that of one head.
        heads: k.
        seeds: S seeds.
        num_problems: N, how many of the problems are reported.
    """
    make = solver.network or network_for(problem, solver.inputs)
    joint = isinstance(solver, JointOptimization)
    known = dataclasses.replace(
        everything,
        x0=jnp.tile(everything.x0, heads),
        x_true=jnp.tile(jnp.asarray(everything.x_true), heads),
        context=(everything.context, everything.y if joint else None),
    )
    solver = dataclasses.replace(solver, network=several(make, heads))
    result = solve(many_answers(problem, heads), known, solver, seed=seeds)
    result, data = first_problems(result, num_problems), everything[:num_problems]
    answers = result.x.reshape(*result.loss.shape, heads, -1)
    columns = [] if joint else [result.loss]  # the first head's
    spent = result.num_simulations + heads * result.num_evaluations + heads - len(columns)
    with problem.precision():
        for head in range(len(columns), heads):
            asked = [(jnp.asarray(x[:, head]), data.context, data.y) for x in answers]
            program, _ = forward_evaluation(problem).compiled(*asked[0])
            columns.append(np.stack([np.asarray(program(*one)) for one in asked]))
    losses = np.stack(columns, axis=-1)
    order = np.argsort(losses, axis=-1, kind="stable")[..., None]
    x = np.take_along_axis(answers, order, axis=-2)
    extras = {"others": x[..., 1:, :]}
    if joint:
        final = result.extras["x_final"].reshape(answers.shape)
        extras["x_final"] = np.take_along_axis(final, order, axis=-2)[..., 0, :]
    loss = losses.min(axis=-1)
    return dataclasses.replace(
        result,
        x=x[..., 0, :],
        loss=loss,
        solved=result.solved | (loss < np.asarray(data.threshold)),
        num_simulations=spent,
        extras=extras,
    )
