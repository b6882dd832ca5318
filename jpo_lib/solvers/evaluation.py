"""Compiled programs that solvers share, above all the one evaluation: the loss and its gradient for a batch
of problems.

A simulator takes seconds to compile and a solver's own arithmetic takes a fraction of one. The simulator is
therefore compiled once for each size of batch, as a program of its own that every solver calls, instead of
once into each of them.

On a CPU there is one size for all large batches: they are split into blocks of `Execution.block_size`
problems, whose arrays fit into the caches, and the processors share the blocks. XLA by itself shares single
operations between processors, which the small ones of our simulators do not repay. The size of the blocks
does not depend on the machine, so neither do the results.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._processors import on_all_processors
from jpo_lib.problem import InverseProblem
from jpo_lib.solvers.devices import EACH, mesh_of, placed


class Program:
    """A function that is compiled ahead of time, once for each shape of its arguments and each precision.

    Where an argument lies on a mesh of devices, the function runs on each of them for its own part of the
    arguments. By default these are rows: row i of all results depends on row i of all arguments.

    Arguments:
        function: arrays -> arrays.
        donate: numbers of the arguments whose memory the result may take over.
        parts, results: how arguments and results are split over devices.
    """

    def __init__(
        self, function: Callable, donate: tuple[int, ...] = (), parts: Any = EACH, results: Any = EACH
    ):
        self._function, self._donate, self._parts, self._results = function, donate, parts, results
        self._compiled: dict = {}

    def compiled(self, *arguments) -> tuple[Callable, float]:
        """The program for arguments of these shapes, and the seconds that its compilation took now."""
        leaves, structure = jax.tree.flatten(arguments)
        mesh = mesh_of(leaves)
        shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        # Keys are the same in both precisions; what is drawn from them is not.
        signature = structure, mesh, shapes, jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
        if signature in self._compiled:
            return self._compiled[signature], 0.0
        begin = time.perf_counter()
        if mesh is None:
            program = jax.jit(self._function, donate_argnums=self._donate).lower(*arguments).compile()
        else:
            shared = jax.shard_map(
                self._function, mesh=mesh, in_specs=self._parts, out_specs=self._results, check_vma=False
            )
            place = functools.partial(placed, mesh=mesh, parts=self._parts)
            ready = jax.jit(shared, donate_argnums=self._donate).lower(*place(arguments)).compile()
            program = functools.wraps(self._function)(lambda *arguments: ready(*place(arguments)))
            # As other programs have it.
            program.as_text = ready.as_text  # pyright: ignore[reportAttributeAccessIssue]
        self._compiled[signature] = program
        return program, time.perf_counter() - begin


def block_size(problem: InverseProblem, num_problems: int, mesh=None) -> int:
    """How many of N problems are evaluated by one call: all of them on an accelerator and on several
    devices."""
    if problem.execution.block_size is None or mesh is not None or jax.default_backend() != "cpu":
        return num_problems
    return min(problem.execution.block_size, num_problems)


class Evaluation(Program):
    """A program for a batch of any size, which is compiled for no more than one block of it."""

    def __init__(self, problem: InverseProblem, function: Callable):
        super().__init__(function)
        self._problem = problem

    def compiled(self, *arguments) -> tuple[Callable, float]:
        leaves = jax.tree.leaves(arguments)
        count = len(leaves[0])
        size = block_size(self._problem, count, mesh_of(leaves))
        if size == count:
            return super().compiled(*arguments)
        # The last block may begin in the one before.
        firsts = [min(first, count - size) for first in range(0, count, size)]
        program, seconds = super().compiled(*_rows(arguments, 0, size))
        kept: tuple = (..., [])

        def in_blocks(x, *known):
            nonlocal kept
            # Most calls are about the same problems as the last one.
            if list(map(id, jax.tree.leaves(known))) != list(map(id, jax.tree.leaves(kept[0]))):
                kept = known, [jax.device_put(_rows(known, first, size)) for first in firsts]

            def work(block):
                first, rows = block
                return jax.tree.map(np.asarray, program(_rows(x, first, size), *rows))

            parts = on_all_processors(work, zip(firsts, kept[1], strict=True))
            overlap = size * len(firsts) - count
            parts[-1] = jax.tree.map(lambda leaf: leaf[overlap:], parts[-1])
            return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

        return in_blocks, seconds


def _rows(arrays, first: int, size: int):
    """Some rows of all arrays; those of NumPy, without a copy."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[first : first + size], arrays)


