"""The inverse problem, its data and its results: the vocabulary of the library.

An inverse problem asks for the parameters x of a simulator F that explain an observed target y:

    x* = argmin_x L(F(x, c), y)

with a loss L and a known context c (an initial state, say; None where there is none). Everything is
written for one problem; batches come from `jax.vmap`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

IDENTIFIER_SIZE = 8


class Status(enum.IntEnum):
    """Why a solver stopped working on a problem."""

    RUNNING = -1
    SOLVED = 0
    CONVERGED = 1
    ZERO_GRADIENT = 2
    STALLED = 3
    LINE_SEARCH_FAILED = 4
    BUDGET_SPENT = 5
    DIVERGED = 6


STATUS_TEXTS = {
    Status.RUNNING: "The solver is still running.",
    Status.SOLVED: "The loss fell below the solved threshold.",
    Status.CONVERGED: "The gradient is smaller than its tolerance: a stationary point.",
    Status.ZERO_GRADIENT: "The gradient is exactly zero at the start: no direction to follow.",
    Status.STALLED: "The steps became smaller than round-off.",
    Status.LINE_SEARCH_FAILED: "The line search found no acceptable step, usually because of round-off or a jump.",
    Status.BUDGET_SPENT: "The budget of steps or evaluations is spent.",
    Status.DIVERGED: "The simulation returned a loss or gradient that is not finite.",
}


def _register(cls, static: tuple[str, ...]):
    names = [f.name for f in dataclasses.fields(cls)]
    return jax.tree_util.register_dataclass(
        cls, data_fields=[n for n in names if n not in static], meta_fields=list(static)
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """N inverse problems of one kind: the targets y_i, and what is known about each problem.

    Attributes:
        y: targets, shape (N, ...), unit of the simulator's output.
        context: known inputs of the simulator, a pytree of arrays (N, ...), or None.
        x0: starting points of the classical solvers, shape (N, d), unit of x.
        x_true: parameters that made the targets, shape (N, d), unit of x; None when unknown.
        threshold: a problem counts as solved when its loss is below this, shape (N,), unit of the loss.
        identifiers: gamma_i, arbitrary labels that tell problems apart, shape (N, 8), dimensionless.
        seed: the seed that the data was drawn with; None for data from outside.
    """

    y: jax.Array
    context: Any
    x0: jax.Array
    x_true: jax.Array | None
    threshold: jax.Array
    identifiers: jax.Array
    seed: int | None = None

    @property
    def num_problems(self) -> int:
        return self.x0.shape[0]

    def __len__(self) -> int:
        return self.num_problems

    def __getitem__(self, index) -> Dataset:
        """Select problems by slice or index array; the selection keeps the axis of problems."""
        index = np.atleast_1d(np.arange(self.num_problems)[index])
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[index]), self)  # on the host: nothing to compile


_register(Dataset, static=("seed",))


@dataclasses.dataclass(frozen=True)
class Result:
    """What a solver found for each of N problems. With several seeds all arrays have a leading axis (S, ...).

    Attributes:
        x: best parameters seen, shape (N, d), unit of x.
        loss: loss at x, shape (N,).
        loss_history: best loss after k = 1, 2, ... evaluations of that problem, shape (N, K).
        num_evaluations: evaluations of the loss and its gradient spent on each problem, shape (N,).
        solved: loss < threshold, shape (N,).
        status: why the solver stopped, codes of `Status`, shape (N,).
        compile_seconds, run_seconds: wall time of compilation and of the work itself.
        solver: name and hyperparameters of the solver.
        seed: seed or seeds that it ran with.
        extras: further arrays of the solver (see its docstring).
    """

    x: np.ndarray
    loss: np.ndarray
    loss_history: np.ndarray
    num_evaluations: np.ndarray
    solved: np.ndarray
    status: np.ndarray
    compile_seconds: float
    run_seconds: float
    solver: str
    seed: int | tuple[int, ...]
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def status_text(self) -> np.ndarray:
        """The status codes as sentences, shape (N,)."""
        return np.vectorize(lambda code: STATUS_TEXTS[Status(code)], otypes=[object])(self.status)

    def to_dataset(self) -> xr.Dataset:
        """The arrays with named dimensions; timings are left out, so that equal runs give equal datasets."""
        lead = ("seed",) if self.loss.ndim == 2 else ()
        variables = {
            "x": (*lead, "problem", "parameter"),
            "loss": (*lead, "problem"),
            "loss_history": (*lead, "problem", "evaluation"),
            "num_evaluations": (*lead, "problem"),
            "solved": (*lead, "problem"),
            "status": (*lead, "problem"),
        }
        dataset = xr.Dataset({name: (dims, getattr(self, name)) for name, dims in variables.items()})
        if lead:
            dataset = dataset.assign_coords(seed=list(self.seed))
        return dataset.assign_attrs(solver=self.solver)

    def __repr__(self) -> str:
        return (
            f"Result({self.solver}: {self.loss.shape[-1]} problems, {self.solved.mean():.1%} solved, "
            f"{self.num_evaluations.mean():.1f} evaluations per problem, "
            f"{self.run_seconds:.2f} s + {self.compile_seconds:.2f} s compilation)"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class InverseProblem:
    """A family of inverse problems: min_x L(F(x, c), y).

    Arguments:
        name: short name, used in files and messages.
        dimension: d, the number of unknown parameters.
        simulate: F, (x (d,), context) -> output.
        loss: L, (output, y) -> scalar.
        sample_x: prior of x, key -> (d,). Problems are drawn from it.
        sample_x0: distribution of starting points, key -> (d,); the prior when None.
        sample_context: key -> context; None when the simulator needs none.
        observe: measurement, (key, output) -> y; the output itself when None.
        threshold: (output at the truth, y) -> loss below which a problem counts as solved.
        bounds: (lower (d,), upper (d,)), the box of the prior; None when it has none.
        make_network: key -> network, a callable (y, context, identifier) -> x; recommended for this problem.
        classical_start: (y, context) -> x, a start that a domain expert reads off the data; None if none is known.
        defaults: recommended hyperparameters by name of the solver's class.
        settings: the settings that define this family, for manifests; plain numbers and texts.
    """

    name: str
    dimension: int
    simulate: Callable
    loss: Callable
    sample_x: Callable
    threshold: Callable
    sample_x0: Callable | None = None
    sample_context: Callable | None = None
    observe: Callable | None = None
    bounds: tuple[Any, Any] | None = None
    make_network: Callable | None = None
    classical_start: Callable | None = None
    defaults: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def objective(self, x, context, y):
        """L(F(x, c), y) for one problem: x (d,), y as the simulator's output -> scalar."""
        return self.loss(self.simulate(x, context), y)

    def draw_start(self, key):
        """One random starting point, shape (d,)."""
        return (self.sample_x0 or self.sample_x)(key)

    def sample_dataset(self, num_problems: int = 256, seed: int = 0) -> Dataset:
        """Draw problems from the prior: x_i ~ p(x), c_i ~ p(c), y_i = observe(F(x_i, c_i)).

        Problem i depends only on the seed and on i: the first 16 of 256 problems are the 16 problems of a
        smaller data set.

        Arguments:
            num_problems: N, at least 1.
            seed: non-negative integer.
        Raises:
            ValueError: if either is out of range.
        """
        check_integer("num_problems", num_problems, minimum=1)
        check_integer("seed", seed, minimum=0)
        return dataclasses.replace(_sampler(self)(jnp.arange(num_problems), seed), seed=seed)

    def dataset(self, y, x0, context=None, threshold=None, x_true=None, seed: int = 0) -> Dataset:
        """Build a data set from measurements of your own.

        Arguments:
            y: targets, shape (N, ...), as the simulator's output.
            x0: starting points, shape (N, d).
            context: pytree of arrays (N, ...), or None.
            threshold: losses below which problems count as solved, shape (N,) or a number; without it nothing
                counts as solved.
            x_true: the true parameters where known, shape (N, d).
            seed: draws the identifiers.
        Raises:
            ValueError: if a shape does not fit or a value is not finite.
        """
        x0 = jnp.asarray(x0)
        if x0.ndim != 2 or x0.shape[0] == 0:
            raise ValueError(f"x0: expected shape (N, {self.dimension}) with N >= 1, got {x0.shape}; pass one start per problem.")
        count = x0.shape[0]
        data = Dataset(
            y=jnp.asarray(y),
            context=context,
            x0=x0,
            x_true=None if x_true is None else jnp.asarray(x_true),
            threshold=jnp.broadcast_to(jnp.asarray(-jnp.inf if threshold is None else threshold, x0.dtype), (count,)),
            identifiers=jax.random.normal(random_stream(seed, "identifiers"), (count, IDENTIFIER_SIZE), x0.dtype),
            seed=None,
        )
        check_dataset(self, data)
        return data


