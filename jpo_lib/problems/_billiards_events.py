"""Runs of billiard balls from event to event.

An event is an instant at which contacts close. Contacts that close at the same instant are resolved together:
their impulses solve a linear complementarity problem, so that the result depends neither on the order of the
balls nor on the side of a mirror. One Newton step for the time of a contact, whose value is zero up to
round-off, makes the run differentiable.

Source: Alder & Wainwright (1959), doi:10.1063/1.1730376 (event-driven motion of hard spheres); Moreau (1988),
doi:10.1007/978-3-7091-2624-0_1 (impacts as a complementarity problem).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problems._billiards_times import WALLS, Physics, move, pair_times, stopping_times, wall_times

GROWTH = 2.0**0.125  # of the rest speed, with every event between balls that touch already
SWEEPS = 200  # limit of the iteration for the impulses of contacts that close at the same instant


class Events(NamedTuple):
    """The pieces of a run: what `simulate_shot` returns, with E = max_events + 1 pieces.

    Attributes:
        positions: where the balls come to rest, shape (B, 2), length.
        finished: False when more contacts than max_events were due; the balls are then still moving.
        num_events: number of instants at which contacts closed.
        rest_speed: the largest speed of closing that was left alone, length / time; the measure of how exact
            the run is.
        times: begin of each piece, shape (E + 1,), time; the last entry is the end of the run.
        piece_positions, piece_velocities: state at the begin of each piece, shape (E + 1, B, 2).
        velocities_before: velocities just before the event that ends a piece, shape (E, B, 2).
        happened: whether a piece ends with a contact (the first num_events do), shape (E,).
    """

    positions: jax.Array
    finished: jax.Array
    num_events: jax.Array
    rest_speed: jax.Array
    times: jax.Array
    piece_positions: jax.Array
    piece_velocities: jax.Array
    velocities_before: jax.Array
    happened: jax.Array

    def momentum(self):
        """Total momentum before and after each event, shapes (E, 2); mass 1 per ball."""
        return jnp.sum(self.velocities_before, axis=1), jnp.sum(self.piece_velocities[1:], axis=1)

    def energy(self):
        """Total kinetic energy before and after each event, shapes (E,); mass 1 per ball."""
        both = self.velocities_before, self.piece_velocities[1:]
        before, after = (0.5 * jnp.sum(velocities**2, axis=(1, 2)) for velocities in both)
        return before, after


# --- what: impulses at contacts -----------------------------------------------------------------------------


class Contacts(NamedTuple):
    """All contacts there can be: pairs of balls, then balls and cushions. `balls` (K, B) has +1 for the one
    ball and -1 for the other."""

    first: np.ndarray
    second: np.ndarray
    balls: np.ndarray
    limits: np.ndarray  # how far a centre may go in the direction of each cushion, shape (4,)
    restitution: np.ndarray


def list_contacts(num_balls: int, physics: Physics) -> Contacts:
    first, second = np.triu_indices(num_balls, 1)
    pairs = np.eye(num_balls)[first] - np.eye(num_balls)[second]
    if physics.table is None:
        return Contacts(first, second, pairs, np.zeros(4), np.full(len(pairs), physics.restitution))
    length, width = physics.table
    walls = np.repeat(np.eye(num_balls), 4, axis=0)
    limits = np.array([length, length, width, width]) / 2 - physics.radius
    restitution = np.repeat([physics.restitution, physics.cushion_restitution], [len(pairs), len(walls)])
    return Contacts(first, second, np.concatenate([pairs, walls]), limits, restitution)


def _gaps(p, contacts: Contacts, radius):
    """Gap (K,) of each contact and its direction (K, 2), from the first ball to the other ball or the
    cushion."""
    d = p[contacts.second] - p[contacts.first]
    distance = jnp.linalg.norm(d, axis=1)
    gap, normal = distance - 2.0 * radius, d / distance[:, None]
    if len(contacts.balls) > len(contacts.first):
        walls = jnp.asarray(WALLS, p.dtype)
        gap = jnp.concatenate([gap, (jnp.asarray(contacts.limits, p.dtype) - p @ walls.T).ravel()])
        normal = jnp.concatenate([normal, jnp.tile(walls, (p.shape[0], 1))])
    return gap, normal


def collide(v, normal, active, contacts: Contacts):
    """Velocities (B, 2) after the active contacts have closed at one instant.

    The impulses j >= 0 along the normals solve  A j >= (1 + e) c  with equality where j > 0, where c is the
    speed of closing and A j the change of c. For a single contact this is Newton's law of restitution: c
    becomes -e c. Energy does not grow, since j times the speeds before and after sums to at most zero; a last
    factor holds that against an iteration that has not quite converged.
    """
    balls = jnp.asarray(contacts.balls, v.dtype)
    closing = jnp.sum((balls @ v) * normal, axis=1)
    active = active & (closing > 0.0)
    aim = jnp.where(active, (1.0 + jnp.asarray(contacts.restitution, v.dtype)) * closing, 0.0)
    diagonal = np.abs(contacts.balls).sum(axis=1).astype(v.dtype)
    if len(contacts.balls) == 1:
        impulse = aim / diagonal
        return v - balls.T @ (impulse[:, None] * normal)
    # Each contact takes the share of its most crowded ball, which makes the iterations converge.
    crowd = jnp.maximum(jnp.max(jnp.abs(balls) * (jnp.abs(balls).T @ active.astype(v.dtype)), axis=1), 1.0)
    share = jax.lax.stop_gradient(1.0 / (diagonal * crowd))
    fixed_normal = jax.lax.stop_gradient(normal)

    def change(impulse, normal):
        return balls.T @ (impulse[:, None] * normal)

    def response(impulse, normal):
        return jnp.sum((balls @ change(impulse, normal)) * normal, axis=1)

    def iterate(aim, normal, project):
        """j <- project(j + share (aim - A j)) until it stands still: after one step unless contacts share a
        ball."""

        def proceed(state):
            k, impulse, step = state
            resolution = 8 * jnp.finfo(v.dtype).eps
            return (k < SWEEPS) & (jnp.max(jnp.abs(step)) > resolution * jnp.max(jnp.abs(impulse)))

        def sweep(state):
            k, impulse, _ = state
            new = project(impulse + share * (aim - response(impulse, normal)))
            return k + 1, new, new - impulse

        zero = jnp.zeros_like(aim)
        return jax.lax.while_loop(proceed, sweep, sweep((0, zero, zero)))[1]

    # Which contacts push is decided without gradients; the impulses of those solve a symmetric linear system.
    fixed_aim = jax.lax.stop_gradient(aim)
    pushes = iterate(fixed_aim, fixed_normal, lambda j: jnp.where(active, jnp.maximum(j, 0.0), 0.0)) > 0.0

    def restricted(j):
        return jnp.where(pushes, response(jnp.where(pushes, j, 0.0), normal), j)

    def solve(_, right):
        inside = iterate(right, fixed_normal, lambda j: jnp.where(pushes, j, 0.0))
        return inside + jnp.where(pushes, 0.0, right)

    impulse = jax.lax.custom_linear_solve(restricted, jnp.where(pushes, aim, 0.0), solve, symmetric=True)
    push = change(impulse, normal)
    work, square = jnp.sum(impulse * closing), jnp.sum(push**2)
    safe = jnp.where(square > 0.0, square, 1.0)
    return v - jnp.where(square > 2.0 * work, 2.0 * work / safe, 1.0) * push


# --- the run ------------------------------------------------------------------------------------------------


def run_events(p, v, physics: Physics) -> Events:
    """All contacts of B balls until they rest. Positions and velocities (B, 2); may be traced and
    differentiated."""
    contacts = list_contacts(p.shape[0], physics)
    # Times that differ by less, relative to the time to stop, are one instant.
    together = 32.0 * jnp.finfo(p.dtype).eps

    def contact_times(p, v, rest_speed):
        parts = []
        if p.shape[0] > 1:
            parts.append(pair_times(p, v, rest_speed, contacts.first, contacts.second, physics))
        if physics.table is not None:
            parts.append(wall_times(p, v, rest_speed, jnp.asarray(contacts.limits, p.dtype), physics))
        return (jnp.concatenate(part) for part in zip(*parts))

    def event(state, _):
        p, v, clock, rest_speed = state
        rest = jnp.max(stopping_times(v, physics.deceleration))
        times, crosses = contact_times(*jax.lax.stop_gradient((p, v)), rest_speed)
        k = jnp.argmin(times)
        happens = jnp.isfinite(times[k])
        time = jnp.where(happens, times[k], jax.lax.stop_gradient(rest))
        there, before, acceleration = move(p, v, time, physics.deceleration)
        # One Newton step for the time of contact. Bisection has found its value to round-off; the derivative
        # is wanted.
        gap, normal = _gaps(there, contacts, physics.radius)
        rate = jax.lax.stop_gradient(jnp.sum((jnp.asarray(contacts.balls, v.dtype)[k] @ before) * normal[k]))
        meets = crosses[k] & (rate > 0.0)
        newton = jnp.where(happens & meets, gap[k] / jnp.where(rate > 0.0, rate, 1.0), 0.0)
        delay = newton - jax.lax.stop_gradient(newton)
        there, before = there + before * delay, before + acceleration * delay
        gap, normal = _gaps(there, contacts, physics.radius)
        # What closes at this instant, and what has been left alone so far.
        active = happens & ((times <= times[k] + together * jax.lax.stop_gradient(rest)) | (gap <= 0.0))
        after = jnp.where(happens, collide(before, normal, active, contacts), 0.0)
        clock = clock + time + delay
        rest_speed = jnp.where(happens & ~meets, GROWTH * rest_speed, rest_speed)
        return (there, after, clock, rest_speed), (there, after, before, clock, happens)

    longest = jnp.max(stopping_times(jax.lax.stop_gradient(v), physics.deceleration))
    rest_speed = physics.rest_speed * physics.deceleration * longest
    begin = (p, v, jnp.zeros((), p.dtype), rest_speed)
    (there, _, _, rest_speed), (positions, after, before, clock, happened) = jax.lax.scan(
        event, begin, None, length=physics.max_events + 1
    )
    return Events(
        positions=there,
        finished=~happened[-1],
        num_events=jnp.sum(happened),
        rest_speed=rest_speed,
        times=jnp.concatenate([jnp.zeros_like(clock[:1]), clock]),
        piece_positions=jnp.concatenate([p[None], positions]),
        piece_velocities=jnp.concatenate([v[None], after]),
        velocities_before=before,
        happened=happened,
    )
