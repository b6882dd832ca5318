"""The loop that all solvers of single problems share: one lane per problem, one evaluation per lane and trip.

A method is a small state machine. It proposes a point, is told the loss and its gradient there, and proposes
the next one. This form has four advantages over a vmapped solver with loops of its own: a trip through the
loop costs each unfinished problem exactly one evaluation, so that evaluations are counted exactly; a lane
never waits for the line search of another; a restart begins while other lanes still work; and all methods
share one compiled simulator. When three quarters of the lanes have finished, the rest is packed together.

A method provides
    max_evaluations, stop_when_solved
    begin(x0, environment) -> state           with the fields x (the proposed point) and status
    update(state, loss, gradient, environment) -> state
for one lane. A loss that is not finite arrives as infinity, with a zero gradient.

On a CPU the lanes are dealt into blocks, see `evaluation`, which the processors share. When half of the lanes
have finished, the rest is dealt anew.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._processors import on_all_processors
from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Result, Status, random_streams
from jpo_lib.solvers.devices import check_shares, on_host, placed
from jpo_lib.solvers.evaluation import Program, block_size, evaluation
from jpo_lib.solvers.solver import Solver, for_all_seeds, of_one_length

PACK_FACTOR = 4
# Evaluations of each block before all blocks are looked at together; a fixed number, so that equal runs deal
# equal blocks.
TRIPS = 4
SMALLEST_BATCH = 16
ONE_EVALUATION = (1, 0)


class Environment(NamedTuple):
    """What a method may know about its lane besides losses and gradients."""

    threshold: jax.Array
    starts: jax.Array  # further starting points, shape (num_starts - 1, d), for methods that restart


class Lanes(NamedTuple):
    state: Any
    x: jax.Array
    loss: jax.Array
    num_trips: jax.Array
    work: jax.Array  # evaluations and runs without a gradient, shape (2,)
    diverged: jax.Array


@functools.lru_cache(maxsize=128)
def _begin_program(problem: InverseProblem, method) -> Program:
    """Start all lanes: x0, threshold, data of the key and given restarts of each -> lanes, starting points of
    restarts."""
    num_restarts = max(1, method.num_starts - 1) if hasattr(method, "num_starts") else 0

    def begin_one(x0, threshold, key, given):
        starts = jnp.zeros((0, problem.dimension), x0.dtype)
        if num_restarts:
            number = jnp.arange(num_restarts)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.wrap_key_data(key), number)
            starts = jax.vmap(problem.draw_restart)(keys)
        if given is not None:
            starts = starts.at[: given.shape[0]].set(given)
        lane = Lanes(
            state=method.begin(x0, Environment(threshold, starts)),
            x=x0,
            loss=jnp.full((), jnp.inf, x0.dtype),
            num_trips=jnp.int32(0),
            work=jnp.zeros(2, jnp.int32),
            diverged=jnp.zeros((), bool),
        )
        return lane, starts

    return Program(jax.vmap(begin_one))


@functools.lru_cache(maxsize=128)
def _update_program(method) -> Program:
    """Take in one evaluation of each lane: lanes, thresholds, starts, losses, gradients -> lanes, how many
    are active on each device.

    It knows nothing of the problem, so that problems of one dimension share it.
    """

    def update_one(lane, threshold, starts, loss, gradient):
        state = lane.state
        active = state.status == Status.RUNNING
        better = active & (loss < lane.loss)
        best = jnp.where(better, loss, lane.loss)
        count = lane.num_trips + active
        new = method.update(state, loss, gradient, Environment(threshold, starts))
        spent = (new.status == Status.RUNNING) & (count >= method.max_evaluations)
        status = jnp.where(spent, Status.BUDGET_SPENT, new.status)
        if method.stop_when_solved:
            status = jnp.where(best < threshold, Status.SOLVED, status)
        new = new._replace(status=status)
        return Lanes(
            state=jax.tree.map(lambda a, b: jnp.where(active, a, b), new, state),
            x=jnp.where(better, state.x, lane.x),
            loss=best,
            num_trips=count,
            work=lane.work + jnp.where(active, method.work(new), 0),
            diverged=lane.diverged | (active & ~jnp.isfinite(loss)),
        )

    def update(lanes, *arguments):
        lanes = jax.vmap(update_one)(lanes, *arguments)
        return lanes, jnp.sum(lanes.state.status == Status.RUNNING, keepdims=True)

    return Program(update, donate=(0,))


class _Rows(NamedTuple):
    """Some lanes with what belongs to each of them; arrays with one row per lane."""

    lanes: Lanes
    threshold: Any
    starts: Any
    context: Any
    y: Any


class _Block(NamedTuple):
    """Lanes that are evaluated together: their numbers, what belongs to them, and how many of them are
    active."""

    numbers: np.ndarray
    rows: _Rows
    active: int


class _Stage(NamedTuple):
    """How the unfinished lanes are worked on until they are dealt anew: programs for one shape of block, and
    when to stop."""

    evaluate: Callable
    update: Callable
    alone: bool  # a single block: looked at after each trip
    enough: int  # active lanes that are left to the next stage


class _Run:
    """One run of a method on N lanes: what it works with, the loss history of each lane, and the clock of
    compilation."""

    def __init__(self, problem: InverseProblem, method: LaneSolver, size: int, dtype, mesh):
        self.problem, self.method, self.mesh = problem, method, mesh
        self.history = np.full((size, method.max_evaluations), np.inf, dtype)
        self.begun, self.compile_seconds = time.perf_counter(), 0.0

    @property
    def run_seconds(self) -> float:
        """Wall time so far, without compilation."""
        return time.perf_counter() - self.begun - self.compile_seconds

    def compiled(self, program: Program, *arguments) -> Callable:
        ready, seconds = program.compiled(*arguments)
        self.compile_seconds += seconds
        return ready

    def begin(self, given, width: int) -> _Rows:
        """All lanes at their starting points, begun by blocks of one width."""
        size, parts = len(self.history), []
        begin = _begin_program(self.problem, self.method)
        for chosen in _dealt(np.arange(size), width):
            block = placed(_filled(_chosen(given, chosen), width), self.mesh)
            x0, threshold, key, restarts, context, y = block
            lanes, starts = self.compiled(begin, x0, threshold, key, restarts)(x0, threshold, key, restarts)
            parts.append(on_host(_Rows(lanes, threshold, starts, context, y)))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:size], *parts)

    def block(self, rows: _Rows, index: np.ndarray, chosen: np.ndarray, width: int) -> _Block:
        """Rows on the device, as many as a block has; copies of the last one fill it and take no part."""
        filled = _filled(_chosen(rows, chosen), width)
        filled.lanes.state.status[len(chosen) :] = Status.BUDGET_SPENT
        ready = jax.device_put(filled) if self.mesh is None else placed(filled, self.mesh)
        return _Block(index[chosen], ready, len(chosen))

    def stage(self, blocks: list[_Block], narrower: int) -> _Stage:
        lanes, threshold, starts, context, y = blocks[0].rows
        total = sum(block.active for block in blocks)
        asked, answer = self.method.asked(lanes.state), self.method.answer(lanes.state)
        update = _update_program(self.method)
        return _Stage(
            evaluate=self.compiled(self.method.evaluation(self.problem), asked, context, y),
            update=self.compiled(update, lanes, threshold, starts, lanes.loss, answer),
            alone=len(blocks) == 1,
            enough=narrower if len(blocks) == 1 else max(narrower, total // 2),
        )

    def advance(self, block: _Block, stage: _Stage, report: Callable[[int], None]) -> _Block:
        """Evaluate the lanes of a block some times: the only one until few enough are active, one of several
        as often as all."""
        numbers, rows, active = block
        lanes, longest = rows.lanes, self.method.max_evaluations
        for _ in range(longest if stage.alone else min(TRIPS, longest)):
            loss, gradient = stage.evaluate(self.method.asked(lanes.state), rows.context, rows.y)
            lanes, running = stage.update(lanes, rows.threshold, rows.starts, loss, gradient)
            best, column, running = on_host((lanes.loss, lanes.num_trips, running))
            # A lane that has ended writes its last column again. All have at least one evaluation.
            self.history[numbers, column[: len(numbers)] - 1] = best[: len(numbers)]
            active = int(running.sum())
            if stage.alone:
                report(len(self.history) - active)
            if active <= (stage.enough if stage.alone else 0):
                break
        return _Block(numbers, rows._replace(lanes=lanes), active)

    def worked_on(self, blocks: list[_Block], stage: _Stage, report: Callable[[int], None]) -> _Rows:
        """The rows of all blocks when few enough of their lanes are active."""

        def work(block: _Block) -> _Block:
            return self.advance(block, stage, report) if block.active else block

        while (active := sum(block.active for block in blocks)) > stage.enough:
            report(len(self.history) - active)
            blocks = on_all_processors(work, blocks)
        parts = [_chosen(on_host(block.rows), slice(len(block.numbers))) for block in blocks]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def narrower(self, width: int) -> int:
        """The next smaller width of blocks, for the last unfinished lanes; 0 where it does not pay."""
        size, num_devices = self.problem.execution.block_size, 1 if self.mesh is None else self.mesh.size
        smallest = SMALLEST_BATCH if size is None else max(1, min(SMALLEST_BATCH, size // PACK_FACTOR))
        width = width // PACK_FACTOR // num_devices * num_devices if self.problem.execution.pack_lanes else 0
        return width if width >= smallest else 0

    def outcome(self, given, label: str) -> dict[str, Any]:
        """Run all lanes to their ends: the arrays of a `Result`, with one row per lane."""
        size = len(self.history)
        width = block_size(self.problem, size, self.mesh)
        rows, index = self.begin(given, width), np.arange(size)
        full = rows.lanes
        with progress_bar(label, total=size) as report:
            while len(index):
                narrower = self.narrower(width)
                if len(index) <= narrower:
                    width = narrower
                    continue
                dealt = _dealt(np.arange(len(index)), width)
                blocks = [self.block(rows, index, chosen, width) for chosen in dealt]
                rows = self.worked_on(blocks, self.stage(blocks, narrower), report)
                _scatter(full, index, rows.lanes)
                unfinished = np.flatnonzero(rows.lanes.state.status == Status.RUNNING)
                rows, index = _chosen(rows, unfinished), index[unfinished]
        status = full.state.status
        diverged = full.diverged & (status != Status.SOLVED) & ~np.isfinite(full.loss)
        longest = max(1, int(full.num_trips.max()))
        return {
            "x": full.x,
            "loss": full.loss,
            "loss_history": np.minimum.accumulate(self.history[:, :longest], axis=1),
            "num_evaluations": full.work[:, 0],
            "num_simulations": full.work[:, 1],
            "status": np.where(diverged, Status.DIVERGED, status),
        }


class LaneSolver(Solver):
    """A solver of single problems: a state machine with `begin` and `update`, see the text at the top of this
    module."""

    max_evaluations: int
    stop_when_solved: bool

    def begin(self, x0, environment: Environment) -> Any:
        raise NotImplementedError

    def update(self, state, loss, gradient, environment: Environment) -> Any:
        raise NotImplementedError

    def evaluation(self, problem: InverseProblem) -> Program:
        """What a trip computes for all lanes: what is asked, context, y -> losses, gradients."""
        return evaluation(problem)

    def asked(self, state) -> Any:
        """What the evaluation is told of a state."""
        return state.x

    def answer(self, state) -> Any:
        """Arrays of the shape of what the evaluation returns beside the loss."""
        return state.x

    def work(self, state) -> Any:
        """Evaluations and runs without a gradient that the trip to this state took, two integers."""
        del state
        return jnp.asarray(ONE_EVALUATION, jnp.int32)

    def run(
        self, problem: InverseProblem, data: Dataset, seeds: tuple[int, ...], x0, restarts, mesh
    ) -> Result:
        count, dimension, dtype = data.num_problems, problem.dimension, data.x0.dtype
        x0 = jnp.asarray(x0, dtype)
        check_shares(mesh, count, "problems")
        if restarts is not None:
            shape = count, np.shape(restarts)[-2], dimension
            restarts = for_all_seeds("restarts", restarts, shape, len(seeds), dtype)
        # On an accelerator seeds become further lanes of one batch; a CPU gains nothing from that, and
        # compiles one shape less.
        together = 1 if jax.default_backend() == "cpu" else len(seeds)
        runs, outcomes = [], []
        for first in range(0, len(seeds), together):
            sweep = slice(first, first + together)
            lanes = data
            if together > 1:
                lanes = jax.tree.map(lambda leaf: jnp.tile(leaf, (together, *[1] * (leaf.ndim - 1))), data)
            keys = jnp.concatenate([random_streams(seed, "restarts", count) for seed in seeds[sweep]])
            given = (
                x0[sweep].reshape(-1, dimension),
                lanes.threshold,
                jax.random.key_data(keys),
                None if restarts is None else restarts[sweep].reshape(-1, *restarts.shape[2:]),
                lanes.context,
                lanes.y,
            )
            run = _Run(problem, self, len(given[0]), dtype, mesh)
            outcomes.append(run.outcome(given, f"{type(self).__name__} on {problem.name}"))
            runs.append((run.compile_seconds, run.run_seconds))
        parts = {name: [outcome[name] for outcome in outcomes] for name in outcomes[0]}
        parts["loss_history"] = of_one_length(parts["loss_history"])
        rows = {name: np.concatenate(values) for name, values in parts.items()}
        arrays: dict[str, Any] = {
            name: value.reshape(len(seeds), count, *value.shape[1:]) for name, value in rows.items()
        }
        return Result(
            **arrays,
            solved=arrays["loss"] < np.asarray(data.threshold),
            solver=repr(self),
            seed=seeds,
            compile_seconds=sum(seconds for seconds, _ in runs),
            run_seconds=sum(seconds for _, seconds in runs),
        )


def _dealt(index: np.ndarray, width: int) -> list[np.ndarray]:
    """The numbers of lanes in blocks, the last of which may be smaller."""
    return [index[first : first + width] for first in range(0, len(index), width)]


def _chosen(rows, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], rows)


def _filled(rows, width: int):
    """Rows with copies of the last one, so that there are `width`."""
    return jax.tree.map(
        lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], width - len(leaf), axis=0)]), rows
    )


def _scatter(full: Lanes, index: np.ndarray, lanes: Lanes) -> None:
    """Write some lanes to their places among all."""
    for target, values in zip(jax.tree.leaves(full), jax.tree.leaves(lanes), strict=True):
        target[index] = values
