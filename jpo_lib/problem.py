"""The inverse problem and its data: the vocabulary of the library.

An inverse problem asks for the parameters x of a simulator F that explain an observed target y:

    x* = argmin_x L(F(x, c), y) + R(x)

with a loss L, a known context c (an initial state, say; None where there is none), and a term R of what is
known about x before any measurement (0 where there is none). Everything is written for one problem; batches
come from `jax.vmap`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_array, check_counts, check_integer, check_positive
from jpo_lib.dataset import IDENTIFIER_SIZE, Dataset, random_stream, random_streams
from jpo_lib.result import STATUS_TEXTS, Result, Status

__all__ = [
    "STATUS_TEXTS",
    "Dataset",
    "Execution",
    "InverseProblem",
    "Recommended",
    "Result",
    "Starts",
    "Status",
    "check_array",
    "check_dataset",
    "check_integer",
    "check_positive",
    "random_stream",
    "random_streams",
]

SAMPLE_BLOCK = 256  # problems drawn by one call of the compiled sampler


@dataclasses.dataclass(frozen=True)
class Starts:
    """Where classical solvers begin.

    Arguments:
        first: distribution of starting points, key -> (d,); the prior when None.
        restart: distribution of the starting points of restarts, key -> (d,); that of `first` when None.
        classical: (y, context) -> x, a start that a domain expert reads off the data; None if none is known.
    """

    first: Callable | None = None
    restart: Callable | None = None
    classical: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Recommended:
    """What solves this problem well: solvers take from here what their user leaves open.

    Arguments:
        network: key -> network, a callable (y, context, identifier) -> x. With keywords of its own it can
            also be made wider, deeper and so on.
        solvers: hyperparameters by name of the solver's class.
        refinement: arguments of `refine`, for problems whose refinement needs restarts; None for the others.
    """

    network: Callable | None = None
    solvers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    refinement: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a problem is computed.

    Arguments:
        float64: precision in which data are drawn and problems solved, whatever JAX's flag: True for float64,
            False for float32; None follows the flag. Around work of your own with such a problem put `with
            problem.precision():`.
        block_size: problems that one core evaluates at a time. On a CPU, larger batches are split into blocks
            of this size, which the cores share; None: all at once. 16 to 64 suit a simulator whose arrays
            would not fit into the caches otherwise, or whose loop runs longer for some problems than for
            others.
        pack_lanes: whether classical solvers, when few problems are unfinished, go on with batches smaller
            than a block. Each size of batch is compiled anew, in seconds, which does not pay for a simulator
            of some microseconds.
    Raises:
        ValueError: if block_size is no number above zero.
    """

    float64: bool | None = None
    block_size: int | None = 256
    pack_lanes: bool = True

    def __post_init__(self):
        check_counts(block_size=self.block_size)


