"""Motion of billiard balls from event to event, with exact collision times.

Balls of equal mass slide and slow down at a constant rate, so that each one moves on a straight line and stops:

    p(t) = p + v t (1 - t / (2 s)),   v(t) = v (1 - t / s),   s = |v| / a,   0 <= t <= s.

An event is a contact that closes. Two balls touch when the quartic f(t) = |p_i(t) - p_j(t)|^2 - 4 r^2 reaches zero;
once one of them has stopped, its parabola ends and another quartic holds. The roots are found by bisection between
the turning points of f, without gradients; one Newton step, whose value is zero up to round-off, makes the time differentiable.

Contacts that close at the same instant are resolved together: their impulses solve a linear complementarity
problem, so that the result depends neither on the order of the balls nor on the side of a mirror.

Source: Alder & Wainwright (1959), doi:10.1063/1.1730376 (event-driven motion of hard spheres); Moreau (1988),
doi:10.1007/978-3-7091-2624-0_1 (impacts as a complementarity problem); quartic for sliding balls: Leckie & Greenspan
(2006), doi:10.1007/11922155_19.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

GROWTH = 2.0**0.125  # of the rest speed, with every event between balls that touch already
SWEEPS = 200  # limit of the iteration for the impulses of contacts that close at the same instant
WALLS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


class Physics(NamedTuple):
    """What is the same for all balls. Lengths, times and masses are dimensionless.

    table is None for an endless plane, else the length and width of a table with its centre at the origin.
    Contacts that close more slowly than rest_speed times the largest initial speed are left alone: balls that lean on
    each other would otherwise make infinitely many events. For the same reason that threshold doubles with every
    eighth event between balls that touch already.
    """

    radius: float
    deceleration: float
    restitution: float
    table: tuple[float, float] | None
    cushion_restitution: float
    max_events: int
    rest_speed: float


class Events(NamedTuple):
    """The pieces of a run: what `simulate_shot` returns, with E = max_events + 1 pieces.

    Attributes:
        positions: where the balls come to rest, shape (B, 2), length.
        finished: False when more contacts than max_events were due; the balls are then still moving.
        num_events: number of instants at which contacts closed.
        rest_speed: the largest speed of closing that was left alone, length / time; the measure of how exact the run is.
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
        return 0.5 * jnp.sum(self.velocities_before**2, axis=(1, 2)), 0.5 * jnp.sum(self.piece_velocities[1:] ** 2, axis=(1, 2))


def stopping_times(v, deceleration):
    """s = |v| / a, shape (B,), with the derivative zero where a ball rests."""
    square = jnp.sum(jnp.square(v), axis=-1)
    moving = square > 1e-30
    return jnp.where(moving, jnp.sqrt(jnp.where(moving, square, 1.0)), 0.0) / deceleration


def move(p, v, time, deceleration):
    """Positions and velocities (B, 2) after a time without contacts."""
    stop = stopping_times(v, deceleration)
    spent = jnp.minimum(time, stop)
    fraction = (spent / jnp.where(stop > 0.0, stop, 1.0))[..., None]
    return p + v * spent[..., None] * (1.0 - 0.5 * fraction), jnp.where(stop[..., None] > 0.0, v * (1.0 - fraction), 0.0)


# --- when: times of contact -----------------------------------------------------------------------------------------


def _polynomial(coefficients, t):
    value = coefficients[0]
    for c in coefficients[1:]:
        value = value * t + c
    return value


def _bisect(coefficients, low, high):
    """The sign change between low and high of a monotone polynomial; `high` if there is none."""
    positive = _polynomial(coefficients, low) > 0.0

    def halve(_, interval):
        low, high = interval
        middle = 0.5 * (low + high)
        same = (_polynomial(coefficients, middle) > 0.0) == positive
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    return jax.lax.fori_loop(0, jnp.finfo(low.dtype).nmant + 4, halve, (low, high))[1]