def _finite(loss, others):
    """The loss and what comes with it; infinity and zeros where any of it is not finite."""
    finite = jnp.isfinite(loss)
    for leaf in jax.tree.leaves(others):
        finite &= jnp.all(jnp.isfinite(leaf))
    return jnp.where(finite, loss, jnp.inf), jax.tree.map(lambda leaf: jnp.where(finite, leaf, 0.0), others)


def evaluation(problem: InverseProblem, training_loss: Callable | None = None) -> Evaluation:
    """x (B, d), context, y -> L(F(x, c), y) + R(x) (B,) and its gradient in x (B, d).

    With a training loss, as `InverseProblem` describes it, the gradient is the one of that; the loss stays
    L + R, and one simulation gives both. Where the loss or the gradient is not finite, the loss is infinite
    and the gradient zero.
    """
    return _evaluation(problem, training_loss)


@functools.lru_cache(maxsize=64)
def _evaluation(problem: InverseProblem, training_loss: Callable | None) -> Evaluation:
    def objectives(x, context, y):
        output = problem.simulate(x, context)
        loss = problem.loss_of(x, output, y)
        return problem.judged(training_loss, x, output, y) if training_loss else loss, loss

    def evaluate_one(x, context, y):
        (_, loss), gradient = jax.value_and_grad(objectives, has_aux=True)(x, context, y)
        return _finite(loss, gradient)

    return Evaluation(problem, jax.vmap(evaluate_one))


def check_residuals(problem: InverseProblem) -> None:
    """Refuse a problem that is not one of least squares."""
    if problem.residuals is None:
        name = problem.name
        raise ValueError(f"problem: expected one with residuals, got {name!r} without; use BFGS.")


@functools.lru_cache(maxsize=64)
def least_squares_evaluation(problem: InverseProblem) -> Evaluation:
    """(x (B, d), v (B, d)), context, y -> |r|^2 / 2 (B,), and J' r (B, d) or, where v is not zero, J' J v.

    r are the problem's residuals at x and J their derivative in x. Where a value is not finite, the loss is
    infinite and the product zero.
    """

    def evaluate_one(asked, context, y):
        x, v = asked
        residuals, tangent = jax.linearize(
            lambda x: problem.residuals(x, problem.simulate(x, context), y),  # pyright: ignore[reportOptionalCall]
            x,
        )
        loss = 0.5 * jnp.sum(jnp.square(residuals))
        (product,) = jax.linear_transpose(tangent, x)(jnp.where(jnp.any(v != 0.0), tangent(v), residuals))
        return _finite(loss, product)

    return Evaluation(problem, jax.vmap(evaluate_one))


@functools.lru_cache(maxsize=64)
def jacobian_evaluation(problem: InverseProblem) -> Evaluation:
    """x (B, d), context, y -> |r|^2 / 2 (B,), (J' r (B, d), J' J (B, d, d)), with J column by column.

    Where a value is not finite, the loss is infinite and the others are zero.
    """

    def evaluate_one(x, context, y):
        def residuals(x):
            values = problem.residuals(x, problem.simulate(x, context), y)  # pyright: ignore[reportOptionalCall]
            return values, values

        jacobian, values = jax.jacfwd(residuals, has_aux=True)(x)
        return _finite(0.5 * jnp.sum(jnp.square(values)), (jacobian.T @ values, jacobian.T @ jacobian))

    return Evaluation(problem, jax.vmap(evaluate_one))


@functools.lru_cache(maxsize=64)
def simulation(problem: InverseProblem) -> Evaluation:
    """x (B, d), context -> outputs (B, ...)."""
    return Evaluation(problem, jax.vmap(problem.simulate))


@functools.lru_cache(maxsize=64)
def forward_evaluation(problem: InverseProblem) -> Evaluation:
    """x (B, d), context, y -> L(F(x, c), y) + R(x) (B,), without a gradient; infinite where it is not
    finite."""

    def evaluate_one(x, context, y):
        return _finite(problem.objective(x, context, y), ())[0]

    return Evaluation(problem, jax.vmap(evaluate_one))