@dataclasses.dataclass(frozen=True, eq=False)
class InverseProblem:
    """A family of inverse problems: min_x L(F(x, c), y) + R(x).

    Where there is a prior term R, it is in all that descends or reports the loss. `threshold` and
    `training_loss` are then called with a third argument, the number R(x), so that they can be about the sum:
    "solved" may mean below 1.05 (L + R) at the truth, and training may descend log(L + R).

    Arguments (the first six are needed, the last three say how to solve it):
        name: short name, used in files and messages.
        dimension: d, the number of unknown parameters.
        simulate: F, (x (d,), context) -> output, of any shape and unit. JAX must be able to differentiate it.
        loss: L, (output, y) -> scalar.
        sample_x: prior of x, key -> (d,). Problems are drawn from it.
        threshold: (output at the truth, y) -> L + R below which a problem counts as solved; with a prior term
            (output, y, R at the truth).
        sample_context: key -> context; None when the simulator needs none.
        observe: measurement, (key, output) -> y; the output itself when None.
        bounds: (lower (d,), upper (d,)), the box of the prior; None when it has none.
        periods: period of each parameter, shape (d,), infinity where it has none: x and x + period are the
            same parameters. None if no parameter is periodic.
        scale: (middle (d,), spread (d,)) of x, by which networks and perturbations are scaled where there are
            no bounds; unit of x.
        training_loss: (output, y) -> scalar, what joint optimization descends instead of L; L + R when None.
            With a prior term (output, y, R(x)), instead of L + R. Results always report L + R.
        prior_loss: R, x -> scalar, unit of the loss; none when None. For x ~ N(m, s^2) and L minus the
            logarithm of a density it is |x - m|^2 / (2 s^2).
        residuals: r, (x, output, y) -> (m,) with |r|^2 / 2 = L + R, for methods of least squares; None where
            the loss is no sum of squares.
        window: k -> the problem of which only the first k entries of each target are known, for
            `GrowingWindows`; None where targets do not grow with time. One of its evaluations costs the share
            k / K of one of all K entries.
        forward_cost: what a run of the simulation without a gradient costs, in evaluations of loss and
            gradient, dimensionless; see `Result.cost`.
        settings: the settings that define this family, for manifests; plain numbers and texts.
        starts: where classical solvers begin, see `Starts`.
        recommended: network and hyperparameters, see `Recommended`.
        execution: precision and sizes of batches, see `Execution`.
    Raises:
        TypeError: if an argument is unknown or missing.

    Source: the formulation is that of Holl & Thuerey (2024), arXiv 2408.08119.
    """

    name: str
    dimension: int
    simulate: Callable
    loss: Callable
    sample_x: Callable
    threshold: Callable
    sample_context: Callable | None = None
    observe: Callable | None = None
    bounds: tuple[Any, Any] | None = None
    periods: tuple[float, ...] | None = None
    scale: tuple[Any, Any] | None = None
    training_loss: Callable | None = None
    prior_loss: Callable | None = None
    residuals: Callable | None = None
    window: Callable | None = None
    forward_cost: float = 1.0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    starts: Starts = Starts()
    recommended: Recommended = Recommended()
    execution: Execution = Execution()

    def precision(self):
        """A context manager in which JAX works in the precision of this problem."""
        float64 = self.execution.float64
        return contextlib.nullcontext() if float64 is None else jax.enable_x64(float64)

    def objective(self, x, context, y):
        """L(F(x, c), y) + R(x) for one problem.

        Arguments:
            x: parameters, shape (d,), unit of x.
            context: c, as `sample_context` returns it; None when the simulator needs none.
            y: target, of the shape and unit of the simulator's output.
        Returns:
            a scalar, unit of the loss.
        """
        return self.loss_of(x, self.simulate(x, context), y)

    def loss_of(self, x, output, y):
        """L(output, y) + R(x) for one problem that has been simulated.

        Arguments:
            x: parameters, shape (d,), unit of x.
            output: F(x, c).
            y: target, of the shape and unit of the output.
        """
        loss = self.loss(output, y)
        return loss if self.prior_loss is None else loss + self.prior_loss(x)

    def judged(self, function: Callable, x, output, y):
        """A threshold or a training loss of one problem: function(output, y), or with a prior term
        function(output, y, R(x)).

        Arguments:
            function: the threshold or training loss.
            x, output, y: see `loss_of`.
        """
        return function(output, y) if self.prior_loss is None else function(output, y, self.prior_loss(x))

    def difference(self, x, other):
        """x - other; for a parameter with period p the shortest such way, x - other - p round((x - other) /
        p).

        Arguments:
            x, other: parameters, shape (..., d), unit of x.
        Returns:
            an array (..., d), unit of x.
        """
        way = x - other
        if self.periods is None:
            return way
        periodic = np.isfinite(self.periods)
        period = np.where(periodic, self.periods, 1.0).astype(way.dtype)
        return way - np.where(periodic, period, 0.0).astype(way.dtype) * (way / period).round()

    def draw_start(self, key):
        """x0 ~ p(x0): one random starting point, shape (d,), unit of x.

        Arguments:
            key: JAX key.
        """
        return (self.starts.first or self.sample_x)(key)

    def draw_restart(self, key):
        """x0 ~ p(restart): one random starting point for a restart, shape (d,), unit of x.

        Arguments:
            key: JAX key.
        """
        return (self.starts.restart or self.starts.first or self.sample_x)(key)

    def sample_dataset(self, num_problems: int = 256, seed: int = 0) -> Dataset:
        """Draw problems from the prior: x_i ~ p(x), c_i ~ p(c), y_i = observe(F(x_i, c_i)).

        Problem i depends only on the seed and on i: the first 16 of 256 problems are the 16 problems of a
        smaller data set.

        Arguments:
            num_problems: N, at least 1.
            seed: non-negative integer.
        Returns:
            a `Dataset`.
        Raises:
            ValueError: if either is out of range.
        """
        check_integer("num_problems", num_problems, minimum=1)
        check_integer("seed", seed, minimum=0)
        with self.precision():
            # Blocks of one size: the program is the same for all large numbers of problems.
            size = min(SAMPLE_BLOCK, 1 << (num_problems - 1).bit_length())
            firsts = range(0, num_problems, size)
            blocks = [_sampler(self)(jnp.arange(first, first + size), seed) for first in firsts]
            data = jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)[:num_problems]), *blocks)
            return dataclasses.replace(data, seed=seed)

    def dataset(self, y, x0, context=None, threshold=None, x_true=None, seed: int = 0) -> Dataset:
        """Build a data set from measurements of your own.

        Arguments:
            y: targets, shape (N, ...), as the simulator's output.
            x0: starting points, shape (N, d).
            context: pytree of arrays (N, ...), or None.
            threshold: losses below which problems count as solved, shape (N,) or a number; without it what
                the problem says where x_true is known, else nothing counts as solved.
            x_true: the true parameters where known, shape (N, d).
            seed: draws the identifiers.
        Returns:
            a `Dataset`.
        Raises:
            ValueError: if a shape does not fit or a value is not finite.
        """
        with self.precision():
            x0, y, context, x_true = jax.tree.map(self._as_array, (x0, y, context, x_true))
            if x0.ndim != 2 or x0.shape[0] == 0:
                raise ValueError(
                    f"x0: expected shape (N, {self.dimension}), N >= 1, got {x0.shape}; reshape it."
                )
            count = x0.shape[0]
            given = jnp.asarray(-jnp.inf if threshold is None else threshold, x0.dtype)
            key = random_stream(seed, "identifiers")
            identifiers = jax.random.normal(key, (count, IDENTIFIER_SIZE), x0.dtype)
            data = Dataset(y, context, x0, x_true, jnp.broadcast_to(given, (count,)), identifiers)
            check_dataset(self, data)
            if threshold is None and x_true is not None:
                data = dataclasses.replace(data, threshold=jax.vmap(self._threshold_at)(x_true, context, y))
            return data

    def _threshold_at(self, x, context, y):
        return self.judged(self.threshold, x, self.simulate(x, context), y)

    def _as_array(self, values):
        """An array; of the problem's precision if it has one."""
        array = jnp.asarray(values)
        settled = self.execution.float64 is None or not jnp.issubdtype(array.dtype, jnp.floating)
        return array if settled else array.astype(float)


