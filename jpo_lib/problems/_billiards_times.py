"""Motion of sliding balls, and the times at which they touch each other or a cushion.

Balls slow down at a constant rate, so that each one moves on a straight line and stops:

    p(t) = p + v t (1 - t / (2 s)),   v(t) = v (1 - t / s),   s = |v| / a,   0 <= t <= s.

Two balls touch when the quartic f(t) = |p_i(t) - p_j(t)|^2 - 4 r^2 reaches zero; once one of them has
stopped, its parabola ends and another quartic holds. Roots are found by bisection between the turning points
of f, without gradients.

Source: Leckie & Greenspan (2006), doi:10.1007/11922155_19 (quartics for balls on a table).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_not_negative, check_positive

OVERLAP = 1e-5  # of the diameter: what round-off may leave between balls that touch
WALLS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


class Physics(NamedTuple):
    """What is the same for all balls. Lengths, times and masses are dimensionless.

    table is None for an endless plane, else the length and width of a table with its centre at the origin.
    Contacts that close more slowly than rest_speed times the largest initial speed are left alone: balls that
    lean on each other would otherwise make infinitely many events. For the same reason that threshold doubles
    with every eighth event between balls that touch already.
    """

    radius: float
    deceleration: float
    restitution: float
    table: tuple[float, float] | None
    cushion_restitution: float
    max_events: int
    rest_speed: float


def check_balls(positions, radius: float, table=None) -> np.ndarray:
    """Refuse balls that overlap or stand outside the table. Returns the positions as an array (B, 2)."""
    positions = np.asarray(positions, float)
    if positions.ndim != 2 or positions.shape[1] != 2 or len(positions) == 0:
        raise ValueError(f"positions: expected shape (B, 2), B >= 1, got {positions.shape}; reshape them.")
    if not np.isfinite(positions).all():
        raise ValueError("positions: expected finite numbers, got NaN or infinity; repair them.")
    first, second = np.triu_indices(len(positions), 1)
    distance = np.linalg.norm(positions[first] - positions[second], axis=1)
    if len(distance) and distance.min() < 2 * radius * (1 - OVERLAP):
        k = int(np.argmin(distance))
        seen = f"balls {first[k]} and {second[k]} at a distance of {distance[k]:g}"
        needed = f"balls at least 2 radius = {2 * radius:g} apart"
        raise ValueError(f"positions: expected {needed}, got {seen}; move one of them.")
    if table is not None:
        limit = np.asarray(table) / 2 - radius
        if (np.abs(positions) > limit + 2 * radius * OVERLAP).any():
            k = int(np.argmax((np.abs(positions) - limit).max(axis=1)))
            table, seen = (
                f"within ({limit[0]:g}, {limit[1]:g})",
                f"({positions[k, 0]:g}, {positions[k, 1]:g})",
            )
            raise ValueError(
                f"positions: expected balls on the table, {table}, got ball {k} at {seen}; move it."
            )
    return positions


def check_physics(radius, deceleration, restitution, table, cushion_restitution) -> None:
    """Refuse settings without physical meaning."""
    check_positive(radius=radius, deceleration=deceleration)
    check_not_negative(1, restitution=restitution, cushion_restitution=cushion_restitution)
    if table is not None:
        if np.shape(table) != (2,):
            raise ValueError(f"table: expected None or (length, width), got {table!r}; pass two numbers.")
        check_positive(table_length=table[0], table_width=table[1])
        if min(table) <= 2 * radius:
            least = f"2 radius = {2 * radius:g}"
            raise ValueError(f"table: expected sides longer than {least}, got {table}; make it larger.")


def stopping_times(v, deceleration):
    """s = |v| / a, shape (B,), with the derivative zero where a ball rests."""
    square = jnp.sum(jnp.square(v), axis=-1)
    moving = square > 1e-30
    return jnp.where(moving, jnp.sqrt(jnp.where(moving, square, 1.0)), 0.0) / deceleration


def move(p, v, time, deceleration):
    """Positions, velocities and accelerations (B, 2) after a time without contacts."""
    stop = stopping_times(v, deceleration)
    spent = jnp.minimum(time, stop)
    slope = v / jnp.where(stop > 0.0, stop, 1.0)[..., None]
    rolls = (time < stop)[..., None]
    return (
        p + (v - 0.5 * slope * spent[..., None]) * spent[..., None],
        jnp.where(rolls, v - slope * spent[..., None], 0.0),
        jnp.where(rolls, -slope, 0.0),
    )


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
    """The first time in (0, end] at which |d + w t + g t^2 / 2| <= reach while it shrinks faster than
    rest_speed.

    Arguments:
        d, w, g: relative position, velocity and acceleration, shape (..., 2).
        end: shape (...).
        reach: distance of contact, 2 r.
    Returns:
        (time (...), infinite if there is none; whether the distance crosses `reach` at that time).
    """
    f = (
        0.25 * jnp.sum(g * g, -1),
        jnp.sum(w * g, -1),
        jnp.sum(w * w, -1) + jnp.sum(d * g, -1),
        2.0 * jnp.sum(d * w, -1),
        jnp.sum(d * d, -1) - reach**2,
    )
    # q < 0 says that the distance shrinks fast enough: f' = 2 |d| d|d|/dt. It turns where f'' has a root.
    q = (4.0 * f[0], 3.0 * f[1], 2.0 * f[2], f[3] + 2.0 * reach * rest_speed)
    a, b, c = 3.0 * q[0], 2.0 * q[1], q[2]
    discriminant = b * b - 4.0 * a * c
    larger = -0.5 * (b + jnp.where(b < 0.0, -1.0, 1.0) * jnp.sqrt(jnp.maximum(discriminant, 0.0)))
    first = jnp.where((a != 0.0) & (discriminant > 0.0), larger / jnp.where(a == 0.0, 1.0, a), 0.0)
    second = jnp.where((larger != 0.0) & (discriminant > 0.0), c / jnp.where(larger == 0.0, 1.0, larger), 0.0)
    zero = jnp.zeros_like(end)
    first, second = (jnp.clip(way(first, second), zero, end) for way in (jnp.minimum, jnp.maximum))

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


def pair_times(p, v, rest_speed, first, second, physics: Physics):
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
        return (
            jnp.stack([p[ball], there]),
            jnp.stack([v[ball], velocity]),
            jnp.stack([acceleration[ball], jnp.where(lasts, acceleration[ball], 0.0)]),
        )

    d, w, g = (a - b for a, b in zip(state(first), state(second)))
    time, crosses = closing_time(d, w, g, jnp.stack([early, late - early]), 2.0 * physics.radius, rest_speed)
    both = jnp.isfinite(time[0])
    return jnp.where(both, time[0], early + time[1]), jnp.where(both, crosses[0], crosses[1])


def wall_times(p, v, rest_speed, limits, physics: Physics):
    """Times at which balls reach the four cushions, shape (4 B,): paths are straight, so the distance tells
    the time."""
    gap = limits - p @ WALLS.T.astype(p.dtype)
    outward = v @ WALLS.T.astype(p.dtype)
    speed = jnp.linalg.norm(v, axis=1, keepdims=True)
    path = jnp.maximum(gap, 0.0) * speed / jnp.where(outward > 0.0, outward, 1.0)
    left = jnp.sqrt(jnp.maximum(speed**2 - 2.0 * physics.deceleration * path, 0.0))
    hits = (outward > 0.0) & (outward * left > rest_speed * speed)
    time = jnp.where(hits, 2.0 * path / jnp.where(hits, speed + left, 1.0), jnp.inf)
    return time.ravel(), (hits & (gap > 0.0)).ravel()
