"""One shot on the open table: loss and gradient in the velocity of the cue ball, accuracy of the rest
position of the target."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

import jpo_lib as jpo
from benchmarks.cases import Side
from jpo_book.verification.billiards import open_table_closed_form
from jpo_lib.solvers.evaluation import evaluation

SEED, TOLERANCE, RESTITUTION, RADIUS = 990, 1e-4, 0.95, 0.5
CUE = (-4.0, 0.0)


def _inputs(batch: int):
    data = jpo.billiards().sample_dataset(batch, SEED)
    return data.x_true, data.context, data.y


def _error(rest, shots) -> float:
    return float(np.median(np.linalg.norm(np.asarray(rest, float) - open_table_closed_form(shots), axis=1)))


def _says(error: float, more: str = "") -> dict:
    return {
        "text": f"median error of the rest position {error:.1e}{more}",
        "numbers": {"rest_position": error},
    }


def ours(batch: int, peer_batch: int) -> Side:
    problem = jpo.billiards()
    shots, context, y = _inputs(batch)
    program, seconds = evaluation(problem).compiled(shots, context, y)
    rest = jax.jit(jax.vmap(problem.simulate))(shots, context)
    return Side(lambda: program(shots, context, y), batch, seconds, **_says(_error(rest, shots)))


def _rest_by_steps(velocity, dt: float):
    """Rest position (2,) of the target ball: constant deceleration within a step,
    then a collision of balls that overlap."""
    steps = int(np.ceil(6.5 / dt))  # the fastest ball of the prior rolls for less than 6.5

    def advance(state, _):
        p, v = state
        speed = jnp.linalg.norm(v, axis=1, keepdims=True)
        moving = speed > 0
        safe = jnp.where(moving, speed, 1.0)
        taken = jnp.minimum(dt, speed)
        p = p + v / safe * (speed - 0.5 * taken) * taken
        v = v / safe * (speed - taken)
        between = p[1] - p[0]
        distance = jnp.linalg.norm(between)
        n = between / distance
        closing = jnp.dot(v[0] - v[1], n)
        impulse = (
            jnp.where((distance <= 2 * RADIUS) & (closing > 0), 0.5 * (1 + RESTITUTION) * closing, 0.0) * n
        )
        return (p, v + jnp.stack([-impulse, impulse])), None

    start = jnp.array([CUE, (0.0, 0.0)], velocity.dtype), jnp.stack([velocity, jnp.zeros_like(velocity)])
    return jax.lax.scan(advance, start, None, length=steps)[0][0][1]


def _largest_step(rest_of, shots) -> float:
    """The largest power of two for which the median error is within the tolerance:
    foreseen for order one, then corrected."""
    dt = 2.0**-9
    dt = 2.0 ** np.floor(np.log2(dt * TOLERANCE / _error(rest_of(dt), shots)))
    while _error(rest_of(dt), shots) > TOLERANCE:
        dt /= 2
        if dt < 2.0**-18:
            raise RuntimeError("no step is small enough")
    return dt


def small_steps_side(batch: int, peer_batch: int) -> Side:
    """The derivative is that of forward mode in both components."""
    del batch
    with jax.enable_x64(True):
        shots, _, y = (
            jnp.asarray(np.asarray(v), float) if v is not None else None for v in _inputs(peer_batch)
        )
        assert shots is not None and y is not None
        few = shots[:256]
        dt = _largest_step(lambda dt: jax.jit(jax.vmap(lambda v: _rest_by_steps(v, dt)))(few), few)

        def loss_and_gradient(velocity, target):
            def loss(v):
                rest = _rest_by_steps(v, dt)
                return 0.5 * jnp.sum(jnp.square(rest - target)), rest

            def along(tangent):
                return jax.jvp(loss, (velocity,), (tangent,), has_aux=True)

            return jax.vmap(along, out_axes=(None, 0, None))(jnp.eye(2))

        begin = time.perf_counter()
        program = jax.jit(jax.vmap(loss_and_gradient)).lower(shots, y).compile()
        seconds = time.perf_counter() - begin
        rest = program(shots, y)[2]
    return Side(
        lambda: program(shots, y),
        peer_batch,
        seconds,
        **_says(_error(rest, shots), f" with steps of {dt:.1e}, {peer_batch} shots"),
    )
