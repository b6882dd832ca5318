"""The loop that all solvers of single problems share: one lane per problem, one evaluation per lane and trip.

A method is a small state machine. It proposes a point, is told the loss and its gradient there, and proposes
the next one. This form has four advantages over a vmapped solver with loops of its own: a trip through the
loop costs each unfinished problem exactly one evaluation, so that evaluations are counted exactly; a lane
never waits for the line search of another; a restart begins while other lanes still work; and all methods share
one compiled simulator. When three quarters of the lanes have finished, the rest is packed together.

A method provides
    max_evaluations, stop_when_solved
    begin(x0, environment) -> state           with the fields x (the proposed point) and status
    update(state, loss, gradient, environment) -> state
for one lane. A loss that is not finite arrives as infinity, with a zero gradient.

On a CPU the lanes are dealt into blocks, see `evaluation`, which the processors share. When half of the lanes have
finished, the rest is dealt anew.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._processors import on_all_processors
from jpo_lib._progress import progress_bar
from jpo_lib.problem import Dataset, InverseProblem, Status
from jpo_lib.solvers.devices import on_host, placed
from jpo_lib.solvers.evaluation import Program, block_size, evaluation

PACK_FACTOR = 4
TRIPS = 4  # evaluations of each block before all blocks are looked at together; a fixed number, so that equal runs deal equal blocks
SMALLEST_BATCH = 16


class Environment(NamedTuple):
    """What a method may know about its lane besides losses and gradients."""

    threshold: jax.Array
    starts: jax.Array  # further starting points, shape (num_starts - 1, d), for methods that restart


class Lanes(NamedTuple):
    state: Any
    x: jax.Array
    loss: jax.Array
    num_evaluations: jax.Array
    diverged: jax.Array


@functools.lru_cache(maxsize=128)
def _begin_program(problem: InverseProblem, method) -> Program:
    """Start all lanes: x0, threshold, data of the key and given restarts of each -> lanes, starting points of restarts."""
    num_restarts = max(1, method.num_starts - 1) if hasattr(method, "num_starts") else 0

    def begin_one(x0, threshold, key, given):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(
            jax.random.wrap_key_data(key), jnp.arange(num_restarts)
        )
        starts = (
            jax.vmap(problem.draw_restart)(keys)
            if num_restarts
            else jnp.zeros((0, problem.dimension), x0.dtype)
        )
        if given is not None:
            starts = starts.at[: given.shape[0]].set(given)
        lane = Lanes(
            state=method.begin(x0, Environment(threshold, starts)),
            x=x0,
            loss=jnp.full((), jnp.inf, x0.dtype),
            num_evaluations=jnp.zeros((), jnp.int32),
            diverged=jnp.zeros((), bool),
        )
        return lane, starts

    return Program(jax.vmap(begin_one))


@functools.lru_cache(maxsize=128)
def _update_program(method) -> Program:
    """Take in one evaluation of each lane: lanes, thresholds, starts, losses, gradients -> lanes, how many are active on each device.

    It knows nothing of the problem, so that problems of one dimension share it.
    """

    def update_one(lane, threshold, starts, loss, gradient):
        state = lane.state
        active = state.status == Status.RUNNING
        better = active & (loss < lane.loss)
        best = jnp.where(better, loss, lane.loss)
        count = lane.num_evaluations + active
        new = method.update(state, loss, gradient, Environment(threshold, starts))
        status = jnp.where(
            (new.status == Status.RUNNING) & (count >= method.max_evaluations),
            Status.BUDGET_SPENT,
            new.status,
        )
        if method.stop_when_solved:
            status = jnp.where(best < threshold, Status.SOLVED, status)
        new = new._replace(status=status)
        return Lanes(
            state=jax.tree.map(lambda a, b: jnp.where(active, a, b), new, state),
            x=jnp.where(better, state.x, lane.x),
            loss=best,
            num_evaluations=count,
            diverged=lane.diverged | (active & ~jnp.isfinite(loss)),
        )

    def update(lanes, *arguments):
        lanes = jax.vmap(update_one)(lanes, *arguments)
        return lanes, jnp.sum(lanes.state.status == Status.RUNNING, keepdims=True)

    return Program(update, donate=(0,))


@dataclasses.dataclass
class LaneOutcome:
    x: np.ndarray
    loss: np.ndarray
    loss_history: np.ndarray
    num_evaluations: np.ndarray
    status: np.ndarray
    compile_seconds: float
    run_seconds: float


class _Rows(NamedTuple):
    """Some lanes with what belongs to each of them; arrays with one row per lane."""

    lanes: Lanes
    threshold: Any
    starts: Any
    context: Any
    y: Any


class _Block(NamedTuple):
    """Lanes that are evaluated together: their numbers, what belongs to them, and how many of them are active."""

    index: np.ndarray
    rows: _Rows
    active: int


def run_lanes(
    problem: InverseProblem, method, data: Dataset, keys, restarts, label: str, mesh=None
) -> LaneOutcome:
    """Run a method on all problems of a data set. `keys` has one key per problem; `restarts` (N, K, d) or None."""
    clock = time.perf_counter()
    compile_seconds = 0.0

    def compiled(program: Program, *arguments):
        nonlocal compile_seconds
        ready, seconds = program.compiled(*arguments)
        compile_seconds += seconds
        return ready

    size, num_devices = data.num_problems, 1 if mesh is None else mesh.size
    begin, update, evaluate = _begin_program(problem, method), _update_program(method), evaluation(problem)
    width = block_size(problem, size, mesh)
    smallest = (
        SMALLEST_BATCH
        if problem.block_size is None
        else max(1, min(SMALLEST_BATCH, problem.block_size // PACK_FACTOR))
    )
    history = np.full((size, method.max_evaluations), np.inf, data.x0.dtype)

    def placed_block(rows, width):
        """Rows on the device, as many as a block has; copies of the last one fill it and take no part."""
        filled = _filled(rows, width)
        filled.lanes.state.status[len(rows.threshold) :] = Status.BUDGET_SPENT
        return jax.device_put(filled) if mesh is None else placed(filled, mesh)

    def start(arrays):
        x0, threshold, key, given, context, y = placed(arrays, mesh)
        lanes, starts = compiled(begin, x0, threshold, key, given)(x0, threshold, key, given)
        return on_host(_Rows(lanes, threshold, starts, context, y))

    given = data.x0, data.threshold, jax.random.key_data(keys), restarts, data.context, data.y
    parts = [start(_filled(_chosen(given, chosen), width)) for chosen in _dealt(np.arange(size), width)]
    rows = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:size], *parts)
    index, full = np.arange(size), None
    with progress_bar(label, total=size) as report:

        def advance(block: _Block) -> _Block:
            """Evaluate the lanes of a block some times: the only block until few enough are active, one of several a fixed number of times."""
            index, rows, active = block
            lanes, alone = rows.lanes, len(index) == total
            for _ in range(method.max_evaluations if alone else min(TRIPS, method.max_evaluations)):
                loss, gradient = look(lanes.state.x, rows.context, rows.y)
                lanes, running = take_in(lanes, rows.threshold, rows.starts, loss, gradient)
                best, column, running = on_host((lanes.loss, lanes.num_evaluations, running))
                # A lane that has ended writes its last column again. All have at least one evaluation.
                history[index, column[: len(index)] - 1] = best[: len(index)]
                active = int(running.sum())
                if alone:
                    report(size - active)
                if active <= (enough if alone else 0):
                    break
            return _Block(index, rows._replace(lanes=lanes), active)

        while total := len(index):
            narrower = width // PACK_FACTOR // num_devices * num_devices if problem.pack_lanes else 0
            narrower = narrower if narrower >= smallest else 0
            if total <= narrower:
                width = narrower
                continue
            blocks = [
                _Block(index[chosen], placed_block(_chosen(rows, chosen), width), len(chosen))
                for chosen in _dealt(np.arange(total), width)
            ]
            enough = narrower if len(blocks) == 1 else max(narrower, total // 2)
            example = blocks[0].rows
            look = compiled(evaluate, example.lanes.state.x, example.context, example.y)
            take_in = compiled(
                update,
                example.lanes,
                example.threshold,
                example.starts,
                example.lanes.loss,
                example.lanes.state.x,
            )
            while (active := sum(block.active for block in blocks)) > enough:
                report(size - active)
                blocks = on_all_processors(lambda block: advance(block) if block.active else block, blocks)
            rows = jax.tree.map(
                lambda *leaves: np.concatenate(leaves),
                *(
                    jax.tree.map(lambda leaf: leaf[: len(block.index)], on_host(block.rows))
                    for block in blocks
                ),
            )
            full = _scatter(full, index, rows.lanes)
            unfinished = np.flatnonzero(rows.lanes.state.status == Status.RUNNING)
            rows, index = _chosen(rows, unfinished), index[unfinished]
    run_seconds = time.perf_counter() - clock - compile_seconds

    status = np.where(
        full.diverged & (full.state.status != Status.SOLVED) & ~np.isfinite(full.loss),
        Status.DIVERGED,
        full.state.status,
    )
    longest = max(1, int(full.num_evaluations.max()))
    history = np.minimum.accumulate(history[:, :longest], axis=1)
    return LaneOutcome(full.x, full.loss, history, full.num_evaluations, status, compile_seconds, run_seconds)


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


def _scatter(full, index, lanes):
    if full is None:
        return lanes

    def put(target, values):
        target[index] = values
        return target

    return jax.tree.map(put, full, lanes)