def random_stream(seed, purpose: str):
    """A key for one purpose. Streams of different purposes share no numbers, even under the same seed.

    This matters: were restarts drawn from the stream of the data, a solver could be handed the solution.
    """
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


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
            threshold=problem.threshold(output, y),
            identifiers=jax.random.normal(key_identifier, (IDENTIFIER_SIZE,)),
        )

    return jax.jit(jax.vmap(draw, in_axes=(0, None)))


def check_integer(name: str, value, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name}: expected a whole number of at least {minimum}, got {value!r}; pass such a number.")
    return int(value)


def check_positive(**values) -> None:
    """Refuse settings that are not finite numbers above zero."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not (0 < value < np.inf):
            raise ValueError(f"{name}: expected a finite number above zero, got {value!r}; pass such a number.")


def check_array(name: str, array, shape: tuple[int, ...], finite: bool = True) -> None:
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(array.shape)}; reshape it or check the problem's settings.")
    if finite and not bool(np.all(np.isfinite(np.asarray(array)))):
        count = int(np.size(array) - np.isfinite(np.asarray(array)).sum())
        raise ValueError(f"{name}: expected finite numbers, got {count} values that are NaN or infinite; remove or repair them.")


def check_dataset(problem: InverseProblem, data: Dataset) -> None:
    """Refuse data that do not fit the problem, before any work starts."""
    if not isinstance(data, Dataset):
        raise ValueError(f"data: expected a Dataset, got {type(data).__name__}; use problem.sample_dataset or problem.dataset.")
    count = data.num_problems
    check_array("data.x0", data.x0, (count, problem.dimension))
    if data.x_true is not None:
        check_array("data.x_true", data.x_true, (count, problem.dimension))
    if np.shape(data.threshold) != (count,) or np.isnan(np.asarray(data.threshold)).any():
        raise ValueError(f"data.threshold: expected {count} numbers, got shape {np.shape(data.threshold)} or NaN; pass one threshold per problem.")
    for leaf in jax.tree.leaves(data.context):
        check_array("data.context", leaf, (count, *np.shape(leaf)[1:]))
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), data)
    output = jax.eval_shape(problem.simulate, one.x0, one.context)
    check_array("data.y", data.y, (count, *output.shape))