def closing_time(d, w, g, end, reach, rest_speed):
    """The first time in (0, end] at which |d + w t + g t^2 / 2| <= reach while it shrinks faster than rest_speed.

    Arguments:
        d, w, g: relative position, velocity and acceleration, shape (..., 2).
        end: shape (...).
        reach: distance of contact, 2 r.
    Returns:
        (time (...), infinite if there is none; whether the distance crosses `reach` at that time).
    """
    f = (0.25 * jnp.sum(g * g, -1), jnp.sum(w * g, -1), jnp.sum(w * w, -1) + jnp.sum(d * g, -1), 2.0 * jnp.sum(d * w, -1),
         jnp.sum(d * d, -1) - reach**2)
    # q < 0 says that the distance shrinks fast enough: f' = 2 |d| d|d|/dt. It turns where f'' has a root.
    q = (4.0 * f[0], 3.0 * f[1], 2.0 * f[2], f[3] + 2.0 * reach * rest_speed)
    a, b, c = 3.0 * q[0], 2.0 * q[1], q[2]
    discriminant = b * b - 4.0 * a * c
    larger = -0.5 * (b + jnp.where(b < 0.0, -1.0, 1.0) * jnp.sqrt(jnp.maximum(discriminant, 0.0)))
    first = jnp.where((a != 0.0) & (discriminant > 0.0), larger / jnp.where(a == 0.0, 1.0, a), 0.0)
    second = jnp.where((larger != 0.0) & (discriminant > 0.0), c / jnp.where(larger == 0.0, 1.0, larger), 0.0)
    zero = jnp.zeros_like(end)
    first, second = jnp.clip(jnp.minimum(first, second), zero, end), jnp.clip(jnp.maximum(first, second), zero, end)

    left, right = jnp.stack([zero, first, second]), jnp.stack([first, second, end])
    turns = _bisect(q, left, right)
    left, right = jnp.concatenate([zero[None], turns]), jnp.concatenate([turns, end[None]])
    shrinks = _polynomial(q, 0.5 * (left + right)) < 0.0
    possible = (right > left) & shrinks & (_polynomial(f, right) <= 0.0)
    index = jnp.argmax(possible, axis=0)[None]
    found = jnp.any(possible, axis=0)
    left, right = (jnp.take_along_axis(side, index, axis=0)[0] for side in (left, right))
    crosses = _polynomial(f, left) > 0.0
    time = jnp.where(crosses, _bisect(f, left, right), left)
    return jnp.where(found, time, jnp.inf), crosses & found


def _pair_times(p, v, rest_speed, first, second, physics: Physics):
    """Times of contact of the pairs (first, second), shape (P,)."""
    stop = stopping_times(v, physics.deceleration)
    acceleration = jnp.where(stop[:, None] > 0.0, -v / jnp.where(stop > 0.0, stop, 1.0)[:, None], 0.0)
    early, late = jnp.minimum(stop[first], stop[second]), jnp.maximum(stop[first], stop[second])

    # Phase 0: both move. Phase 1: one has stopped, at the end of its parabola.
    def state(ball):
        lasts = (stop[ball] > early)[:, None]
        fraction = (early / jnp.where(stop[ball] > 0.0, stop[ball], 1.0))[:, None]
        there = p[ball] + v[ball] * early[:, None] * (1.0 - 0.5 * fraction)
        velocity = jnp.where(lasts, v[ball] * (1.0 - fraction), 0.0)
        return (jnp.stack([p[ball], there]), jnp.stack([v[ball], velocity]),
                jnp.stack([acceleration[ball], jnp.where(lasts, acceleration[ball], 0.0)]))

    d, w, g = (a - b for a, b in zip(state(first), state(second)))
    time, crosses = closing_time(d, w, g, jnp.stack([early, late - early]), 2.0 * physics.radius, rest_speed)
    both = jnp.isfinite(time[0])
    return jnp.where(both, time[0], early + time[1]), jnp.where(both, crosses[0], crosses[1])


def _wall_times(p, v, rest_speed, limits, physics: Physics):
    """Times at which balls reach the four cushions, shape (4 B,): paths are straight, so the distance tells the time."""
    gap = limits - p @ WALLS.T.astype(p.dtype)
    outward = v @ WALLS.T.astype(p.dtype)
    speed = jnp.linalg.norm(v, axis=1, keepdims=True)
    path = jnp.maximum(gap, 0.0) * speed / jnp.where(outward > 0.0, outward, 1.0)
    left = jnp.sqrt(jnp.maximum(speed**2 - 2.0 * physics.deceleration * path, 0.0))
    hits = (outward > 0.0) & (outward * left > rest_speed * speed)
    time = jnp.where(hits, 2.0 * path / jnp.where(hits, speed + left, 1.0), jnp.inf)
    return time.ravel(), (hits & (gap > 0.0)).ravel()


# --- what: impulses at contacts -------------------------------------------------------------------------------------


class Contacts(NamedTuple):
    """All contacts there can be: pairs of balls, then balls and cushions. `balls` (K, B) has +1 for the one ball and
    -1 for the other."""

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
    restitution = np.concatenate([np.full(len(pairs), physics.restitution), np.full(len(walls), physics.cushion_restitution)])
    return Contacts(first, second, np.concatenate([pairs, walls]), limits, restitution)


