"""The loop that all solvers of single problems share: one lane per problem, one evaluation per lane and trip.

A method is a small state machine. It proposes a point, is told the loss and its gradient there, and proposes
the next one. This form has four advantages over a vmapped solver with loops of its own: a trip through the
loop costs each unfinished problem exactly one evaluation, so that evaluations are counted exactly; a lane
never waits for the line search of another; a restart begins while other lanes still work; and all methods share
one compiled simulator. When three quarters of the lanes have finished, the rest is packed into a smaller batch.

A method provides
    max_evaluations, stop_when_solved
    begin(x0, environment) -> state           with the fields x (the proposed point) and status
    update(state, loss, gradient, environment) -> state
for one lane. A loss that is not finite arrives as infinity, with a zero gradient.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problem import Dataset, InverseProblem, Status
from jpo_lib.progress import progress_bar
from jpo_lib.solvers.devices import on_host, placed
from jpo_lib.solvers.evaluation import Program, evaluation

PACK_FACTOR = 4
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
    """Start all lanes: x0, threshold, key and given restarts of each -> lanes, starting points of restarts."""
    num_restarts = max(1, method.num_starts - 1) if hasattr(method, "num_starts") else 0

    def begin_one(x0, threshold, key, given):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_restarts))
        starts = jax.vmap(problem.draw_restart)(keys) if num_restarts else jnp.zeros((0, problem.dimension), x0.dtype)
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
        status = jnp.where((new.status == Status.RUNNING) & (count >= method.max_evaluations), Status.BUDGET_SPENT, new.status)
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

    return Program(update)


@dataclasses.dataclass
class LaneOutcome:
    x: np.ndarray
    loss: np.ndarray
    loss_history: np.ndarray
    num_evaluations: np.ndarray
    status: np.ndarray
    compile_seconds: float
    run_seconds: float


def run_lanes(problem: InverseProblem, method, data: Dataset, keys, restarts, label: str, mesh=None) -> LaneOutcome:
    """Run a method on all problems of a data set. `keys` has one key per problem; `restarts` (N, K, d) or None."""
    clock = time.perf_counter()
    compile_seconds = 0.0

    def compiled(program: Program, *arguments):
        nonlocal compile_seconds
        ready, seconds = program.compiled(*arguments)
        compile_seconds += seconds
        return ready

    size = data.num_problems
    begin, update = _begin_program(problem, method), _update_program(method)
    num_devices = 1 if mesh is None else mesh.size
    x0, threshold, context, y = placed((data.x0, data.threshold, data.context, data.y), mesh)
    lanes, starts = compiled(begin, x0, threshold, keys, restarts)(x0, threshold, keys, restarts)
    full, index = None, np.arange(size)  # `full` holds all lanes once the batch has been packed
    history = np.full((size, method.max_evaluations), np.inf, lanes.loss.dtype)
    trip, num_active = 0, size
    with progress_bar(label, total=size) as report:
        while True:
            width = len(index)
            enough = width // PACK_FACTOR // num_devices * num_devices if problem.pack_lanes else 0
            enough = enough if enough >= SMALLEST_BATCH else 0
            evaluate = compiled(evaluation(problem), lanes.state.x, context, y)
            loss, gradient = evaluate(lanes.state.x, context, y)
            advance = compiled(update, lanes, threshold, starts, loss, gradient)
            while True:
                lanes, count = advance(lanes, threshold, starts, loss, gradient)
                # All lanes write the same column, whether active or not: column k is the best after k + 1 evaluations.
                history[index, trip] = on_host(lanes.loss)
                trip, num_active = trip + 1, int(on_host(count).sum())
                report(size - num_active)
                if trip >= method.max_evaluations or num_active <= enough:
                    break
                loss, gradient = evaluate(lanes.state.x, context, y)
            if num_active == 0 or trip >= method.max_evaluations:
                break
            lanes_host = on_host(lanes)
            full = _scatter(full, index, lanes_host)
            active = np.flatnonzero(lanes_host.state.status == Status.RUNNING)
            # A finished lane fills the last places; it takes no part and is written back unchanged.
            spare = np.flatnonzero(lanes_host.state.status != Status.RUNNING)[0]
            chosen = np.concatenate([active, np.full(enough - num_active, spare, active.dtype)])
            index = index[chosen]
            remaining = jax.tree.map(lambda leaf: jnp.asarray(leaf[chosen]), (lanes_host, *on_host((threshold, context, y, starts))))
            lanes, threshold, context, y, starts = placed(remaining, mesh)
    full = _scatter(full, index, on_host(lanes))
    run_seconds = time.perf_counter() - clock - compile_seconds

    status = np.where(full.diverged & (full.state.status != Status.SOLVED) & ~np.isfinite(full.loss), Status.DIVERGED, full.state.status)
    longest = max(1, int(full.num_evaluations.max()))
    history = np.minimum.accumulate(history[:, :longest], axis=1)
    return LaneOutcome(full.x, full.loss, history, full.num_evaluations, status, compile_seconds, run_seconds)


def _scatter(full, index, lanes):
    if full is None:
        return lanes

    def put(target, values):
        target[index] = values
        return target

    return jax.tree.map(put, full, lanes)
