"""The loop that all solvers of single problems share: one lane per problem, one evaluation per lane and trip.

A method is a small state machine. It proposes a point, is told the loss and its gradient there, and proposes
the next one. This form has three advantages over a vmapped solver with loops of its own: a trip through the
loop costs each unfinished problem exactly one evaluation, so that evaluations are counted exactly; a lane
never waits for the line search of another; and a restart begins while other lanes still work. When three
quarters of the lanes have finished, the rest is packed into a smaller batch.

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

PACK_FACTOR = 4
SMALLEST_BATCH = 16
TRIPS_PER_CALL = 100


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
    history: jax.Array


@functools.lru_cache(maxsize=128)
def _programs(problem: InverseProblem, method):
    """The two programs of a method on a problem: start all lanes, and advance them by some trips."""

    num_restarts = max(1, method.num_starts - 1) if hasattr(method, "num_starts") else 0

    def draw_starts(key):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_restarts))
        return jax.vmap(problem.draw_restart)(keys)

    def begin_one(data, starts):
        return Lanes(
            state=method.begin(data.x0, Environment(data.threshold, starts)),
            x=data.x0,
            loss=jnp.full((), jnp.inf, data.x0.dtype),
            num_evaluations=jnp.zeros((), jnp.int32),
            diverged=jnp.zeros((), bool),
            history=jnp.full((method.max_evaluations,), jnp.inf, data.x0.dtype),
        )

    def trip_one(lane, data, starts):
        state = lane.state
        active = state.status == Status.RUNNING
        loss, gradient = jax.value_and_grad(problem.objective)(state.x, data.context, data.y)
        finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient))
        loss = jnp.where(finite, loss, jnp.inf)
        gradient = jnp.where(finite, gradient, 0.0)

        better = active & (loss < lane.loss)
        best = jnp.where(better, loss, lane.loss)
        count = lane.num_evaluations + active
        new = method.update(state, loss, gradient, Environment(data.threshold, starts))
        status = jnp.where((new.status == Status.RUNNING) & (count >= method.max_evaluations), Status.BUDGET_SPENT, new.status)
        if method.stop_when_solved:
            status = jnp.where(best < data.threshold, Status.SOLVED, status)
        new = new._replace(status=status)
        return Lanes(
            state=jax.tree.map(lambda a, b: jnp.where(active, a, b), new, state),
            x=jnp.where(better, state.x, lane.x),
            loss=best,
            num_evaluations=count,
            diverged=lane.diverged | (active & ~finite),
            history=lane.history,
        )

    def advance(lanes, data, starts, trip, last_trip, enough):
        """Trips until `last_trip`, or until no more than `enough` lanes are active."""

        def proceed(carry):
            lanes, trip = carry
            return (trip < last_trip) & (jnp.sum(lanes.state.status == Status.RUNNING) > enough)

        def one_trip(carry):
            lanes, trip = carry
            history = lanes.history
            lanes = jax.vmap(trip_one)(lanes._replace(history=jnp.zeros((lanes.loss.shape[0], 0))), data, starts)
            # All lanes write the same column, whether active or not: column k is the best after k + 1 evaluations.
            history = jax.lax.dynamic_update_slice(history, lanes.loss[:, None], (jnp.int32(0), trip))
            return lanes._replace(history=history), trip + 1

        lanes, trip = jax.lax.while_loop(proceed, one_trip, (lanes, trip))
        return lanes, trip, jnp.sum(lanes.state.status == Status.RUNNING)

    compiled: dict = {}

    def compile_for(name, function, arguments):
        """Compile ahead of time, so that compilation and work are timed apart. Returns (program, seconds)."""
        signature = (name, jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), arguments))
        signature = jax.tree.structure(signature), tuple(jax.tree.leaves(signature))
        seconds = 0.0
        if signature not in compiled:
            start = time.perf_counter()
            compiled[signature] = jax.jit(function).lower(*arguments).compile()
            seconds = time.perf_counter() - start
        return compiled[signature], seconds

    def begin(data, keys, given):
        starts = jax.vmap(draw_starts)(keys) if num_restarts else jnp.zeros((keys.shape[0], 0, problem.dimension), data.x0.dtype)
        if given is not None:
            starts = starts.at[:, : given.shape[1]].set(given)
        return jax.vmap(begin_one)(data, starts), starts

    return begin, advance, compile_for


@dataclasses.dataclass
class LaneOutcome:
    x: np.ndarray
    loss: np.ndarray
    loss_history: np.ndarray
    num_evaluations: np.ndarray
    status: np.ndarray
    compile_seconds: float
    run_seconds: float


def run_lanes(problem: InverseProblem, method, data: Dataset, keys, restarts, label: str) -> LaneOutcome:
    """Run a method on all problems of a data set. `keys` has one key per problem; `restarts` (N, K, d) or None."""
    begin, advance, compile_for = _programs(problem, method)
    size = data.num_problems
    data = dataclasses.replace(data, x_true=None, identifiers=None, seed=None)

    program, compile_seconds = compile_for("begin", begin, (data, keys, restarts))
    start = time.perf_counter()
    lanes, starts = program(data, keys, restarts)
    full, index = None, np.arange(size)  # `full` holds all lanes once the batch has been packed
    trip, last_trip = jnp.int32(0), method.max_evaluations
    with progress_bar(label, total=size) as report:
        while True:
            width = len(index)
            enough = width // PACK_FACTOR if problem.pack_lanes and width // PACK_FACTOR >= SMALLEST_BATCH else 0
            stop = jnp.int32(min(last_trip, int(trip) + TRIPS_PER_CALL))
            arguments = (lanes, data, starts, trip, stop, jnp.int32(enough))
            program, seconds = compile_for("advance", advance, arguments)
            compile_seconds += seconds
            start += seconds
            lanes, trip, num_active = program(*arguments)
            num_active = int(num_active)
            report(size - num_active)
            if num_active == 0 or int(trip) >= last_trip:
                break
            if num_active <= enough:
                lanes_host = jax.tree.map(np.array, lanes)
                full = _scatter(full, index, lanes_host)
                active = np.flatnonzero(lanes_host.state.status == Status.RUNNING)
                # A finished lane fills the last places; it takes no part and is written back unchanged.
                spare = np.flatnonzero(lanes_host.state.status != Status.RUNNING)[0]
                chosen = np.concatenate([active, np.full(enough - num_active, spare, active.dtype)])
                index = index[chosen]
                lanes, data, starts = jax.tree.map(lambda leaf: leaf[chosen], (lanes, data, starts))
    full = _scatter(full, index, jax.tree.map(np.array, lanes))
    run_seconds = time.perf_counter() - start

    status = np.where(full.diverged & (full.state.status != Status.SOLVED) & ~np.isfinite(full.loss), Status.DIVERGED, full.state.status)
    longest = max(1, int(full.num_evaluations.max()))
    history = np.minimum.accumulate(full.history[:, :longest], axis=1)
    return LaneOutcome(full.x, full.loss, history, full.num_evaluations, status, compile_seconds, run_seconds)


def _scatter(full, index, lanes):
    if full is None:
        return lanes

    def put(target, values):
        target[index] = values
        return target

    return jax.tree.map(put, full, lanes)