@functools.lru_cache(maxsize=64)
def _sampler(problem: InverseProblem):
    def draw(index, seed):
        key_x, key_context, key_noise, key_x0, key_identifier = jax.random.split(
            jax.random.fold_in(random_stream(seed, "data"), index), 5
        )
        x = problem.sample_x(key_x)
        context = None if problem.sample_context is None else problem.sample_context(key_context)
        output = problem.simulate(x, context)
        y = output if problem.observe is None else problem.observe(key_noise, output)
        return Dataset(
            y=y,
            context=context,
            x0=problem.draw_start(key_x0),
            x_true=x,
            threshold=problem.judged(problem.threshold, x, output, y),
            identifiers=jax.random.normal(key_identifier, (IDENTIFIER_SIZE,)),
        )

    return jax.jit(jax.vmap(draw, in_axes=(0, None)))


def check_dataset(problem: InverseProblem, data: Dataset) -> None:
    """Refuse data that do not fit the problem, before any work starts."""
    if not isinstance(data, Dataset):
        raise ValueError(f"data: expected a Dataset, got {type(data).__name__}; use problem.sample_dataset.")
    count = data.num_problems
    check_array("data.x0", data.x0, (count, problem.dimension))
    expected = {None: str(data.x0.dtype), True: "float64", False: "float32"}[problem.execution.float64]
    if data.x0.dtype != expected:
        raise ValueError(
            f"data: expected {expected} for the problem {problem.name!r}, got {data.x0.dtype}; "
            "draw them with this problem or pass them through problem.dataset."
        )
    if data.x_true is not None:
        check_array("data.x_true", data.x_true, (count, problem.dimension))
    if np.shape(data.threshold) != (count,) or np.isnan(np.asarray(data.threshold)).any():
        shape = np.shape(data.threshold)
        raise ValueError(f"data.threshold: expected {count} numbers, got shape {shape} or NaN; repair them.")
    for leaf in jax.tree.leaves(data.context):
        check_array("data.context", leaf, (count, *np.shape(leaf)[1:]))
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), data)
    output = jax.eval_shape(problem.simulate, one.x0, one.context)
    check_array("data.y", data.y, (count, *output.shape))