def _gaps(p, contacts: Contacts, radius):
    """Gap (K,) of each contact and its direction (K, 2), from the first ball to the other ball or the cushion."""
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

    The impulses j >= 0 along the normals solve  A j >= (1 + e) c  with equality where j > 0, where c is the speed of
    closing and A j the change of c. For a single contact this is Newton's law of restitution: c becomes -e c. Energy
    does not grow, since j times the speeds before and after sums to at most zero; a last factor holds that against an
    iteration that has not quite converged.
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
        """j <- project(j + share (aim - A j)) until it stands still: after one step unless contacts share a ball."""
        def proceed(state):
            k, impulse, step = state
            return (k < SWEEPS) & (jnp.max(jnp.abs(step)) > 8 * jnp.finfo(v.dtype).eps * jnp.max(jnp.abs(impulse)))

        def sweep(state):
            k, impulse, _ = state
            new = project(impulse + share * (aim - response(impulse, normal)))
            return k + 1, new, new - impulse

        zero = jnp.zeros_like(aim)
        return jax.lax.while_loop(proceed, sweep, sweep((0, zero, zero)))[1]

    # Which contacts push is decided without gradients; the impulses of those solve a symmetric linear system.
    pushes = iterate(jax.lax.stop_gradient(aim), fixed_normal, lambda j: jnp.where(active, jnp.maximum(j, 0.0), 0.0)) > 0.0
    impulse = jax.lax.custom_linear_solve(
        lambda j: jnp.where(pushes, response(jnp.where(pushes, j, 0.0), normal), j), jnp.where(pushes, aim, 0.0),
        lambda _, right: iterate(right, fixed_normal, lambda j: jnp.where(pushes, j, 0.0)) + jnp.where(pushes, 0.0, right),
        symmetric=True,
    )
    push = change(impulse, normal)
    work, square = jnp.sum(impulse * closing), jnp.sum(push**2)
    safe = jnp.where(square > 0.0, square, 1.0)
    return v - jnp.where(square > 2.0 * work, 2.0 * work / safe, 1.0) * push


# --- the run --------------------------------------------------------------------------------------------------------


def run_events(p, v, physics: Physics) -> Events:
    """All contacts of B balls until they rest. Positions and velocities (B, 2); may be traced and differentiated."""
    contacts = list_contacts(p.shape[0], physics)
    together = 32.0 * jnp.finfo(p.dtype).eps  # times that differ by less, relative to the time to stop, are one instant

    def contact_times(p, v, rest_speed):
        parts = []
        if p.shape[0] > 1:
            parts.append(_pair_times(p, v, rest_speed, contacts.first, contacts.second, physics))
        if physics.table is not None:
            parts.append(_wall_times(p, v, rest_speed, jnp.asarray(contacts.limits, p.dtype), physics))
        return (jnp.concatenate(part) for part in zip(*parts))

    def event(state, _):
        p, v, clock, rest_speed = state
        rest = jnp.max(stopping_times(v, physics.deceleration))
        times, crosses = contact_times(*jax.lax.stop_gradient((p, v)), rest_speed)
        k = jnp.argmin(times)
        happens = jnp.isfinite(times[k])
        time = jnp.where(happens, times[k], 0.0)
        there, velocity = move(p, v, time, physics.deceleration)
        gap, normal = _gaps(there, contacts, physics.radius)
        closing = jnp.sum((jnp.asarray(contacts.balls, v.dtype) @ velocity) * normal, axis=1)
        rate = jax.lax.stop_gradient(closing[k])
        newton = jnp.where(crosses[k] & (rate > 0.0), gap[k] / jnp.where(rate > 0.0, rate, 1.0), 0.0)
        # Bisection has found the time to round-off; of the Newton step only the derivative is wanted.
        time = jnp.where(happens, time + newton - jax.lax.stop_gradient(newton), rest)
        there, before = move(p, v, time, physics.deceleration)
        gap, normal = _gaps(there, contacts, physics.radius)
        # What closes at this instant, and what has been left alone so far.
        active = happens & ((times <= times[k] + together * jax.lax.stop_gradient(rest)) | (gap <= 0.0))
        after = collide(before, normal, active, contacts)
        after = jnp.where(happens, after, 0.0)
        rest_speed = jnp.where(happens & ~(crosses[k] & (rate > 0.0)), GROWTH * rest_speed, rest_speed)
        return (there, after, clock + time, rest_speed), (there, after, before, clock + time, happens)

    rest_speed = physics.rest_speed * physics.deceleration * jnp.max(stopping_times(jax.lax.stop_gradient(v), physics.deceleration))
    begin = (p, v, jnp.zeros((), p.dtype), rest_speed)
    (there, _, _, rest_speed), (positions, after, before, clock, happened) = jax.lax.scan(event, begin, None, length=physics.max_events + 1)
    return Events(
        positions=there, finished=~happened[-1], num_events=jnp.sum(happened), rest_speed=rest_speed,
        times=jnp.concatenate([jnp.zeros_like(clock[:1]), clock]),
        piece_positions=jnp.concatenate([p[None], positions]), piece_velocities=jnp.concatenate([v[None], after]),
        velocities_before=before, happened=happened,
    )
